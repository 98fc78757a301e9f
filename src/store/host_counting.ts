/**
 * How many known and how many banned hosts each neighbourhood has: one number of 64 bits, which is only ever added to,
 * so that processes need not agree on an order.
 */

import type { Log } from "../log.ts";
import { type Network, prefixOf } from "../smtp/network.ts";
import { decodeHost, type HostRecord, networkKey, networkOf, type StoredHost } from "./host_record.ts";
import { commit, KEY, pause } from "./kv.ts";

/** What is counted, and where. All processes of a store have to agree on it. */
export interface Counting {
  /** Lengths of the neighbourhoods of a host, the narrowest first. */
  readonly lengths: { readonly 4: readonly number[]; readonly 6: readonly number[] };
  /** Bans that a host has only because of its neighbours count like others. */
  readonly inherited: boolean;
  /**
   * A host counts only when it is banned itself, or mail of it was accepted: who calls once from each of his addresses
   * would otherwise be so many known hosts that no ban among them means anything.
   */
  readonly proven: boolean;
}

/** How many hosts of a neighbourhood are known, and how many of them are banned. */
export interface Counts {
  readonly network: Network;
  readonly known: number;
  readonly banned: number;
}

const BANNED = 1n << 32n, KNOWN = BANNED - 1n;
/** More than any neighbourhood holds: what a sum is that has been taken below zero. */
const IMPOSSIBLE = 1 << 30;
/** Hosts of one commit: each moves at most three counts. */
const BATCH = 200;
/** Milliseconds without progress after which another process counts in the place of the one that began. */
const PATIENCE = 15_000;
/** Milliseconds after which nobody believes any more that somebody is counting: it stopped before this process began. */
const ABANDONED = 4 * PATIENCE;

/** The neighbourhoods of a host, the narrowest first. Under other settings it may have been wider than they are. */
export function neighbourhoodsOf(host: Network, { lengths }: Counting): Network[] {
  return lengths[host.family].filter((length) => length <= host.length).map((length) => prefixOf(host, length));
}

/** What a host adds to each of its neighbourhoods. */
export function weightOf(host: HostRecord | undefined, { inherited, proven }: Counting): bigint {
  if (host === undefined) return 0n;
  const { ban, counters } = host;
  if (ban !== undefined && !ban.over && (inherited || !ban.inherited)) return 1n + BANNED;
  return proven && counters.accepted === 0 ? 0n : 1n;
}

export async function readCounts(kv: Deno.Kv, networks: readonly Network[]): Promise<Counts[]> {
  const found = await kv.getMany<Deno.KvU64[]>(networks.map((network) => KEY.near(networkKey(network))));
  return networks.map((network, index) => {
    const sum = found[index]?.value?.value ?? 0n, known = Number(sum & KNOWN), banned = Number(sum >> 32n);
    // A store that was tampered with must not speak against anybody.
    return known > IMPOSSIBLE ? { network, known: 0, banned: 0 } : { network, known, banned };
  });
}

/** As the server that last opened the store counts; undefined when there was none, or one is counting just now. */
export async function readCounting(kv: Deno.Kv): Promise<Counting | undefined> {
  return countingIn((await kv.get<string>(KEY.counting)).value);
}

/** What `KEY.counting` says; undefined when it is not there, or claimed. */
export function countingIn(said: string | null): Counting | undefined {
  return said === null || CLAIM.test(said) ? undefined : JSON.parse(said);
}

/** The process that counts anew says so in `KEY.counting`, until it has done it. With its time in ms since 1970. */
const CLAIM = /^counting \S+ (\d+)$/;

function claim(): string {
  return `counting ${crypto.randomUUID()} ${Date.now()}`;
}

/** Whether somebody is counting, as far as a look at the clock can tell. */
export function isCountedNow(said: string | null): boolean {
  const at = CLAIM.exec(said ?? "")?.[1];
  return at !== undefined && Math.abs(Date.now() - Number(at)) < ABANDONED;
}

/**
 * Counts anew when the settings count in another way than those before: by looking at every host, once. A million hosts
 * take a minute. Of several processes one does it, and the others wait for it as long as it makes progress. One that dies
 * meanwhile leaves a store in which the next one does it. `patience`: milliseconds without progress.
 */
export async function agreeOnCounting(
  kv: Deno.Kv,
  counting: Counting,
  log: Log,
  { patience = PATIENCE }: { readonly patience?: number } = {},
): Promise<void> {
  const wanted = JSON.stringify(counting);
  let seen: string | null = null, since = performance.now();
  for (;;) {
    const found = await kv.get<string>(KEY.counting);
    if (found.value === wanted) return;
    if (found.versionstamp !== seen) since = performance.now();
    seen = found.versionstamp;
    if (isCountedNow(found.value) && performance.now() - since < patience) {
      await pause(patience / 50);
      continue;
    }
    const stamp = await commit(kv.atomic().check(found).set(KEY.counting, claim()));
    if (stamp !== undefined && await countAll(kv, counting, stamp, log)) return;
  }
}

/** Resolves with false when another process has taken over. Each commit holds only while `claimed` is the last claim. */
async function countAll(kv: Deno.Kv, counting: Counting, claimed: string, log: Log): Promise<boolean> {
  let stamp: string | undefined = claimed;
  const write = async (change: Deno.AtomicOperation, said = claim()): Promise<boolean> => {
    if (stamp === undefined) return false;
    stamp = await commit(change.check({ key: KEY.counting, versionstamp: stamp }).set(KEY.counting, said));
    return stamp !== undefined;
  };
  let change = kv.atomic(), stale = 0;
  for await (const { key } of kv.list({ prefix: KEY.nears }, { batchSize: 500 })) {
    change = change.delete(key);
    if (++stale % BATCH !== 0) continue;
    if (!await write(change)) return false;
    change = kv.atomic();
  }
  if (!await write(change)) return false;

  let hosts = 0, sums = new Map<string, { readonly network: Network; by: bigint }>();
  const summed = () => {
    let change = kv.atomic();
    for (const { network, by } of sums.values()) if (by !== 0n) change = change.sum(KEY.near(networkKey(network)), by);
    sums = new Map();
    return change;
  };
  for await (const { key, value } of kv.list<StoredHost>({ prefix: KEY.hosts }, { batchSize: 500 })) {
    const host = networkOf(key[1] as Uint8Array), weight = weightOf(decodeHost(value), counting);
    for (const network of neighbourhoodsOf(host, counting)) {
      const name = `${network.family}/${network.length}/${network.bits}`;
      const there = sums.get(name);
      if (there === undefined) sums.set(name, { network, by: weight });
      else there.by += weight;
    }
    if (++hosts % BATCH === 0 && !await write(summed())) return false;
    if (hosts % 100_000 === 0) log("info", "hosts-counted", { hosts });
  }
  if (!await write(summed(), JSON.stringify(counting))) return false;
  if (hosts > 0) log("info", "hosts-counted", { hosts, done: true });
  return true;
}
