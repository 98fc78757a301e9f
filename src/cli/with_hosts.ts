/** What the commands about hosts begin and end with: the config read, the store open, and closed again. */

import {
  asksNeighbours,
  countingOf,
  hostOf,
  type HostRules,
  judgeArrival,
  type Standing,
} from "../check/host_rules.ts";
import { isExempt, type Mode } from "../check/reputation.ts";
import { type Config, loadConfig } from "../config.ts";
import { silent } from "../log.ts";
import { exemptOf, hostRules, modeAt, openLockouts } from "../server/inspection.ts";
import { type Ip, type Network, parseIp } from "../smtp/network.ts";
import { readBorn } from "../store/born.ts";
import { type Counts, readCounting } from "../store/host_counting.ts";
import type { HostRecord } from "../store/host_record.ts";
import { Hosts } from "../store/hosts.ts";
import { openKv } from "../store/kv.ts";
import type { Lockouts } from "../store/lockouts.ts";
import { type Context, WrongUsage } from "./arguments.ts";
import { asOwner } from "./store_owner.ts";

export interface OpenHosts {
  readonly config: Config;
  readonly hosts: Hosts;
  readonly lockouts: Lockouts;
  readonly rules: HostRules;
  readonly mode: Mode;
}

export async function withHosts<T>(context: Context, work: (hosts: OpenHosts) => Promise<T>): Promise<T> {
  const config = await loadConfig(context.configFile);
  return await asOwner(config.store, () => withHostsOf(config, work));
}

async function withHostsOf<T>(config: Config, work: (hosts: OpenHosts) => Promise<T>): Promise<T> {
  const rules = hostRules(config);
  const kv = await openKv({ store: config.store, ...config.kv === undefined ? {} : { kv: config.kv } });
  // As the server counts, also when the configuration has been changed behind its back.
  const hosts = new Hosts(kv, { counting: await readCounting(kv) ?? countingOf(rules), log: silent });
  try {
    const lockouts = openLockouts(config, kv);
    const mode = modeAt(config, await readBorn(kv) ?? Date.now(), Date.now());
    return await work({ config, hosts, lockouts, rules, mode });
  } finally {
    await hosts.close();
    kv.close();
  }
}

/** The host that an address belongs to. */
export function demandHost(text: string, rules: HostRules): { readonly ip: Ip; readonly host: Network } {
  const ip = parseIp(text.replace(/^\[(.*)\]$/, "$1").replace(/\/\d+$/, ""));
  if (ip === undefined) {
    throw new WrongUsage(`${JSON.stringify(text)} is no address: write it like 192.0.2.7 or 2001:db8::7.`);
  }
  return { ip, host: hostOf(ip, rules) };
}

export interface Known {
  readonly record: HostRecord | undefined;
  readonly near: readonly Counts[];
  readonly standing: Standing;
  readonly isExempt: boolean;
}

/** What is known of a host, and what follows from it now. */
export async function lookUp({ config, hosts, rules }: OpenHosts, ip: Ip, host: Network): Promise<Known> {
  const record = await hosts.get(host), near = await hosts.near(host), now = Date.now();
  const standing = judgeArrival(record, asksNeighbours(record, rules, now) ? near : [], rules, now);
  return { record, near, standing, isExempt: isExempt(ip, exemptOf(config)) };
}
