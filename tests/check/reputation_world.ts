/** Callers of one store, at a time that the test moves. */

import { countingOf, hostOf, type HostRules } from "../../src/check/host_rules.ts";
import { type Mode, Reputation, type Visit } from "../../src/check/reputation.ts";
import { parseIp } from "../../src/smtp/network.ts";
import { formatReply } from "../../src/smtp/reply.ts";
import type { HostRecord } from "../../src/store/host_record.ts";
import type { Hosts } from "../../src/store/hosts.ts";
import { assertCounted, hostsAt, net, NOON } from "../store/host_counts.ts";
import { withStore } from "../store/temporary_store.ts";

export class World {
  readonly lines: string[] = [];
  readonly reputation: Reputation;
  mode: Mode = "enforce";
  #visits = 0;

  constructor(readonly hosts: Hosts, readonly rules: HostRules, readonly clock: { now: number }) {
    this.reputation = new Reputation({
      rules,
      hosts,
      exempt: [net("127.0.0.0/8"), net("198.51.100.0/24")],
      mode: () => this.mode,
      contact: "postmaster@ours.test",
      log: (level, event, fields) => this.lines.push(`${level} ${event} ${JSON.stringify(fields)}`),
      now: () => clock.now,
    });
  }

  visit(host: string): Visit {
    const visit = this.reputation.visit({ id: String(++this.#visits), host });
    if (visit === undefined) throw new Error(`${host} is not judged`);
    return visit;
  }

  /** What a caller hears first. */
  async greeting(host: string): Promise<string> {
    const { refusal, delay } = await this.visit(host).arrive();
    return refusal ? formatReply(refusal).trim() : delay > 0 ? `220 after ${delay}` : "220";
  }

  async record(host: string): Promise<HostRecord | undefined> {
    return await this.hosts.get(hostOf(parseIp(host)!, this.rules));
  }

  /** An SPF failure that no signature makes good. */
  async forge(host: string): Promise<void> {
    const visit = this.visit(host);
    await visit.arrive();
    await visit.shows({ forged: "bank.test", spfFails: true, dkimFails: false, dmarcFails: false });
  }

  /** Messages that nobody complains about. */
  async deliver(host: string, messages: number): Promise<void> {
    const visit = this.visit(host);
    await visit.arrive();
    for (let message = 0; message < messages; message++) {
      await visit.scored(false, Infinity);
      visit.accepted();
    }
  }
}

/** Nobody has called before. The counts are found again at the end. */
export async function withWorld(rules: HostRules, work: (world: World, kv: Deno.Kv) => Promise<void>): Promise<void> {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock, countingOf(rules));
    await work(new World(hosts, rules, clock), kv);
    await hosts.close();
    await assertCounted(kv, countingOf(rules));
  });
}
