/**
 * The spool: every message from its 250 until the last of its recipients is settled.
 *
 * | state    | records in the journal            | what moves it on                                              |
 * | -------- | --------------------------------- | ------------------------------------------------------------- |
 * | draft    | none, or `part`…                  | `write` beyond 256 KiB appends a `part`; not synced           |
 * | queued   | `message`, or `part`… `sealed`    | `commit` appends `message` or `sealed`; synced: that is 250   |
 * | tried    | the same, then `outcome`…         | `record` appends an `outcome`; synced                         |
 * | gone     | the same, then `gone`             | `remove` appends `gone`; synced                               |
 * | adopted  | as queued, under the id that it   | `adopt` does what `write` and `commit` do, with the standings |
 * |          | had in another journal            | that it is given; what follows from it, adoption.ts says      |
 * | copied   | those of before, then those of    | compaction appends what the message is now; synced; then the  |
 * |          | queued again, newest standings    | segment with the first is deleted                             |
 * | damaged  | the same, then `gone`             | `setAsideNow` writes to `damaged/`, then appends `gone`       |
 *
 * Memory follows the disk: nothing changes here before its record is synced. A start reads the records in order; for
 * each id the last `message` or `sealed` counts, the outcomes behind it, and a `gone` ends it. Parts that nothing
 * seals are a draft whose sender never heard 250.
 */
import { type Log, reasonOf } from "../log.ts";
import { Compaction } from "./compaction.ts";
import { setMessageAside } from "./damaged.ts";
import { Draft } from "./draft.ts";
import type { Content, Envelope, Standing } from "./entry.ts";
import { Damaged, SpoolLocked, StoreFailed } from "./failures.ts";
import { lockFolder } from "./folder.ts";
import { Journal, type JournalSettings } from "./journal.ts";
import {
  type Entry,
  goneRecord,
  type KeptMessage,
  type KeptMeta,
  messageRecord,
  outcomeRecord,
  withOutcome,
} from "./kept_message.ts";
import { messageIds, type NextId } from "./message_id.ts";
import type { JournalRecord } from "./record.ts";
import { recover, type Recovered } from "./recovery.ts";
import type { Place } from "./segment.ts";
import { readBodies } from "./stored_body.ts";

export { Damaged, Draft, type Entry, SpoolLocked, StoreFailed };

export interface SpoolSettings extends JournalSettings {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export class Spool {
  readonly #folder: string;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #lock: Disposable;
  readonly #journal: Journal;
  readonly #compaction: Compaction;
  readonly #messages: Map<string, KeptMessage>;
  readonly #nextId: NextId;
  /** The last outcome or going of a message that is under way; it never rejects here. */
  readonly #settling = new Map<KeptMessage, Promise<void>>();
  /** Ids of drafts that are open. */
  readonly #drafts = new Set<string>();
  #isOrdered = true;
  #setAside: number;

  /**
   * Locks the folder and reads the journal back: torn tails are cut, what is damaged goes to `damaged/`. Throws
   * SpoolLocked when another process works on it, other errors when the folder cannot be read or written.
   */
  static async open(settings: SpoolSettings): Promise<Spool> {
    const lock = await lockFolder(settings.folder);
    try {
      const recovered = await recover(settings.folder, settings.log);
      const spool = new Spool(settings, lock, recovered);
      for (const [id, reason] of recovered.unreadable) await spool.#setAsideAtStart(id, reason);
      spool.#compaction.start();
      return spool;
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(settings: SpoolSettings, lock: Disposable, { messages, segments, lastId, setAside }: Recovered) {
    const { folder, log, now = Date.now } = settings;
    this.#folder = folder;
    this.#log = log;
    this.#now = now;
    this.#lock = lock;
    this.#messages = messages;
    this.#setAside = setAside;
    this.#nextId = messageIds(now, lastId);
    this.#journal = new Journal(settings, segments);
    for (const { places } of messages.values()) for (const place of places) this.#journal.need(place);
    const settled = async (message: KeptMessage) => {
      while (this.#settling.has(message)) await this.#settling.get(message);
    };
    this.#compaction = new Compaction({ journal: this.#journal, messages, log, settled });
    this.#journal.freed = () => this.#compaction.start();
  }

  /** Messages and ranges of bytes that were found damaged at start and moved to `damaged/`. */
  get setAside(): number {
    return this.#setAside;
  }

  /** Milliseconds since something could not be written; Infinity: everything could. */
  get sinceFailure(): number {
    return performance.now() - this.#journal.failedAt;
  }

  /** Messages in the queue. */
  get size(): number {
    return this.#messages.size;
  }

  /** In order of age. */
  entries(): IterableIterator<Entry> {
    if (!this.#isOrdered) this.#order();
    return this.#messages.values();
  }

  entry(id: string): Entry | undefined {
    return this.#messages.get(id);
  }

  draft(): Draft {
    return this.#draft(this.#nextId());
  }

  /**
   * Stores a message of another spool as it stands there: under its id when that one is free, else under a new one.
   * Resolves when it is on disk. Rejects with StoreFailed, and with Damaged when the content is; then nothing was stored.
   */
  async adopt({ id, envelope, standings }: KeptMeta & { readonly id: string }, content: Content): Promise<Entry> {
    const fresh = this.#nextId();
    // An id in the future would be given once more when its time has come.
    const isFree = id < fresh && !this.#messages.has(id) && !this.#drafts.has(id);
    const draft = this.#draft(isFree ? id : fresh, standings);
    try {
      for await (const piece of content.pieces()) await draft.write(piece);
      return await draft.commit(envelope, draft.start);
    } finally {
      draft.discard();
    }
  }

  /** The bytes of a message. Reading throws Damaged when they are not those that were stored. */
  content(id: string): Content {
    const { size } = this.#get(id);
    // Only now, when somebody reads: until then the message may have been copied to another segment.
    return { size, pieces: () => readBodies(this.#journal, () => this.#get(id).places) };
  }

  /**
   * Records new standings, index by recipient. Resolves when that is on disk, at once when the message is not in the
   * queue. Rejects with StoreFailed; then nothing has changed in memory either.
   */
  async record(id: string, standings: ReadonlyMap<number, Standing>): Promise<void> {
    const message = this.#messages.get(id);
    if (message === undefined) return;
    const changes = [...standings];
    await this.#change(message, outcomeRecord(id, standings), () => {
      message.standings = withOutcome(message.standings, changes);
    });
  }

  /** Forgets the message. Resolves when that is on disk. Rejects with StoreFailed; then it is still in the queue. */
  async remove(id: string): Promise<void> {
    const message = this.#messages.get(id);
    if (message === undefined) return;
    await this.#change(message, goneRecord(id), () => {
      if (!this.#messages.delete(id)) return;
      for (const place of message.places) this.#journal.release(place);
    });
  }

  /** Moves a message that cannot be read to `damaged/`, as ID.json and ID.eml, and forgets it. Rejects with StoreFailed. */
  async setAsideNow(id: string, reason: string): Promise<void> {
    const message = this.#messages.get(id);
    if (message === undefined) return;
    try {
      await setMessageAside(this.#folder, message, reason);
    } catch (error) {
      throw new StoreFailed(`Cannot set ${id} aside in ${this.#folder}/damaged: ${reasonOf(error)}`);
    }
    this.#log("error", "message-damaged", { id, reason });
    await this.remove(id);
  }

  /** Waits for what is being written and releases the lock. Later changes are refused with StoreFailed. */
  async close(): Promise<void> {
    const copied = this.#compaction.close();
    await this.#journal.close();
    await copied;
    this.#lock[Symbol.dispose]();
  }

  /** `adopted`: its standings, when it comes from another spool. */
  #draft(id: string, adopted?: readonly Standing[]): Draft {
    this.#drafts.add(id);
    return new Draft(id, {
      journal: this.#journal,
      keep: (id, envelope, start, parts) => this.#keep({ id, envelope, adopted }, start, parts),
      closed: (id) => this.#drafts.delete(id),
    });
  }

  async #keep(
    { id, envelope, adopted }: { id: string; envelope: Envelope; adopted: readonly Standing[] | undefined },
    start: Uint8Array,
    parts: readonly Place[],
  ): Promise<Entry> {
    const fresh: Standing = { state: "waiting", attempts: 0, due: this.#now() };
    const standings = adopted ?? envelope.recipients.map(() => fresh);
    const places = [
      await this.#journal.append(messageRecord(id, { envelope, standings }, parts.length, start), true),
      ...parts,
    ];
    const size = places.reduce((sum, { body }) => sum + body, 0);
    const message: KeptMessage = { id, envelope, standings, size, recovered: adopted !== undefined, places };
    this.#messages.set(id, message);
    // Others may be younger.
    if (adopted !== undefined) this.#isOrdered = false;
    return message;
  }

  #order(): void {
    const byAge = [...this.#messages].sort(([one], [other]) => one < other ? -1 : 1);
    this.#messages.clear();
    for (const [id, message] of byAge) this.#messages.set(id, message);
    this.#isOrdered = true;
  }

  /** Appends what changes a message and then changes it. Meanwhile no copy of it is made: what would that have to say? */
  async #change(message: KeptMessage, record: JournalRecord, apply: () => void): Promise<void> {
    const changed = this.#journal.append(record, true).then(apply);
    const settled: Promise<void> = changed.catch(() => {}).then(() => {
      if (this.#settling.get(message) === settled) this.#settling.delete(message);
    });
    this.#settling.set(message, settled);
    await changed;
  }

  /** A damaged message blocks neither the start nor the others: what cannot be written down now is found again. */
  async #setAsideAtStart(id: string, reason: string): Promise<void> {
    this.#setAside++;
    try {
      await this.setAsideNow(id, reason);
    } catch (error) {
      this.#log("error", "message-damaged", { id, reason, unsaved: reasonOf(error) });
      this.#messages.delete(id);
    }
  }

  #get(id: string): KeptMessage {
    const message = this.#messages.get(id);
    if (message === undefined) throw new Error(`Message ${id} is not in the queue any more`);
    return message;
  }
}
