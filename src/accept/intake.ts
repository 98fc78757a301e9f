/**
 * Takes a message in: gathers its bytes in a draft, looks at its header, adds what a server adds, and stores it.
 * Only when body and envelope are on disk does it say 250.
 */

import { receivedLine } from "../check/trace.ts";
import { type Log, reasonOf } from "../log.ts";
import type { Envelope, RemoteReply, Source } from "../queue/entry.ts";
import type { Entry } from "../queue/spool.ts";
import { formatMailbox, type Mailbox } from "../smtp/address.ts";
import type { Hello, Transaction } from "../smtp/effect.ts";
import { type Header, readHeader, valueOf, withoutFields } from "../smtp/headers.ts";
import { because, type Reply, reply } from "../smtp/reply.ts";
import { isSameAddress, tellingFields } from "./alias_sender.ts";
import type { Caller } from "./caller.ts";
import { type Accepted, eachTargetOnce } from "./copies.ts";
import { HEADER_REFUSALS } from "./header_refusals.ts";
import { liveSetting, refusedLive } from "./live_forward.ts";
import { endingLoops, isLoop, LOOP } from "./loops.ts";
import { closed, type Draft, isCut, sizeWith, wholeWith } from "./message_bytes.ts";
import { complete, isMailbox, originator, prepend, refuseStranger } from "./originate.ts";
import type { Scrutiny } from "./scrutiny.ts";
import { asksToUnsubscribe } from "./unsubscribing.ts";
import { type VersionParts, versionsOf } from "./versions.ts";

export interface IntakeParts extends VersionParts {
  readonly hostname: string;
  readonly limits: VersionParts["limits"] & { readonly maxHops: number };
  readonly log: Log;
  draft(): Draft;
  /** The Date of a message from outside that passed all checks. */
  dated?(date: string): void;
  /** The message is on disk: it may be tried. */
  accepted(entry: Entry): void;
  /** The same, and waits for what becomes of it: the reply when everybody refuses it, and then it is gone. */
  firstAttempt(entry: Entry): Promise<RemoteReply | undefined>;
  /** As what the user may write from this address: one of his own, an alias that leads to him, or not at all. */
  sendsAs(login: string, from: Mailbox): Promise<"own" | "alias" | undefined>;
  /** All own addresses of the user, as `addressKey`s. */
  addressesOf(login: string): Promise<readonly string[]>;
  /** Counts recipients against the user's limit of the day; false when it is reached. Fewer than none are given back. */
  countSent(login: string, recipients: number): Promise<boolean>;
  /** Puts somebody on the lists of these users. Rejects when that cannot be kept. */
  unsubscribe(address: Mailbox, users: readonly string[], id: string): Promise<void>;
  /** What goes on top of what the user submits, for those who get it; lines with CRLF. */
  listFields(login: string, from: Mailbox, recipients: readonly string[]): Promise<string>;
  /** Somebody is called for each who unsubscribes: then the message itself need not be delivered. */
  readonly callsForUnsubscribed: boolean;
}

/** A message as it will be stored. */
interface Prepared {
  /** Its beginning, and the trace fields that go on top of it. */
  readonly start: Uint8Array;
  readonly trace: string;
  readonly score: number;
  /** Instead of the sender of the transaction. */
  readonly sender?: string;
  readonly isBelieved: boolean;
  readonly diesForwarded: boolean;
  /** Who has certainly written it. */
  readonly author?: Mailbox;
}

/** What is done with one message. */
interface Work {
  readonly draft: Draft;
  readonly header: Header;
  readonly transaction: Transaction;
  readonly hello: Hello;
  readonly accepted: readonly Accepted[];
  /** Milliseconds since 1970. */
  readonly at: number;
}

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

  async #take(draft: Draft, transaction: Transaction, hello: Hello, everybody: readonly Accepted[]): Promise<Reply> {
    const header = readHeader(draft.start, this.#parts.limits);
    if (typeof header === "string") return HEADER_REFUSALS[header];
    if (draft.size > draft.start.length && isCut(draft.start, header)) return HEADER_REFUSALS["too large"];
    const hops = header.fields.reduce((count, { name }) => name === "received" ? count + 1 : count, 0);
    if (hops > this.#parts.limits.maxHops) return because(TOO_MANY_HOPS, "hops", `${hops} hops`, "limits.max_hops");
    const accepted = endingLoops(everybody, draft.start, header);
    if (accepted.every(isLoop)) return LOOP;

    const work: Work = { draft, header, transaction, hello, accepted, at: Date.now() };
    const { user } = this.#caller, trace = this.#trace(work);
    const prepared = user === undefined ? await this.#fromOutside(work, trace) : await this.#fromUser(user, work);
    if (!("start" in prepared)) return prepared;
    const left = await this.#withoutUnsubscribing(work, prepared);
    // Its queue id is the name of its story, and all there is of it.
    if (left.length === 0) return reply(250, "2.0.0", `Unsubscribed as ${draft.id}`);
    return await this.#store({ ...work, accepted: left }, { ...prepared, trace: trace + prepared.trace });
  }

  async #store(work: Work, prepared: Prepared): Promise<Reply> {
    const { draft, transaction, accepted } = work, { user } = this.#caller;
    const copies = eachTargetOnce(accepted, prepared.score);
    // A message that leads nowhere would be done at once, and lost: never answer 250 to it.
    if (copies.length === 0) throw new Error(`nobody is to get ${draft.id}`);
    const isBounce = transaction.sender.path === null;
    const made = await this.#signed(
      draft,
      () => versionsOf(copies, { ...prepared, arrived: draft, isBounce }, this.#parts),
    );
    if (made === undefined) return SIGNING_FAILED;
    if (user !== undefined && !await this.#parts.countSent(user, accepted.length)) return LIMIT_REACHED;
    const envelope: Envelope = {
      ...this.#envelope(work, prepared),
      recipients: made.recipients,
      ...(made.versions.length > 0 && { versions: made.versions }),
    };
    let entry: Entry;
    const { size, id } = draft;
    try {
      entry = await draft.commit(envelope, prepend(prepared.trace, prepared.start));
    } catch (error) {
      this.#log("error", "store-failed", { id, error: reasonOf(error) });
      // What was not taken must not use up the day: the client will come again with it.
      if (user !== undefined) await this.#parts.countSent(user, -accepted.length).catch(() => false);
      return STORE_FAILED;
    }
    const live = user === undefined ? liveSetting(copies) : undefined;
    const refusal = await this.#offer(entry, live !== undefined);
    if (refusal !== undefined) return refusedLive(refusal, live ?? "");
    if (user === undefined) this.#scrutiny.accepted();
    this.#log("info", "message-queued", { id, from: envelope.sender, recipients: accepted.length, size, user });
    return reply(250, "2.0.0", `Queued as ${id}`);
  }

  /** To the queue. It is on disk and ours, and the next start will find it: nothing that goes wrong here is a refusal. */
  async #offer(entry: Entry, live: boolean): Promise<RemoteReply | undefined> {
    try {
      if (live) return await this.#parts.firstAttempt(entry);
      this.#parts.accepted(entry);
    } catch (error) {
      this.#log("error", "queue-failed", { id: entry.id, error: reasonOf(error) });
    }
    return undefined;
  }

  #trace({ draft, transaction: { sender }, hello, accepted, at }: Work): string {
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

  async #fromOutside(work: Work, received: string): Promise<Prepared | Reply> {
    const { draft: { id, start, size }, draft, header, transaction, hello, accepted } = work;
    const { sender: { path } } = transaction;
    const judged = await this.#scrutiny.message({
      id,
      start,
      header,
      size,
      read: () => wholeWith(draft, start),
      received,
      sender: path === null ? "" : formatMailbox(path),
      hello: hello.name,
      recipients: accepted.map(({ address, destinations }) => ({
        address,
        limits: destinations.flatMap(({ spam }) => spam ?? []),
      })),
      isForwarded: accepted.some(({ destinations }) => destinations.some(({ target }) => target.to === "remote")),
    });
    if (judged.refusal) return judged.refusal;
    const date = header.fields.find(({ name }) => name === "date");
    if (date !== undefined) this.#parts.dated?.(valueOf(start, date));
    const kept = withoutFields(start, judged.foreign);
    return {
      ...judged,
      start: header.closed ? kept : closed(kept, header.end - start.length + kept.length),
    };
  }

  async #fromUser(
    user: string,
    { draft, header, transaction: { sender }, accepted, at }: Work,
  ): Promise<Prepared | Reply> {
    const from = originator(draft.start, header);
    if (!isMailbox(from)) return from;
    const as = await this.#parts.sendsAs(user, from);
    if (as === undefined) return refuseStranger(from);
    const others = as === "alias" ? await this.#parts.addressesOf(user) : [];
    const telling = tellingFields(draft.start, header, others);
    const completed = complete(draft.start, header, telling, { id: draft.id, domain: from.domain, at });
    const hasList = header.fields.some(({ name }) => name === "list-unsubscribe");
    const list = hasList ? "" : await this.#parts.listFields(user, from, accepted.map(({ address }) => address));
    const start = list === "" ? completed : prepend(list, completed);
    const isElse = as === "alias" && sender.path !== null && !isSameAddress(sender.path, from);
    const signature = await this.#signed(
      draft,
      () => this.#parts.sign(from.domain, sizeWith(draft, start), () => wholeWith(draft, start)),
    );
    if (signature === undefined) return SIGNING_FAILED;
    return {
      start,
      trace: signature,
      score: -Infinity,
      ...(isElse && { sender: formatMailbox(from) }),
      isBelieved: true,
      diesForwarded: false,
      author: from,
    };
  }

  /** What signing gives; undefined when it failed: then the message must not leave. */
  async #signed<T>({ id }: Draft, sign: () => Promise<T>): Promise<T | undefined> {
    try {
      return await sign();
    } catch (error) {
      this.#log("error", "signing-failed", { id, error: reasonOf(error) });
      return undefined;
    }
  }

  /** Those recipients who still get it. */
  async #withoutUnsubscribing({ draft, header, accepted }: Work, { author }: Prepared): Promise<readonly Accepted[]> {
    if (author === undefined || !asksToUnsubscribe(draft.start, header)) return accepted;
    const users = [...new Set(accepted.flatMap(({ users }) => users))];
    if (users.length === 0) return accepted;
    await this.#parts.unsubscribe(author, users, draft.id);
    this.#log("info", "unsubscribed", { id: draft.id, address: formatMailbox(author), users: users.join(" ") });
    return this.#parts.callsForUnsubscribed ? accepted.filter(({ users }) => users.length === 0) : accepted;
  }

  #envelope({ transaction: { sender }, at }: Work, prepared: Prepared): Omit<Envelope, "recipients"> {
    const { kind, host, user } = this.#caller;
    return {
      sender: prepared.sender ?? (sender.path === null ? "" : formatMailbox(sender.path)),
      body: sender.body,
      smtputf8: sender.smtputf8,
      ...(sender.ret && { ret: sender.ret }),
      ...(sender.envid !== undefined && { envid: sender.envid }),
      source: { by: kind, host, ...(user !== undefined && { user }) } satisfies Source,
      arrived: at,
      ...(!prepared.isBelieved && { believed: false }),
    };
  }

  #log(level: "info" | "error", event: string, fields: Record<string, string | number | undefined>): void {
    this.#parts.log(level, event, { connection: this.#caller.id, host: this.#caller.host, ...fields });
  }
}
