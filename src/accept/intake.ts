/**
 * Takes a message in: gathers its bytes in a draft, looks at its header, adds what a server adds, and stores it.
 * Only when body and envelope are on disk does it say 250.
 */

import { receivedLine } from "../check/trace.ts";
import type { Log } from "../log.ts";
import type { Content, Envelope, Recipient, Source, Target } from "../queue/entry.ts";
import type { Entry } from "../queue/spool.ts";
import { formatMailbox, type Mailbox } from "../smtp/address.ts";
import type { Sender } from "../smtp/command.ts";
import type { Hello, Transaction } from "../smtp/effect.ts";
import { type Header, type HeaderLimits, type HeaderProblem, readHeader } from "../smtp/headers.ts";
import { type Reply, reply } from "../smtp/reply.ts";
import type { Caller } from "./caller.ts";
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
  sender(sender: Sender, hello: Hello): Promise<Reply | undefined>;
  /** `start` holds the header; `read` gives all of the message, when it has to be looked at. */
  message(
    message: { readonly start: Uint8Array; readonly size: number; readonly read: () => Promise<Uint8Array> },
  ): Promise<Reply | undefined>;
}

/** A recipient that was accepted, and what it leads to. */
export interface Accepted {
  /** As the sender wrote it. */
  readonly address: string;
  readonly targets: readonly Target[];
  readonly notify?: Recipient["notify"];
  readonly orcpt?: string;
}

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
    if (header.end === draft.start.length && draft.size > draft.start.length) return HEADER_REFUSALS["too large"];
    const hops = header.fields.reduce((count, { name }) => name === "received" ? count + 1 : count, 0);
    if (hops > this.#parts.limits.maxHops) return reply(554, "5.4.6", "Too many hops: this message goes in circles");

    const { user } = this.#caller;
    const at = Date.now();
    const prepared = user === undefined
      ? await this.#fromOutside(draft, header)
      : await this.#fromUser(user, draft, header, at);
    if (!(prepared instanceof Uint8Array)) return prepared;
    const recipients = eachTargetOnce(accepted);
    // A message that leads nowhere would be done at once, and lost: never answer 250 to it.
    if (recipients.length === 0) throw new Error(`nobody is to get ${draft.id}`);
    if (user !== undefined && !await this.#parts.countSent(user, accepted.length)) return LIMIT_REACHED;
    const envelope = envelopeOf(transaction, recipients, this.#source(), at);
    const [only, ...others] = accepted;
    const trace = receivedLine({
      hello,
      host: this.#caller.host,
      ...(this.#caller.tls && { tls: this.#caller.tls }),
      authenticated: user !== undefined,
      smtputf8: transaction.sender.smtputf8,
      by: this.#parts.hostname,
      id: draft.id,
      ...(only && others.length === 0 && { recipient: only.address }),
      at,
    });
    let entry: Entry;
    try {
      entry = await draft.commit(envelope, prepend(trace, prepared));
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
    this.#log("info", "message-queued", { id, from: envelope.sender, recipients: accepted.length, size, user });
    return reply(250, "2.0.0", `Queued as ${id}`);
  }

  async #fromOutside(draft: Draft, header: Header): Promise<Uint8Array | Reply> {
    const { start, size } = draft;
    const refusal = await this.#scrutiny.message({ start, size, read: () => wholeOf(draft, start, size) });
    if (refusal) return refusal;
    // Text that has no header at all gets the empty line that makes our trace lines one.
    return header.fields.length === 0 && header.end < start.length && start[0] !== 13 ? prepend("\r\n", start) : start;
  }

  async #fromUser(
    user: string,
    draft: Draft,
    header: Header,
    at: number,
  ): Promise<Uint8Array | Reply> {
    const from = originator(draft.start, header);
    if (!isMailbox(from)) return from;
    const may = await this.#parts.maySendAs(user, from);
    const refusal = refuseStranger(from, () => may);
    if (refusal) return refusal;
    const completed = complete(draft.start, header, { id: draft.id, domain: from.domain, at });
    try {
      const size = draft.size - draft.start.length + completed.length;
      const signature = await this.#parts.sign(from.domain, size, () => wholeOf(draft, completed, size));
      return signature === "" ? completed : prepend(signature, completed);
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

const HEADER_REFUSALS: Readonly<Record<HeaderProblem, Reply>> = {
  "too large": reply(554, "5.6.0", "The header is too large"),
  "too many fields": reply(554, "5.6.0", "The header has too many fields"),
  "folded too often": reply(554, "5.6.0", "A header field is folded into too many lines"),
  "bare line end": reply(554, "5.6.0", "The header holds a CR or LF that is not part of CRLF"),
};

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

/** However many of its names a message was sent to, a mailbox gets one copy. */
export function eachTargetOnce(accepted: readonly Accepted[]): Recipient[] {
  const seen = new Map<string, Recipient>();
  for (const { address, targets, notify, orcpt } of accepted) {
    for (const target of targets) {
      const key = JSON.stringify(target);
      if (seen.has(key)) continue;
      seen.set(key, { address, target, ...(notify && { notify }), ...(orcpt !== undefined && { orcpt }) });
    }
  }
  return [...seen.values()];
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
