/**
 * Takes over the journal of another server, one that will not come back. Each message goes through three states, and
 * each step is on disk before the next:
 *
 * | state   | their journal | ours                                        | after a crash                            |
 * | ------- | ------------- | ------------------------------------------- | ---------------------------------------- |
 * | theirs  | has it        | does not                                    | it is taken over by the next adoption    |
 * | both    | has it        | held, with what it will be in `adopting`    | the next adoption finds it, and goes on  |
 * | letting | `gone`        | the same                                    | the next adoption of that folder goes on |
 * | ours    | `gone`        | as it stood there: it is sent, senders told | it is ours like any other                |
 *
 * What both have is sent by nobody: whoever starts on either of the journals must not send what the other may send too.
 */
import type { Content, Envelope, Target } from "./entry.ts";
import { Damaged, StoreFailed } from "./failures.ts";
import { fewAtATime } from "./few_at_a_time.ts";
import type { Flights } from "./flights.ts";
import { type Changes, isBounceSource, isUnmarked, type Ledger, type Stored } from "./ledger.ts";
import { type Log, reasonOf } from "../log.ts";
import { type Entry, Spool } from "./spool.ts";
import { adoptionOf, arriving, isNews, told } from "./standing.ts";

export interface AdoptionParts {
  readonly spool: Stored;
  readonly ledger: Ledger;
  readonly flights: Flights;
  readonly log: Log;
}

export interface Adoption {
  /** The folder with the segments of the other journal. */
  readonly folder: string;
  /** Maildirs below the first folder are those below the second here. */
  readonly moved?: { readonly from: string; readonly to: string };
}

export interface Adopted {
  /** Messages that are ours now. */
  readonly messages: number;
  /** Of these: how many an earlier adoption had begun with. */
  readonly resumed: number;
  /** Messages and ranges of bytes that could not be read, and lie in `damaged/` there. */
  readonly damaged: number;
  /** Some of the Maildirs to which they go, as they are named now. */
  readonly maildirs: readonly string[];
  /** Other folders whose adoption was broken off: what was under way is held until they are adopted as well. */
  readonly unfinished: readonly string[];
}

/** How many are moved between two looks at the rest of the world, and how many of them are in memory at a time. */
const BATCH = 500, AT_A_TIME = 16;
const NAMED = 20;

/**
 * Rejects with SpoolLocked while a server works on that journal, and with a sentence when something cannot be read or
 * written; then what was moved is ours, the rest is still there, and it can be said again.
 */
export async function adopt({ folder, moved }: Adoption, parts: AdoptionParts): Promise<Adopted> {
  const theirs = await openTheirs(folder, parts.log);
  try {
    await markTold(theirs);
    return await new Move(folder, moved, theirs, parts).all();
  } catch (error) {
    if (!(error instanceof StoreFailed)) throw error;
    throw new Error(
      `${reasonOf(error)}. What is not moved yet is still in ${folder}: say it again when that is mended.`,
    );
  } finally {
    await theirs.close();
  }
}

async function openTheirs(folder: string, log: Log): Promise<Spool> {
  try {
    return await Spool.open({ folder, log });
  } catch (error) {
    if (!/Permission denied|Read-only file system/.test(reasonOf(error))) throw error;
    throw new Error(
      `Cannot take messages out of the queue in ${folder}: ${
        reasonOf(error)
      }. Give it to the user of this server, and ` +
        "move it to where that user may write: below our own store a service always may.",
    );
  }
}

/** A note to a sender that was stored before the original knew of it. Under other ids nobody could tell any more. */
async function markTold(theirs: Spool): Promise<void> {
  for (const bounce of [...theirs.entries()]) {
    const { source } = bounce.envelope;
    if (!isBounceSource(source) || !isUnmarked(bounce, theirs)) continue;
    const { id, recipients, tells = "end" } = source.about, standings = theirs.entry(id)?.standings ?? [];
    const news = recipients.filter((index) => standings[index] !== undefined && isNews(standings[index], tells));
    await theirs.record(id, new Map(news.map((index) => [index, told(standings[index]!)])));
  }
}

class Move {
  readonly #folder: string;
  readonly #moved: Adoption["moved"];
  readonly #theirs: Spool;
  readonly #parts: AdoptionParts;
  /** What is in the state `both` or `letting`, by its id there. */
  readonly #begun: ReadonlyMap<string, readonly Entry[]>;
  readonly #inTime = fewAtATime(AT_A_TIME);
  readonly #maildirs = new Set<string>();
  readonly #unfinished = new Set<string>();
  #messages = 0;
  #resumed = 0;
  #damaged = 0;

  constructor(folder: string, moved: Adoption["moved"], theirs: Spool, parts: AdoptionParts) {
    this.#folder = folder;
    this.#moved = moved;
    this.#theirs = theirs;
    this.#parts = parts;
    this.#begun = begun(parts.spool);
  }

  async all(): Promise<Adopted> {
    const there = [...this.#theirs.entries()], ids = new Set(there.map(({ id }) => id));
    for (let from = 0; from < there.length; from += BATCH) {
      const results = await Promise.allSettled(
        there.slice(from, from + BATCH).map((entry) => this.#inTime(() => this.#move(entry))),
      );
      for (const result of results) if (result.status === "rejected") throw result.reason;
    }
    for (const entry of [...this.#begun.values()].flat()) {
      const [adopting] = entry.standings.flatMap((standing) => adoptionOf(standing) ?? []);
      if (adopting === undefined || this.#parts.spool.entry(entry.id) === undefined) continue; // Moved just now.
      if (adopting.from !== this.#folder) this.#unfinished.add(adopting.from);
      else if (!ids.has(adopting.id)) {
        this.#resumed++;
        await this.#makeOurs(entry);
      }
    }
    return {
      messages: this.#messages,
      resumed: this.#resumed,
      damaged: this.#damaged + this.#theirs.setAside,
      maildirs: [...this.#maildirs],
      unfinished: [...this.#unfinished],
    };
  }

  async #move(entry: Entry): Promise<void> {
    const known = this.#begun.get(entry.id)?.find(({ envelope }) => isSame(envelope, entry.envelope));
    const ours = known ?? await this.#copy(entry, this.#theirs.content(entry.id));
    if (ours === undefined) return;
    if (known !== undefined) this.#resumed++;
    await this.#theirs.remove(entry.id);
    this.#parts.log("info", "message-adopted", {
      id: ours.id,
      was: entry.id,
      from: entry.envelope.sender,
      recipients: entry.envelope.recipients.length,
    });
    await this.#makeOurs(ours);
  }

  /** Undefined when it cannot be read. */
  async #copy({ id, envelope, standings }: Entry, content: Content): Promise<Entry | undefined> {
    const from = { from: this.#folder, id };
    const held = standings.map((standing) => arriving(standing, from) ?? standing);
    try {
      return await this.#parts.spool.adopt({ id, envelope: this.#here(envelope), standings: held }, content);
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      await this.#theirs.setAsideNow(id, error.message);
      this.#damaged++;
      return undefined;
    }
  }

  async #makeOurs({ id }: Entry): Promise<void> {
    const { spool, flights, ledger } = this.#parts;
    this.#messages++;
    await flights.inTurn(id, async () => {
      const entry = spool.entry(id), changes: Changes = new Map();
      for (const [recipient, standing] of entry?.standings.entries() ?? []) {
        const adopting = adoptionOf(standing);
        if (adopting !== undefined) changes.set(recipient, adopting.standing);
      }
      if (entry !== undefined) await ledger.change(entry, changes, "once");
    });
  }

  #here(envelope: Envelope): Envelope {
    const { about: _, ...source } = envelope.source;
    const recipients = envelope.recipients.map((recipient) => ({
      ...recipient,
      target: this.#target(recipient.target),
    }));
    // Of which message a note tells is only needed until that one knows, and here another may have that id.
    return { ...envelope, recipients, source };
  }

  #target(target: Target): Target {
    if (target.to !== "maildir") return target;
    const { from, to } = this.#moved ?? { from: "", to: "" };
    const path = from !== to && target.path.startsWith(`${from}/`) ? to + target.path.slice(from.length) : target.path;
    if (this.#maildirs.size < NAMED) this.#maildirs.add(path);
    return { ...target, path };
  }
}

/** By the id there, which several servers may have given. */
function begun(spool: Stored): Map<string, Entry[]> {
  const found = new Map<string, Entry[]>();
  for (const entry of spool.entries()) {
    const [adopting] = entry.standings.flatMap((standing) => adoptionOf(standing) ?? []);
    if (adopting !== undefined) found.set(adopting.id, [...found.get(adopting.id) ?? [], entry]);
  }
  return found;
}

/** Two servers may have given one id to two messages in the same millisecond. */
function isSame(one: Envelope, other: Envelope): boolean {
  const facts = ({ sender, arrived, source: { by, host, user }, recipients }: Envelope) =>
    JSON.stringify([sender, arrived, by, host, user, recipients.map(({ address }) => address)]);
  return facts(one) === facts(other);
}
