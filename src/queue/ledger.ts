/**
 * What is written down about a message after its attempts: outcomes, whether its sender has been told, that it is gone.
 *
 * A bounce, which is any note to a sender, is stored before the original stops owing it, let out only afterwards, and
 * names what it tells of. So a crash between any two of these steps finds either no bounce, or one that has not left
 * yet: nobody is told twice, or not at all. Whether it tells of an end or of a delay is part of that: a message may have
 * failed since a note about its delay was stored.
 */
import type { Content, Envelope, Source, Standing } from "./entry.ts";
import type { Draft, Entry, Spool } from "./spool.ts";
import { type Log, reasonOf } from "../log.ts";
import type { Clock } from "./clock.ts";
import { fewAtATime } from "./few_at_a_time.ts";
import type { Flights } from "./flights.ts";
import { isDone, isNews, isOwed, tellAt, told } from "./standing.ts";

/** What the queue needs of the spool. */
export type Stored =
  & Pick<Spool, "size" | "entries" | "entry" | "content" | "record" | "remove" | "setAsideNow" | "adopt">
  & { draft(): Pick<Draft, "write" | "start" | "commit"> };

export interface Bounce {
  readonly envelope: Envelope & { readonly source: BounceSource };
  readonly message: Uint8Array;
}

/** Of which message and which of its recipients a bounce tells: how a restart knows that they have been told. */
export interface BounceSource extends Source {
  readonly by: "bounce";
  readonly about: NonNullable<Source["about"]>;
}

/**
 * Composes the bounce that tells the sender of `entry` how these recipients stand: all of them done, or all waiting.
 * Undefined when none may be sent. May reject: then it is asked again in a minute.
 */
export type MakeBounce = (
  entry: Pick<Entry, "id" | "envelope" | "standings">,
  recipients: readonly number[],
  content: Content,
) => Promise<Bounce | undefined>;

/** New standings, index by recipient. */
export type Changes = Map<number, Standing>;

/** How often a write is tried. `once` rejects with StoreFailed; `untilDone` only when the ledger is closed. */
export type Insistence = "once" | "untilDone";

export interface LedgerParts {
  readonly spool: Stored;
  readonly flights: Flights;
  readonly makeBounce: MakeBounce;
  readonly log: Log;
  readonly clock: Clock;
  /** A sender is about to be written to. */
  readonly telling: (id: string) => void;
  /** Takes note of when these standings are due, at the earliest after `least` ms. */
  readonly schedule: (id: string, standings: Iterable<Standing>, least?: number) => void;
  /** A bounce may leave. */
  readonly accepted: (bounce: Entry) => void;
  /** Everything could be written at last. */
  readonly written: () => void;
}

const WRITE_AGAIN = 1_000, COMPOSE_AGAIN = 60_000;
// Each may hold a message of a mebibyte, and what it becomes.
const NOTES_AT_A_TIME = 8;

/** All methods that change something are called in the message's turn (`Flights.inTurn`). */
export class Ledger {
  /** False until the server runs: then what senders are owed stays owed. */
  telling = false;
  readonly #parts: LedgerParts;
  readonly #pauses = new Set<() => void>();
  readonly #inTime = fewAtATime(NOTES_AT_A_TIME);
  #stuck = 0;
  #closed = false;

  constructor(parts: LedgerParts) {
    this.#parts = parts;
  }

  /** Results that could not be written yet. While there are any, nothing should be sent: a crash would send it again. */
  get stuck(): number {
    return this.#stuck;
  }

  /** Writes new standings. `ended` are the recipients whose attempt is over once this is written. */
  async change(entry: Entry, changes: Changes, insistence: Insistence, ended: readonly number[] = []): Promise<void> {
    const { spool, flights, schedule } = this.#parts, { id } = entry;
    const standings = entry.standings.map((standing, index) => changes.get(index) ?? standing);
    const over = standings.every(isDone) && !flights.othersRun(id, ended);
    // When nothing is left to do and nobody to tell, removing it says it all: one append instead of two.
    if (over && !standings.some(isOwed)) return await this.#write(id, insistence, () => spool.remove(id));
    await this.#write(id, insistence, () => spool.record(id, changes));
    flights.leave(id, ended);
    if (over) await this.finish(id);
    else schedule(id, changes.values());
  }

  /** For a message whose recipients are all done. */
  async finish(id: string): Promise<void> {
    const { spool } = this.#parts, entry = spool.entry(id);
    if (entry === undefined) return;
    if (entry.standings.some(isOwed)) await this.tell(id);
    else await this.#write(id, "untilDone", () => spool.remove(id));
  }

  /** Tells the sender about all that is done and that it has not heard of. */
  async tell(id: string): Promise<void> {
    await this.#tell(id, isOwed);
  }

  /** Tells the sender that the message is late for all that wait and whose `warning` has come, which is `due` by now. */
  async warn(id: string, due: number): Promise<void> {
    await this.#tell(id, (standing) => {
      const at = standing.state === "waiting" ? tellAt(standing) : 0;
      return at > 0 && at <= due;
    });
  }

  /** The sender has been told about these recipients: of their end, or that they are late. */
  async markTold(id: string, { recipients, tells }: Omit<BounceSource["about"], "id">): Promise<void> {
    const entry = this.#parts.spool.entry(id);
    if (entry === undefined) return;
    const changes: Changes = new Map();
    for (const recipient of recipients) {
      const was = entry.standings[recipient];
      if (was !== undefined && isNews(was, tells ?? "end")) changes.set(recipient, told(was));
    }
    if (changes.size > 0) await this.change(entry, changes, "untilDone");
  }

  /** What cannot be read is kept for a person to look at, and out of everybody's way. */
  async setAside(id: string, reason: string): Promise<void> {
    await this.#write(id, "untilDone", () => this.#parts.spool.setAsideNow(id, reason));
    this.#parts.log("error", "message-set-aside", { id, error: reason });
  }

  /** Writes that wait for their next try reject. */
  close(): void {
    this.#closed = true;
    for (const wake of this.#pauses) wake();
  }

  async #tell(id: string, isMeant: (standing: Standing) => boolean): Promise<void> {
    const { spool, log, schedule, accepted, telling } = this.#parts;
    const entry = spool.entry(id);
    if (entry === undefined || !this.telling) return;
    const recipients = [...entry.standings.keys()].filter((recipient) => isMeant(entry.standings[recipient]!));
    if (recipients.length === 0) return;
    telling(id);
    const posted = await this.#inTime(() => this.#compose(entry, recipients));
    if (posted === "not composed") {
      return schedule(id, recipients.map((recipient) => entry.standings[recipient]!), COMPOSE_AGAIN);
    }
    const tells = isDone(entry.standings[recipients[0]!]!) ? "end" : "delay";
    await this.markTold(id, tells === "end" ? { recipients } : { recipients, tells });
    log("info", posted === undefined ? "message-not-bounced" : "message-bounced", {
      id,
      bounce: posted?.id,
      to: entry.envelope.sender,
      recipients: recipients.length,
      tells,
    });
    if (posted !== undefined) accepted(posted);
  }

  /** Stores the bounce. Undefined when there is none to be sent. */
  async #compose(entry: Entry, recipients: readonly number[]): Promise<Entry | undefined | "not composed"> {
    const { spool, makeBounce, log } = this.#parts, { id } = entry;
    let bounce: Bounce | undefined;
    try {
      bounce = await makeBounce(entry, recipients, spool.content(id));
    } catch (error) {
      log("error", "bounce-not-composed", { id, error: reasonOf(error) });
      return "not composed";
    }
    return bounce && await this.#post(id, bounce);
  }

  async #post(id: string, { envelope, message }: Bounce): Promise<Entry> {
    return await this.#write(id, "untilDone", async () => {
      const draft = this.#parts.spool.draft();
      await draft.write(message);
      return await draft.commit(envelope, draft.start);
    });
  }

  async #write<T>(id: string, insistence: Insistence, work: () => Promise<T>): Promise<T> {
    if (insistence === "once") return await work();
    try {
      return await work();
    } catch (error) {
      this.#parts.log("error", "outcome-not-written", { id, error: reasonOf(error) });
      return await this.#writeLater(work, error);
    }
  }

  async #writeLater<T>(work: () => Promise<T>, first: unknown): Promise<T> {
    this.#stuck++;
    try {
      for (let last = first;;) {
        if (!this.#closed) await this.#pause(WRITE_AGAIN);
        if (this.#closed) throw last;
        try {
          return await work();
        } catch (error) {
          last = error;
        }
      }
    } finally {
      this.#stuck--;
      if (this.#stuck === 0 && !this.#closed) this.#parts.written();
    }
  }

  #pause(wait: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        this.#pauses.delete(done);
        resolve();
      };
      const cancel = this.#parts.clock.after(wait, done);
      this.#pauses.add(done);
    });
  }
}

/** True when a bounce was stored and the process ended before the original knew. */
export function isUnmarked({ envelope: { source } }: Entry, spool: Stored): boolean {
  if (!isBounceSource(source)) return false;
  const { id, recipients, tells } = source.about, standings = spool.entry(id)?.standings;
  return recipients.some((recipient) => {
    const standing = standings?.[recipient];
    return standing !== undefined && isNews(standing, tells ?? "end");
  });
}

export function isBounceSource(source: Source): source is BounceSource {
  return source.by === "bounce" && "about" in source;
}
