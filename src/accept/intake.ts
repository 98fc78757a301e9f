/**
 * Takes a message in: gathers its bytes in a draft, looks at its header, adds what a server adds, and stores it.
 * Only when body and envelope are on disk does it say 250.
 */

import type { Message } from "../check/message.ts";
import type { Judged } from "../check/scrutiny.ts";
import { receivedLine } from "../check/trace.ts";
import type { Log } from "../log.ts";
import type { Content, Envelope, Recipient, Source } from "../queue/entry.ts";
import type { Entry } from "../queue/spool.ts";
import { formatMailbox, type Mailbox } from "../smtp/address.ts";
import type { Sender } from "../smtp/command.ts";
import type { Hello, Transaction } from "../smtp/effect.ts";
import { type Header, type HeaderLimits, readHeader, withoutFields } from "../smtp/headers.ts";
import { because, type Reply, reply } from "../smtp/reply.ts";
import type { Step } from "../store/stories.ts";
import type { Caller } from "./caller.ts";
import { type Accepted, eachTargetOnce } from "./copies.ts";
import { HEADER_REFUSALS } from "./header_refusals.ts";
import { complete, isMailbox, originator, prepend, refuseStranger } from "./originate.ts";

/** What intake needs of the journal (`queue/spool`). */
export interface Draft {
  readonly id: string;
  readonly size: number;
  /** The beginning that is still in memory; the whole header is in it. */
  readonly start: Uint8Array;
  write(bytes: Uint8Array): void | Promise<void>;
  content(): Content;
  /** Resolves when it is on disk, rejects when it cannot be stored. */
  commit(envelope: Envelope, start: Uint8Array): Promise<Entry>;
  discard(): void;
}

export interface IntakeParts {
  readonly hostname: string;
  readonly limits: HeaderLimits & { readonly maxHops: number };
  readonly log: Log;
  draft(): Draft;
  /** The message is on disk: it may be tried. */
  accepted(entry: Entry): void;
  /** True when the user may write as this address. */
  maySendAs(login: string, from: Mailbox): Promise<boolean>;
  /** Counts recipients against the user's limit of the day; false when it is reached. Fewer than none are given back. */
  countSent(login: string, recipients: number): Promise<boolean>;
  /** Signature lines for mail of this domain; empty when it is not ours. */
  sign(domain: string, size: number, read: () => Promise<Uint8Array>): Promise<string>;
}

/** Looks at what comes from outside (`check/scrutiny`). Undefined: nothing against it. */
export interface Scrutiny {
  arrives(): Promise<{ readonly refusal?: Reply; /** Milliseconds that the greeting waits. */ readonly delay: number }>;
  hello(hello: Hello): Promise<Reply | undefined>;
  sender(sender: Sender, hello: Hello): Promise<Reply | undefined>;
  unknownRecipient(): void;
  message(message: Message): Promise<Judged>;
  /** The message is ours. */
  accepted(): void;
  /** What was found so far. */
  steps(): readonly Step[];
  ended(protocolErrors: number): void;
}

/** Mail of our own users is not looked at like that of strangers. */
export const TRUSTING: Scrutiny = {
  arrives: () => Promise.resolve({ delay: 0 }),
  hello: () => Promise.resolve(undefined),
  sender: () => Promise.resolve(undefined),
  unknownRecipient: () => {},
  message: () => Promise.resolve({ score: -Infinity, trace: "", foreign: [] }),
  accepted: () => {},
  steps: () => [],
  ended: () => {},
};

/** The beginning of a message as it will be stored, the trace fields that go on top of it, and its spam score. */
interface Prepared {
  readonly start: Uint8Array;
  readonly trace: string;
  readonly score: number;
}

const LF = 10;
const TOO_MANY_HOPS = reply(554, "5.4.6", "Too many hops: this message goes in circles");
const STORE_FAILED = reply(452, "4.3.1", "Cannot store the message now: try again later");
const SIGNING_FAILED = reply(451, "4.3.0", "Cannot sign the message now: try again later");
const LIMIT_REACHED = reply(452, "4.7.1", "You have sent as much as you may in a day: try again tomorrow");

export class Intake {
  readonly #parts: IntakeParts;
  readonly #caller: Caller;
  readonly #scrutiny: Scrutiny;
  #draft: Draft | undefined;

  constructor(parts: IntakeParts, caller: Caller, scrutiny: Scrutiny) {
    this.#parts = parts;
    this.#caller = caller;
    this.#scrutiny = scrutiny;
  }

  body(bytes: Uint8Array): void | Promise<void> {
    this.#draft ??= this.#parts.draft();
    return this.#draft.write(bytes);
  }

  discard(): void {
    this.#draft?.discard();
    this.#draft = undefined;
  }

  /** Everything has come. Answers what the peer is told: 250 means that it is ours. */
  async finish(transaction: Transaction, hello: Hello, accepted: readonly Accepted[]): Promise<Reply> {
    const draft = this.#draft ?? this.#parts.draft();
    this.#draft = undefined;
    try {
      return await this.#take(draft, transaction, hello, accepted);
    } finally {
      draft.discard();
    }
  }

  async #take(draft: Draft, transaction: Transaction, hello: Hello, accepted: readonly Accepted[]): Promise<Reply> {
    const header = readHeader(draft.start, this.#parts.limits);
    if (typeof header === "string") return HEADER_REFUSALS[header];
    if (draft.size > draft.start.length && isCut(draft.start, header)) return HEADER_REFUSALS["too large"];
    const hops = header.fields.reduce((count, { name }) => name === "received" ? count + 1 : count, 0);
    if (hops > this.#parts.limits.maxHops) return because(TOO_MANY_HOPS, "hops", `${hops} hops`, "limits.max_hops");

    const { user } = this.#caller;
    const at = Date.now();
    const trace = this.#trace(draft, transaction, hello, accepted, at);
    const prepared = user === undefined
      ? await this.#fromOutside(draft, header, { trace, transaction, hello, accepted })
      : await this.#fromUser(user, draft, header, at);
    if (!("start" in prepared)) return prepared;
    const recipients = eachTargetOnce(accepted, prepared.score);
    // A message that leads nowhere would be done at once, and lost: never answer 250 to it.
    if (recipients.length === 0) throw new Error(`nobody is to get ${draft.id}`);
    if (user !== undefined && !await this.#parts.countSent(user, accepted.length)) return LIMIT_REACHED;
    const envelope = envelopeOf(transaction, recipients, this.#source(), at);
    let entry: Entry;
    try {
      entry = await draft.commit(envelope, prepend(trace + prepared.trace, prepared.start));
    } catch (error) {
      this.#log("error", "store-failed", {
        id: draft.id,
        error: error instanceof Error ? error.message : String(error),
      });
      // What was not taken must not use up the day: the client will come again with it.
      if (user !== undefined) await this.#parts.countSent(user, -accepted.length).catch(() => false);
      return STORE_FAILED;
    }
    const { size, id } = draft;
    try {
      this.#parts.accepted(entry);
    } catch (error) {
      // It is on disk and ours, and the next start will find it: any other answer than 250 would bring a second one.
      this.#log("error", "queue-failed", { id, error: error instanceof Error ? error.message : String(error) });
    }
    if (user === undefined) this.#scrutiny.accepted();
    this.#log("info", "message-queued", { id, from: envelope.sender, recipients: accepted.length, size, user });
    return reply(250, "2.0.0", `Queued as ${id}`);
  }

  #trace(draft: Draft, { sender }: Transaction, hello: Hello, accepted: readonly Accepted[], at: number): string {
    const { host, tls, user } = this.#caller, [only, ...others] = accepted;
    return receivedLine({
      hello,
      host,
      ...(tls && { tls }),
      authenticated: user !== undefined,
      smtputf8: sender.smtputf8,
      by: this.#parts.hostname,
      id: draft.id,
      ...(only && others.length === 0 && { recipient: only.address }),
      at,
    });
  }

  async #fromOutside(
    draft: Draft,
    header: Header,
    { trace, transaction: { sender: { path } }, hello, accepted }: {
      readonly trace: string;
      readonly transaction: Transaction;
      readonly hello: Hello;
      readonly accepted: readonly Accepted[];
    },
  ): Promise<Prepared | Reply> {
    const { id, start, size } = draft;
    const judged = await this.#scrutiny.message({
      id,
      start,
      header,
      size,
      read: () => wholeOf(draft, start, size),
      received: trace,
      sender: path === null ? "" : formatMailbox(path),
      hello: hello.name,
      recipients: accepted.map(({ address, destinations }) => ({
        address,
        limits: destinations.flatMap(({ spam }) => spam ?? []),
      })),
    });
    if (judged.refusal) return judged.refusal;
    const { score } = judged, kept = withoutFields(start, judged.foreign);
    return {
      start: header.closed ? kept : closed(kept, header.end - start.length + kept.length),
      trace: judged.trace,
      score,
    };
  }

  async #fromUser(
    user: string,
    draft: Draft,
    header: Header,
    at: number,
  ): Promise<Prepared | Reply> {
    const from = originator(draft.start, header);
    if (!isMailbox(from)) return from;
    const may = await this.#parts.maySendAs(user, from);
    const refusal = refuseStranger(from, () => may);
    if (refusal) return refusal;
    const completed = complete(draft.start, header, { id: draft.id, domain: from.domain, at });
    try {
      const size = draft.size - draft.start.length + completed.length;
      const signature = await this.#parts.sign(from.domain, size, () => wholeOf(draft, completed, size));
      return { start: completed, trace: signature, score: -Infinity };
    } catch (error) {
      this.#log("error", "signing-failed", {
        id: draft.id,
        error: error instanceof Error ? error.message : String(error),
      });
      return SIGNING_FAILED;
    }
  }

  #source(): Source {
    const { kind, host, user } = this.#caller;
    return { by: kind, host, ...(user !== undefined && { user }) };
  }

  #log(level: "info" | "error", event: string, fields: Record<string, string | number | undefined>): void {
    this.#parts.log(level, event, { connection: this.#caller.id, host: this.#caller.host, ...fields });
  }
}

function envelopeOf({ sender }: Transaction, recipients: readonly Recipient[], source: Source, at: number): Envelope {
  return {
    sender: sender.path === null ? "" : formatMailbox(sender.path),
    recipients,
    body: sender.body,
    smtputf8: sender.smtputf8,
    ...(sender.ret && { ret: sender.ret }),
    ...(sender.envid !== undefined && { envid: sender.envid }),
    source,
    arrived: at,
  };
}

/** Whether the header goes on behind `start`. A name that was cut before its colon looks like a line that is no field. */
function isCut(start: Uint8Array, { end, closed }: Header): boolean {
  return end === start.length || (!closed && !start.includes(LF, end));
}

/**
 * Where our header ends with a line that is no field, others may read on, and find there what was not looked at: an
 * empty line ends it for everybody. So does text without any header, which our trace lines would run into.
 */
function closed(start: Uint8Array, end: number): Uint8Array {
  const rest = prepend("\r\n", start.subarray(end)), all = new Uint8Array(end + rest.length);
  all.set(start.subarray(0, end));
  all.set(rest, end);
  return all;
}

/** The message with its completed beginning, in one piece. */
async function wholeOf(draft: Draft, start: Uint8Array, size: number): Promise<Uint8Array> {
  if (draft.size === draft.start.length) return start;
  const whole = new Uint8Array(size);
  whole.set(start);
  let skip = draft.start.length, at = start.length;
  for await (const piece of draft.content().pieces()) {
    const rest = piece.subarray(Math.min(skip, piece.length));
    skip -= piece.length - rest.length;
    whole.set(rest, at);
    at += rest.length;
  }
  return whole;
}
