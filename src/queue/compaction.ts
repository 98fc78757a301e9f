/**
 * Gives disk back. Only the oldest segment is ever deleted: a newer one may say of a message in an older one that it is
 * gone, and without those words it would rise from the dead.
 */
import { Damaged } from "./failures.ts";
import type { Journal } from "./journal.ts";
import { type KeptMessage, messageRecord, partRecord } from "./kept_message.ts";
import { isIntact, type Place } from "./segment.ts";
import { readUnverified } from "./stored_body.ts";
import { type Log, reasonOf } from "../log.ts";

export interface Compactable {
  readonly journal: Journal;
  readonly messages: ReadonlyMap<string, KeptMessage>;
  readonly log: Log;
  /** Resolves when no outcome or going of this message is under way. */
  settled(message: KeptMessage): Promise<void>;
}

/** After a failure, such as a full disk, or when a draft or a reader holds what was copied, it waits so long, in ms. */
const PAUSE = 60_000;

export class Compaction {
  readonly #spool: Compactable;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #removeFrom = 0;
  #copyFrom = 0;

  constructor(spool: Compactable) {
    this.#spool = spool;
  }

  /** Looks whether something can be given back, in the background. Cheap when not. Never throws. */
  start(): void {
    if (this.#closed) return;
    if (this.#running !== undefined) return void (this.#again = true);
    if (!this.#isFree() && !this.#isWorthCopying()) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#again) this.start();
    });
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
  }

  async #run(): Promise<void> {
    const { journal, log } = this.#spool;
    this.#again = false;
    try {
      while (!this.#closed) {
        if (this.#isFree()) await journal.removeOldest();
        else if (this.#isWorthCopying()) await this.#copyOldest();
        else return;
      }
    } catch (error) {
      this.#removeFrom = this.#copyFrom = performance.now() + PAUSE;
      if (!this.#closed) log("warning", "journal-not-compacted", { reason: reasonOf(error) });
    }
  }

  #isFree(): boolean {
    const { journal } = this.#spool, [oldest] = journal.segments;
    return oldest !== undefined && oldest.needed === 0 && !journal.isCurrent(oldest) &&
      performance.now() >= this.#removeFrom;
  }

  #isWorthCopying(): boolean {
    const { journal } = this.#spool, [oldest] = journal.segments;
    return oldest !== undefined && journal.held > 2 * journal.live + 2 * journal.segmentSize &&
      !journal.isCurrent(oldest) && performance.now() >= this.#copyFrom;
  }

  async #copyOldest(): Promise<void> {
    const { journal, messages, log } = this.#spool, [oldest] = journal.segments;
    if (oldest === undefined) return;
    const inIt = [...messages.values()].filter(({ places }) => places.some(({ segment }) => segment === oldest));
    for (const message of inIt) {
      if (this.#closed) return;
      await this.#copy(message).catch((error) => {
        // It stays where it is, and keeps the segment, until its reader finds out and sets it aside.
        if (!(error instanceof Damaged)) throw error;
      });
    }
    if (oldest.needed > 0) this.#copyFrom = performance.now() + PAUSE;
    log("debug", "journal-compacted", { file: oldest.path, messages: inIt.length });
  }

  /** Writes the message again, as it stands now. Its bodies keep their checksums: damage must not be made good. */
  async #copy(message: KeptMessage): Promise<void> {
    const { journal, messages } = this.#spool, { id } = message;
    const old = message.places, [first, ...rest] = old;
    if (first === undefined || messages.get(id) !== message) return;
    const copies: Place[] = [];
    for (const place of old) journal.need(place); // It may be removed while it is read.
    try {
      for (const [index, part] of rest.entries()) {
        const body = await readUnverified(part);
        copies.push(await journal.append(partRecord(id, index, body, part.bodyCheck), false));
      }
      const body = await readUnverified(first);
      await this.#spool.settled(message);
      // From here to the append nothing may be awaited: what is recorded next has to lie behind the copy.
      if (messages.get(id) !== message) return;
      if (!copies.every(isIntact)) throw new Error(`The disk failed while ${id} was copied`);
      const record = messageRecord(id, message, copies.length, body, first.bodyCheck);
      copies.unshift(await journal.append(record, true));
      if (messages.get(id) !== message) return;
      message.places = copies.splice(0);
      for (const place of old) journal.release(place);
    } finally {
      for (const place of [...copies, ...old]) journal.release(place);
    }
  }
}
