/**
 * The hosts that have called, and how many of them lie in each neighbourhood. What changes is gathered for up to a
 * second; a ban can be waited for. The counts of the neighbourhoods move in the same commit as the record, so that
 * they never have to be found by looking at records: a decision costs the same with a thousand hosts and a million.
 *
 * Several processes may change one record: a change is a function, and is applied again to what the other one wrote.
 */

import type { Log } from "../log.ts";
import type { Network } from "../smtp/network.ts";
import { Commits } from "./commits.ts";
import { Agreement } from "./host_agreement.ts";
import { type Counting, type Counts, neighbourhoodsOf, readCounts, weightOf } from "./host_counting.ts";
import { decodeHost, type HostRecord, networkKey, networkOf, newHost, type StoredHost } from "./host_record.ts";
import { writingOf } from "./host_writing.ts";
import { KEY } from "./kv.ts";

/** Pure. Undefined: the host is forgotten. `at`: milliseconds since 1970. */
export type Change = (host: HostRecord, at: number) => HostRecord | undefined;

export interface HostsSettings {
  /** Unless the store says otherwise. */
  readonly counting: Counting;
  readonly log: Log;
  /** Milliseconds for which changes are gathered. */
  readonly gather?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

interface Wanted {
  readonly change: Change;
  /** Who is not known stays so. */
  readonly known: boolean;
}

interface Entry {
  readonly host: Network;
  /** As it lies in the store. */
  stored: HostRecord | undefined;
  stamp: string | null;
  /** As it is. */
  current: HostRecord | undefined;
  /** What makes the one of the other, in order. */
  changes: (Wanted & { readonly at: number })[];
  /** How many changes have reached the disk. */
  written: number;
  writing: Promise<void> | undefined;
}

const GATHER = 1_000, MAX_TRIES = 100;
/** Changes that are not on disk. More of them is an attack, or a broken disk, and counters may get lost. */
const MAX_WAITING = 100_000;

export class Hosts {
  readonly #kv: Deno.Kv;
  readonly #commits: Commits;
  readonly #agreement: Agreement;
  readonly #log: Log;
  readonly #gather: number;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  /** Neighbourhoods whose counts will change with what is not on disk yet. */
  readonly #moving = new Map<string, Set<Entry>>();
  /** Changes that have to know the record first. */
  readonly #beginning = new Set<Promise<unknown>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Changes that are not on disk. */
  #waiting = 0;
  #closed = false;

  constructor(kv: Deno.Kv, { counting, log, gather = GATHER, now = Date.now }: HostsSettings) {
    this.#kv = kv;
    this.#commits = new Commits(kv);
    this.#agreement = new Agreement(kv, counting, log);
    this.#log = log;
    this.#gather = gather;
    this.#now = now;
  }

  /** What is known of a host; undefined when it has never called. */
  async get(host: Network): Promise<HostRecord | undefined> {
    const entry = this.#entries.get(nameOf(host));
    return entry === undefined ? (await this.#read(host)).stored : entry.current;
  }

  /**
   * The neighbourhoods of a host, the narrowest first. It is itself among their hosts when it is one that counts. Nobody
   * is there while they are being counted anew: what is half counted must not speak against anybody.
   */
  async near(host: Network): Promise<readonly Counts[]> {
    await this.#agree(this.#agreement.look());
    const networks = neighbourhoodsOf(host, this.#agreement.counting);
    if (!this.#agreement.isKept) return networks.map((network) => ({ network, known: 0, banned: 0 }));
    const moving = networks.flatMap((network) => [...this.#moving.get(nameOf(network)) ?? []]);
    if (moving.length > 0) await Promise.all(moving.map((entry) => this.#store(entry)));
    return await readCounts(this.#kv, networks);
  }

  /** Resolves with the host as it is now; on disk within a second. Rejects when the store cannot be read. */
  async change(host: Network, change: Change): Promise<HostRecord | undefined> {
    return (await this.#begin(host, { change, known: false }, false)).current;
  }

  /** The same; on disk when it resolves. Rejects when it cannot be written: then it is tried again later. */
  async write(host: Network, change: Change): Promise<HostRecord | undefined> {
    return await this.#writeThrough(host, { change, known: false });
  }

  /** The same for a host that is known: who is not, or not any more, stays unknown. */
  async revise(host: Network, change: Change): Promise<HostRecord | undefined> {
    return await this.#writeThrough(host, { change, known: true });
  }

  /** All that are on disk, in no order that means anything. */
  async *all(): AsyncGenerator<readonly [host: Network, record: HostRecord]> {
    for await (const { key, value } of this.#kv.list<StoredHost>({ prefix: KEY.hosts }, { batchSize: 500 })) {
      yield [networkOf(key[1] as Uint8Array), decodeHost(value)];
    }
  }

  /** Writes what waits. Rejects with the first failure; what failed waits on. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const done = await Promise.allSettled([...this.#entries.values()].map((entry) => this.#store(entry)));
    const failed = done.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#beginning);
    try {
      await this.flush();
    } catch (error) {
      this.#log("error", "hosts-not-written", { hosts: this.#entries.size, error: String(error) });
    }
    await this.#commits.close();
  }

  async #writeThrough(host: Network, wanted: Wanted): Promise<HostRecord | undefined> {
    const entry = await this.#begin(host, wanted, true);
    await this.#store(entry);
    return entry.current;
  }

  async #begin(host: Network, wanted: Wanted, kept: boolean): Promise<Entry> {
    const applying = this.#apply(host, wanted, kept);
    this.#beginning.add(applying);
    return await applying.finally(() => this.#beginning.delete(applying));
  }

  /** `kept`: it must not get lost. */
  async #apply(host: Network, wanted: Wanted, kept: boolean): Promise<Entry> {
    const name = nameOf(host);
    // No waiting between finding the entry and changing it: an entry without changes may leave the table.
    const entry = this.#entries.get(name) ?? this.#entryOf(host, name, await this.#read(host));
    const asked = { ...wanted, at: this.#now() }, current = apply(entry.current, asked);
    if (!kept && this.#waiting >= MAX_WAITING) return { ...entry, current };
    entry.changes.push(asked);
    entry.current = current;
    this.#waiting++;
    this.#entries.set(name, entry);
    this.#watch(entry);
    this.#arm();
    return entry;
  }

  /** Somebody else may have made one while it was read. */
  #entryOf(host: Network, name: string, read: Pick<Entry, "stored" | "stamp">): Entry {
    return this.#entries.get(name) ??
      { host, ...read, current: read.stored, changes: [], written: 0, writing: undefined };
  }

  async #read(host: Network): Promise<Pick<Entry, "stored" | "stamp">> {
    const { value, versionstamp } = await this.#kv.get<StoredHost>(KEY.host(networkKey(host)));
    return { stored: value === null ? undefined : decodeHost(value), stamp: versionstamp };
  }

  /** Remembers which counts will move. */
  #watch(entry: Entry): void {
    const { counting } = this.#agreement;
    const moves = entry.changes.length > 0 &&
      weightOf(entry.current, counting) !== weightOf(entry.stored, counting);
    for (const network of neighbourhoodsOf(entry.host, counting)) {
      const name = nameOf(network), there = this.#moving.get(name);
      if (moves) this.#moving.set(name, (there ?? new Set()).add(entry));
      else if (there?.delete(entry) && there.size === 0) this.#moving.delete(name);
    }
  }

  /** Others may have counted anew meanwhile: then other counts will move. */
  async #agree(asked: Promise<void>): Promise<void> {
    const { counting } = this.#agreement;
    await asked;
    if (this.#agreement.counting === counting) return;
    this.#moving.clear();
    for (const entry of this.#entries.values()) this.#watch(entry);
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.flush().catch((error) => {
        this.#log("warning", "hosts-not-written", { hosts: this.#entries.size, error: String(error) });
        this.#arm();
      });
    }, this.#gather);
  }

  /** Resolves when all changes that the entry has now are on disk. Those that come meanwhile are gathered anew. */
  async #store(entry: Entry): Promise<void> {
    const all = entry.written + entry.changes.length;
    // The writer that is at work may have begun before the last of them.
    while (entry.written < all) {
      entry.writing ??= this.#write(entry).finally(() => {
        entry.writing = undefined;
        this.#watch(entry);
        if (entry.changes.length === 0) this.#entries.delete(nameOf(entry.host));
      });
      await entry.writing;
    }
  }

  async #write(entry: Entry): Promise<void> {
    if (!this.#agreement.isSettled) await this.#agree(this.#agreement.settle());
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const { current, changes: { length } } = entry;
      const stamp = await this.#commits.write(...writingOf(entry, this.#agreement));
      if (stamp !== undefined) {
        entry.stored = current;
        entry.stamp = current === undefined ? null : stamp;
        entry.changes.splice(0, length);
        entry.written += length;
        this.#waiting -= length;
        return;
      }
      await this.#agree(this.#agreement.settle());
      Object.assign(entry, await this.#read(entry.host));
      entry.current = entry.changes.reduce(apply, entry.stored);
    }
    throw new Error("others keep changing the record of this host");
  }
}

/** The same hosts; what is changed is forgotten together with what this returns. */
export function rehearsed(hosts: Pick<Hosts, "get" | "near">): Pick<Hosts, "get" | "near" | "change" | "write"> {
  const changed = new Map<string, HostRecord | undefined>();
  const get = async (host: Network) => {
    const name = nameOf(host);
    return changed.has(name) ? changed.get(name) : await hosts.get(host);
  };
  const change = async (host: Network, change: Change) => {
    const now = apply(await get(host), { change, known: false, at: Date.now() });
    changed.set(nameOf(host), now);
    return now;
  };
  return { get, near: (host) => hosts.near(host), change, write: change };
}

function apply(
  host: HostRecord | undefined,
  { change, known, at }: Wanted & { readonly at: number },
): HostRecord | undefined {
  if (host === undefined && known) return undefined;
  return change(host === undefined ? newHost(at) : endBan(host, at), at);
}

/** A ban whose time is up is over, whatever else happens to the record. */
function endBan(host: HostRecord, at: number): HostRecord {
  const { ban } = host;
  if (ban === undefined || ban.over || ban.until === undefined || ban.until > at) return host;
  return { ...host, ban: { ...ban, over: true } };
}

function nameOf({ family, bits, length }: Network): string {
  return `${family}/${length}/${bits}`;
}
