/**
 * What a decision about a caller takes with a thousand known hosts and with a million, and what a record takes on
 * disk: `deno task bench:hosts`. Both stores are asked in turn, so that noise meets both. HOSTS in the environment is
 * the number in the large one, DECISIONS how often each is asked.
 */

import { asksNeighbours, countingOf, hostOf, judgeArrival } from "../../src/check/host_rules.ts";
import { silent } from "../../src/log.ts";
import type { Ip } from "../../src/smtp/network.ts";
import { agreeOnCounting } from "../../src/store/host_counting.ts";
import { encodeHost, type HostRecord, networkKey, newHost } from "../../src/store/host_record.ts";
import { Hosts } from "../../src/store/hosts.ts";
import { commit, KEY, openKv } from "../../src/store/kv.ts";
import { PREFIX_RULES } from "../check/host_rules_of.ts";

const SMALL = 1_000, LARGE = Number(Deno.env.get("HOSTS") ?? 1_000_000);
const DECISIONS = Number(Deno.env.get("DECISIONS") ?? 20_000), TURN = 500;

const HOUR = 3600_000, DAY = 24 * HOUR, RULES = PREFIX_RULES;
/** Hosts of one neighbourhood; hosts of one commit. */
const NEIGHBOURS = 4, BATCH = 300;

interface World {
  readonly size: number;
  readonly folder: string;
  readonly kv: Deno.Kv;
  readonly hosts: Hosts;
  /** Milliseconds of each decision. */
  readonly times: number[];
}

const worlds: World[] = [];
try {
  for (const size of [SMALL, LARGE]) worlds.push(await open(size));
  for (const world of worlds) await ask(world, TURN); // Nobody pays for what is compiled now.
  for (const { times } of worlds) times.length = 0;
  for (let asked = 0; asked < DECISIONS; asked += TURN) for (const world of worlds) await ask(world, TURN);

  console.log(`${DECISIONS} decisions each, half of them about known hosts`);
  console.log("    hosts   median ms   p99 ms   bytes on disk for each");
  for (const { size, times, folder } of worlds) {
    const [middle, last] = [quantile(times, 0.5).toFixed(3), quantile(times, 0.99).toFixed(3)];
    const bytes = (await sizeOf(folder) / size).toFixed(0);
    console.log(`${String(size).padStart(9)} ${middle.padStart(11)} ${last.padStart(8)} ${bytes.padStart(9)}`);
  }
  const [small = [], large = []] = worlds.map(({ times }) => times);
  console.log(`ratio of the medians ${(quantile(large, 0.5) / quantile(small, 0.5)).toFixed(2)}`);
  console.log(`asked: median ≤ 1, p99 ≤ 5, ratio ≤ 1.2, bytes ≤ 400 (with a million)`);
} finally {
  for (const { hosts, kv, folder } of worlds) {
    await hosts.close();
    kv.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** A store with so many hosts, closed and opened again as a server would find it. */
async function open(size: number): Promise<World> {
  const folder = await Deno.makeTempDir({ prefix: "maildemon-hosts-" }), now = Date.now();
  const filling = await openKv({ store: folder });
  for (let at = 0; at < size; at += BATCH) {
    let change = filling.atomic();
    for (let index = at; index < Math.min(at + BATCH, size); index++) {
      const key = networkKey(hostOf(address(index, "known"), RULES)), record = recordOf(index, now);
      change = change.set(KEY.host(key), encodeHost(record));
      if (record.ban?.until !== undefined) change = change.set(KEY.release(record.ban.until, key), true);
    }
    await commit(change);
  }
  await agreeOnCounting(filling, countingOf(RULES), silent);
  filling.close();
  const kv = await openKv({ store: folder });
  return { size, folder, kv, hosts: new Hosts(kv, { counting: countingOf(RULES), log: silent }), times: [] };
}

/** As at the greeting of a caller. */
async function ask({ size, hosts, times }: World, decisions: number): Promise<void> {
  for (let left = decisions; left > 0; left--) {
    const ip = address(Math.floor(Math.random() * size), left % 2 === 0 ? "known" : "unknown");
    const began = performance.now();
    const host = hostOf(ip, RULES), at = Date.now();
    const record = await hosts.get(host);
    const near = asksNeighbours(record, RULES, at) ? await hosts.near(host) : [];
    judgeArrival(record, near, RULES, at);
    times.push(performance.now() - began);
  }
}

/** IPv4 and IPv6 in turn, four hosts in a neighbourhood. An unknown one is the neighbour of the known one. */
function address(index: number, who: "known" | "unknown"): Ip {
  const place = Math.floor(index / 2), block = BigInt(scattered(Math.floor(place / NEIGHBOURS)));
  const inside = BigInt(place % NEIGHBOURS + (who === "known" ? 1 : 1 + NEIGHBOURS));
  return index % 2 === 0
    ? { family: 4, bits: ((block & 0x7f_ffffn) << 8n) | (1n << 31n) | inside }
    : { family: 6, bits: (0x2a00n << 112n) | (block << 72n) | (inside << 64n) | 1n };
}

/** Another number of 32 bits for each, in no order: neighbours in the file are no neighbours in the net. */
function scattered(index: number): number {
  return Math.imul(index, 0x9e3779b1) >>> 0;
}

/** One of twenty is banned, one of four is good; the others are what lists are full of: seen once or twice. */
function recordOf(index: number, now: number): HostRecord {
  const seen = now - (index % 80) * DAY, plain = newHost(seen);
  const name = `mail${index % 100}.${(index * 7919).toString(36)}.example`;
  const record = { ...plain, last: seen + HOUR, connections: 1 + index % 40, names: [name] };
  if (index % 20 === 3) {
    const ban = {
      since: now,
      until: now + 5 * DAY + index * 60,
      times: 1,
      reason: "SPF",
      inherited: false,
      over: false,
    };
    return { ...record, ban, counters: { ...plain.counters, spfFailures: 3 } };
  }
  return index % 4 === 0 ? { ...record, counters: { ...plain.counters, accepted: 80, spam: 1 } } : record;
}

function quantile(values: readonly number[], part: number): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length * part)] ?? 0;
}

/** All files of the store. */
async function sizeOf(folder: string): Promise<number> {
  let sum = 0;
  for await (const { name } of Deno.readDir(folder)) sum += (await Deno.stat(`${folder}/${name}`)).size;
  return sum;
}
