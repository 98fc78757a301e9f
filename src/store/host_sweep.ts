/** What time does to the hosts: bans that are over stop counting, and hosts that never come back are forgotten. */

import type { Log } from "../log.ts";
import type { Network } from "../smtp/network.ts";
import { type HostRecord, networkOf } from "./host_record.ts";
import type { Hosts } from "./hosts.ts";
import { commit, KEY, pause } from "./kv.ts";

export interface SweepSettings {
  /** Milliseconds without contact after which a host without a ban is forgotten. */
  readonly expireAfter: number;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds between two looks at bans that end, between two looks at all hosts, and until the first of these. */
  readonly often?: number;
  readonly seldom?: number;
  readonly first?: number;
}

/** Records that are looked at between two pauses, so that nobody notices; bans that end in one look. */
const BATCH = 500, PAUSE = 20, MAX_RELEASES = 1_000;

export class HostSweep {
  readonly #kv: Deno.Kv;
  readonly #hosts: Hosts;
  readonly #settings: SweepSettings & { readonly now: () => number };
  readonly #timers: ReturnType<typeof setInterval>[];
  readonly #working = new Map<"bans" | "hosts", Promise<void>>();
  #closed = false;

  constructor(kv: Deno.Kv, hosts: Hosts, settings: SweepSettings) {
    // Soon, because a server that is started anew each day would never come to it.
    const { often = 5_000, seldom = 24 * 3600_000, first = 10 * 60_000, now = Date.now } = settings;
    this.#kv = kv;
    this.#hosts = hosts;
    this.#settings = { ...settings, now };
    this.#timers = [
      setInterval(() => this.#work("bans", () => this.endBans()), often),
      setInterval(() => this.#work("hosts", () => this.forgetOld()), seldom),
      setTimeout(() => this.#work("hosts", () => this.forgetOld()), first),
    ];
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#working.values());
  }

  /** Bans whose time is up count no longer among those of their neighbourhoods. */
  async endBans(): Promise<void> {
    const due = this.#kv.list({ prefix: KEY.releases, end: KEY.release(this.#settings.now() + 1, new Uint8Array()) }, {
      limit: MAX_RELEASES,
    });
    const ended: Network[] = [];
    for await (const { key } of due) ended.push(networkOf(key[2] as Uint8Array));
    // The change is none: that the time of the ban is up is seen in the same commit.
    await Promise.all(ended.map((host) => this.#hosts.revise(host, (record) => record)));
  }

  /** Hosts that have not called for so long, and counts of neighbourhoods in which nobody is left. */
  async forgetOld(): Promise<void> {
    const { expireAfter, now, log } = this.#settings;
    const isOld = ({ ban, allowed, last }: HostRecord, at: number) =>
      !allowed && (ban === undefined || ban.over || (ban.until ?? Infinity) <= at) && last + expireAfter < at;
    let seen = 0, forgotten = 0;
    for await (const [host, record] of this.#hosts.all()) {
      if (isOld(record, now())) {
        const left = await this.#hosts.revise(host, (record, at) => isOld(record, at) ? undefined : record);
        if (left === undefined) forgotten++;
      }
      if (++seen % BATCH === 0) await pause(PAUSE);
      if (this.#closed) return;
    }
    for await (const { key, value, versionstamp } of this.#kv.list<Deno.KvU64>({ prefix: KEY.nears })) {
      if (value.value === 0n) await commit(this.#kv.atomic().check({ key, versionstamp }).delete(key));
      if (++seen % BATCH === 0) await pause(PAUSE);
      if (this.#closed) return;
    }
    if (forgotten > 0) log("info", "hosts-forgotten", { hosts: forgotten });
  }

  /** Unless it is still at the same. */
  #work(at: "bans" | "hosts", work: () => Promise<void>): void {
    if (this.#working.has(at)) return;
    const working = work().catch((error) => {
      if (!this.#closed) this.#settings.log("warning", "hosts-not-swept", { error: String(error) });
    }).finally(() => this.#working.delete(at));
    this.#working.set(at, working);
  }
}
