/**
 * How many known and how many banned hosts each neighbourhood has: one number of 64 bits, which is only ever added to,
 * so that processes need not agree on an order.
 */

import type { Log } from "../log.ts";
import { type Network, prefixOf } from "../smtp/network.ts";
import { decodeHost, type HostRecord, networkKey, networkOf, type StoredHost } from "./host_record.ts";
import { commit, KEY } from "./kv.ts";

/** What is counted, and where. All processes of a store have to agree on it. */
export interface Counting {
  /** Lengths of the neighbourhoods of a host, the narrowest first. */
  readonly lengths: { readonly 4: readonly number[]; readonly 6: readonly number[] };
  /** Bans that a host has only because of its neighbours count like others. */
  readonly inherited: boolean;
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

/** The neighbourhoods of a host, the narrowest first. Under other settings it may have been wider than they are. */
export function neighbourhoodsOf(host: Network, { lengths }: Counting): Network[] {
  return lengths[host.family].filter((length) => length <= host.length).map((length) => prefixOf(host, length));
}

/** What a host adds to each of its neighbourhoods. */
export function weightOf(host: HostRecord | undefined, { inherited }: Counting): bigint {
  if (host === undefined) return 0n;
  const { ban } = host;
  return ban !== undefined && !ban.over && (inherited || !ban.inherited) ? 1n + BANNED : 1n;
}

export async function readCounts(kv: Deno.Kv, networks: readonly Network[]): Promise<Counts[]> {
  const found = await kv.getMany<Deno.KvU64[]>(networks.map((network) => KEY.near(networkKey(network))));
  return networks.map((network, index) => {
    const sum = found[index]?.value?.value ?? 0n, known = Number(sum & KNOWN), banned = Number(sum >> 32n);
    // A store that was tampered with must not speak against anybody.
    return known > IMPOSSIBLE ? { network, known: 0, banned: 0 } : { network, known, banned };
  });
}

/** As the server that last opened the store counts; undefined when there was none. */
export async function readCounting(kv: Deno.Kv): Promise<Counting | undefined> {
  const { value } = await kv.get<string>(KEY.counting);
  return value === null ? undefined : JSON.parse(value);
}

/**
 * Counts anew when the settings count in another way than those before: by looking at every host, once. A process that
 * dies meanwhile leaves a store in which the next one does it. A million hosts take a minute.
 */
export async function agreeOnCounting(kv: Deno.Kv, counting: Counting, log: Log): Promise<void> {
  const wanted = JSON.stringify(counting), found = await kv.get<string>(KEY.counting);
  if (found.value === wanted) return;
  if (found.value !== null) await commit(kv.atomic().delete(KEY.counting));
  const stale: Deno.KvKey[] = [];
  for await (const { key } of kv.list({ prefix: KEY.nears }, { batchSize: 500 })) stale.push(key);
  for (let at = 0; at < stale.length; at += BATCH) {
    await commit(stale.slice(at, at + BATCH).reduce((change, key) => change.delete(key), kv.atomic()));
  }
  let hosts = 0, sums = new Map<string, { readonly network: Network; by: bigint }>();
  const write = async () => {
    let change = kv.atomic();
    for (const { network, by } of sums.values()) change = change.sum(KEY.near(networkKey(network)), by);
    sums = new Map();
    await commit(change);
  };
  for await (const { key, value } of kv.list<StoredHost>({ prefix: KEY.hosts }, { batchSize: 500 })) {
    const host = networkOf(key[1] as Uint8Array), weight = weightOf(decodeHost(value), counting);
    for (const network of neighbourhoodsOf(host, counting)) {
      const name = `${network.family}/${network.length}/${network.bits}`;
      const there = sums.get(name);
      if (there === undefined) sums.set(name, { network, by: weight });
      else there.by += weight;
    }
    if (++hosts % BATCH === 0) await write();
    if (hosts % 100_000 === 0) log("info", "hosts-counted", { hosts });
  }
  await write();
  await commit(kv.atomic().set(KEY.counting, wanted));
  if (hosts > 0) log("info", "hosts-counted", { hosts, done: true });
}
