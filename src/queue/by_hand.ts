/** What a person asks of the queue, and does to it: `maildemon queue`. */
import { adopt, type Adopted, type Adoption } from "./adoption.ts";
import type { Clock } from "./clock.ts";
import type { Envelope, RemoteReply, Standing, Target } from "./entry.ts";
import type { Flights } from "./flights.ts";
import type { Lanes } from "./lanes.ts";
import type { Changes, Ledger, Stored } from "./ledger.ts";
import type { Log } from "../log.ts";
import { isMeant, type QueueRow, rowOf, selected, type Selection } from "./selection.ts";
import type { Entry } from "./spool.ts";
import { failed, isDone, released } from "./standing.ts";

export interface ByHandParts {
  readonly spool: Stored;
  readonly lanes: Lanes;
  readonly ledger: Ledger;
  readonly flights: Flights;
  readonly clock: Clock;
  readonly laneOf: (target: Target) => string;
  readonly log: Log;
  /** Has whoever stops the queue wait for it. */
  readonly track: <T>(task: Promise<T>) => Promise<T>;
}

// What one turn of the event loop takes on, so that sessions are answered in between.
const BATCH = 500;

export class ByHand {
  readonly #parts: ByHandParts;

  constructor(parts: ByHandParts) {
    this.#parts = parts;
  }

  /** At most `limit` messages that are meant, oldest first. */
  list(selection: Selection, limit = Infinity): QueueRow[] {
    const rows: QueueRow[] = [];
    for (const entry of this.#candidates(selection)) {
      if (rows.length >= limit) break;
      if (isMeant(entry, selection)) rows.push(this.#row(entry));
    }
    return rows;
  }

  /** How many messages are meant. */
  count(selection: Selection): number {
    let count = 0;
    for (const entry of this.#candidates(selection)) if (isMeant(entry, selection)) count++;
    return count;
  }

  show(id: string): QueueRow | undefined {
    const entry = this.#parts.spool.entry(id);
    return entry && this.#row(entry);
  }

  /**
   * Makes what waits due now, also where the way rests. Held messages stay held. This and the following commands resolve
   * with the number of messages they changed, and reject with StoreFailed when that cannot be written.
   */
  retry(selection: Selection): Promise<number> {
    return this.#command(selection, (was, { id, envelope, recipient }) => {
      if (was.state !== "waiting") return undefined;
      this.#parts.lanes.wake(this.#parts.laneOf(envelope.recipients[recipient]!.target));
      return this.#parts.flights.stage(id, recipient) === undefined ? { ...was, due: this.#parts.clock.now() } : was;
    });
  }

  /** Keeps what waits from being tried. */
  hold(selection: Selection): Promise<number> {
    return this.#command(selection, (was) => was.state === "waiting" ? { ...was, state: "held" } : undefined);
  }

  /** Makes what is held wait again, due now. */
  release(selection: Selection): Promise<number> {
    return this.#command(
      selection,
      (was) => was.state === "held" ? released(was, this.#parts.clock.now()) : undefined,
    );
  }

  /** Gives up what is not done yet without telling anybody. */
  drop(selection: Selection): Promise<number> {
    return this.#command(selection, (was) => isDone(was) ? undefined : { ...was, state: "dropped", due: 0 });
  }

  /** Gives up what is not done yet, except what is being sent this moment, and tells the sender. */
  bounce(selection: Selection): Promise<number> {
    return this.#command(selection, (was, { id, envelope, recipient }) => {
      if (isDone(was) || this.#parts.flights.stage(id, recipient) === "running") return undefined;
      return failed(was, { recipient, reply: BY_HAND }, envelope, this.#parts.clock.now());
    });
  }

  /** Takes over the journal of another server. */
  adopt(adoption: Adoption): Promise<Adopted> {
    return this.#parts.track(adopt(adoption, this.#parts));
  }

  async #command(selection: Selection, next: Command): Promise<number> {
    const ids: string[] = [];
    for (const entry of this.#candidates(selection)) if (isMeant(entry, selection)) ids.push(entry.id);
    let changed = 0;
    for (let from = 0; from < ids.length; from += BATCH) {
      const results = await Promise.allSettled(
        ids.slice(from, from + BATCH).map((id) =>
          this.#parts.track(this.#parts.flights.inTurn(id, () => this.#apply(id, selection, next)))
        ),
      );
      for (const result of results) {
        if (result.status === "rejected") throw result.reason;
        if (result.value) changed++;
      }
    }
    return changed;
  }

  async #apply(id: string, selection: Selection, next: Command): Promise<boolean> {
    const entry = this.#parts.spool.entry(id);
    if (entry === undefined) return false;
    const changes: Changes = new Map();
    let meant = false;
    for (const recipient of selected(entry, selection)) {
      const was = entry.standings[recipient]!;
      const standing = next(was, { id, envelope: entry.envelope, recipient });
      if (standing !== undefined) meant = true;
      if (standing !== undefined && standing !== was) changes.set(recipient, standing);
    }
    if (changes.size > 0) await this.#parts.ledger.change(entry, changes, "once");
    return meant;
  }

  *#candidates({ ids }: Selection): Iterable<Entry> {
    if (ids === undefined) return yield* this.#parts.spool.entries();
    for (const id of new Set(ids)) {
      const entry = this.#parts.spool.entry(id);
      if (entry !== undefined) yield entry;
    }
  }

  #row(entry: Entry): QueueRow {
    return rowOf(entry, (target) => this.#parts.lanes.restOf(this.#parts.laneOf(target)));
  }
}

/** The standing a command wants; undefined when this recipient is none of its business. */
type Command = (was: Standing, of: { id: string; envelope: Envelope; recipient: number }) => Standing | undefined;

const BY_HAND: RemoteReply = {
  code: 554,
  enhanced: "5.0.0",
  text: "Returned to its sender by the administrator",
  host: "local",
};
