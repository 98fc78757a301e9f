/** The counts of all neighbourhoods, found the slow way; and what can happen to hosts, in any order. */

import assert from "node:assert/strict";
import { banned, called, count, released } from "../../src/check/host_history.ts";
import { silent } from "../../src/log.ts";
import { formatIp, type Network, parseNetwork } from "../../src/smtp/network.ts";
import { type Counting, neighbourhoodsOf } from "../../src/store/host_counting.ts";
import { decodeHost, type HostRecord, networkOf, type StoredHost } from "../../src/store/host_record.ts";
import { HostSweep } from "../../src/store/host_sweep.ts";
import { Hosts } from "../../src/store/hosts.ts";
import { KEY } from "../../src/store/kv.ts";

export const PREFIX: Counting = { lengths: { 4: [24, 20], 6: [56, 48] }, inherited: false, proven: true };
export const CLASSIC: Counting = { lengths: { 4: [24], 6: [112] }, inherited: true, proven: false };
export const NOON = Date.UTC(2026, 10, 22, 12), MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

export function net(text: string): Network {
  const network = parseNetwork(text);
  if (network === undefined) throw new Error(`${text} is no network`);
  return network;
}

/** The hosts of a store at a time that the test moves. Changes wait to be written until somebody wants them to be. */
export function hostsAt(kv: Deno.Kv, clock: { now: number }, counting = PREFIX, gather = 3600_000): Hosts {
  return new Hosts(kv, { counting, log: silent, gather, now: () => clock.now });
}

/** All counts are those of the records, and each ban that ends has its day of release, and nobody else. */
export async function assertCounted(kv: Deno.Kv, counting = PREFIX): Promise<void> {
  const wanted = new Map<string, string>(), releases: string[] = [];
  for await (const { key, value } of kv.list<StoredHost>({ prefix: KEY.hosts })) {
    const host = networkOf(key[1] as Uint8Array), { ban, counters } = decodeHost(value);
    const isBanned = ban !== undefined && !ban.over && (counting.inherited || !ban.inherited);
    const counts = !counting.proven || isBanned || counters.accepted > 0;
    for (const network of counts ? neighbourhoodsOf(host, counting) : []) {
      const name = nameOf(network), [known = 0, bad = 0] = (wanted.get(name) ?? "").split(" ").map(Number);
      wanted.set(name, `${known + 1} ${bad + Number(isBanned)}`);
    }
    if (ban?.until !== undefined && !ban.over) releases.push(`${ban.until} ${nameOf(host)}`);
  }
  const found = new Map<string, string>(), due: string[] = [];
  for await (const { key, value } of kv.list<Deno.KvU64>({ prefix: KEY.nears })) {
    if (value.value === 0n) continue;
    found.set(nameOf(networkOf(key[1] as Uint8Array)), `${value.value & 0xffffffffn} ${value.value >> 32n}`);
  }
  for await (const { key } of kv.list({ prefix: KEY.releases })) {
    due.push(`${String(key[1])} ${nameOf(networkOf(key[2] as Uint8Array))}`);
  }
  assert.deepEqual([...found].sort(), [...wanted].sort());
  assert.deepEqual(due.sort(), releases.sort());
}

/** It calls, and a message of it is accepted: under either rules it is a known host from then on. */
export function delivered(host: HostRecord, at: number): HostRecord {
  return count(called(host, at), "accepted");
}

export function nameOf(network: Network): string {
  return `${formatIp(network)}/${network.length}`;
}

/**
 * So many things that happen to some dozens of hosts of a few neighbourhoods: they call, are banned for an hour, for
 * ever or by their neighbours, are released, forgotten and swept, while an hour goes by now and then.
 */
export async function live(kv: Deno.Kv, hosts: Hosts, clock: { now: number }, random: () => number, steps: number) {
  const sweep = new HostSweep(kv, hosts, { expireAfter: 2 * DAY, log: silent, now: () => clock.now });
  const pick = (most: number) => Math.floor(random() * most), working: Promise<unknown>[] = [];
  for (let step = 0; step < steps; step++) {
    const host = pick(2) === 0
      ? net(`192.0.${pick(3)}.${pick(6)}/32`)
      : net(`2001:db8:0:${(256 * pick(3) + pick(6)).toString(16)}::/64`);
    const until = pick(3) === 0 ? undefined : clock.now + HOUR;
    const inherited = pick(4) === 0;
    const does = pick(12);
    if (does < 3) working.push(hosts.change(host, called));
    else if (does < 5) working.push(hosts.change(host, delivered));
    else if (does < 7) {
      working.push(hosts.write(host, (one, at) => banned(one, at, { reason: "test", inherited, until })));
    } else if (does < 8) working.push(hosts.revise(host, released));
    else if (does < 9) working.push(hosts.change(host, () => undefined));
    else if (does < 10) clock.now += HOUR;
    else if (does < 11) working.push(hosts.near(host));
    else if (pick(4) === 0) working.push(pick(2) === 0 ? sweep.endBans() : sweep.forgetOld());
    // Sometimes many things at once, sometimes one after the other.
    if (pick(5) === 0) await Promise.all(working.splice(0));
  }
  await Promise.all(working);
  await sweep.close();
  await hosts.flush();
}
