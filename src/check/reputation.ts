/**
 * The reputation of the hosts that call: one visit for each connection. What a host does goes into its record, what it
 * did before decides whether it may go on (`host_rules`).
 */

import type { Log } from "../log.ts";
import { asSeen, type Ip, isIn, type Network, parseIp } from "../smtp/network.ts";
import { because, closing, type Reply, reply } from "../smtp/reply.ts";
import type { Counts } from "../store/host_counting.ts";
import type { HostRecord } from "../store/host_record.ts";
import type { Step } from "../store/stories.ts";
import { aged, banned, called, count, misnamed, named, spammed, struck } from "./host_history.ts";
import {
  activeBan,
  asksNeighbours,
  hostOf,
  type HostRules,
  judgeArrival,
  nextRelease,
  patience,
  type Standing,
} from "./host_rules.ts";

/** `[reputation] mode`: in `observe` everything is noted, and nobody is refused. */
export type Mode = "observe" | "enforce" | "off";

/** What is remembered (`store/hosts`). All reject when the store fails. */
export interface SeenHosts {
  get(host: Network): Promise<HostRecord | undefined>;
  near(host: Network): Promise<readonly Counts[]>;
  /** On disk within a second. */
  change(host: Network, change: (host: HostRecord, at: number) => HostRecord): Promise<HostRecord | undefined>;
  /** On disk when it resolves. */
  write(host: Network, change: (host: HostRecord, at: number) => HostRecord): Promise<HostRecord | undefined>;
}

export interface ReputationParts {
  readonly rules: HostRules;
  readonly hosts: SeenHosts;
  /** Never judged, and not remembered. */
  readonly exempt: readonly Network[];
  readonly mode: () => Mode;
  /** Where a refused host can ask for its release: `postmaster@example.com`. */
  readonly contact: string;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** What was decided about a host that arrives. `numbers` for people. */
export interface Arrival {
  readonly standing: Standing;
  /** Not in observe mode. */
  readonly refusal?: Reply;
  /** Milliseconds that its greeting waits. */
  readonly delay: number;
}

/** What a message showed. */
export interface Shown {
  /** SPF failed, and no signature of the author's domain says otherwise: the domain that was used. */
  readonly forged?: string | undefined;
  /** SPF failed, whatever else there is. */
  readonly spfFails: boolean;
  readonly dkimFails: boolean;
  readonly dmarcFails: boolean;
}

export class Reputation {
  readonly #parts: ReputationParts;

  constructor(parts: ReputationParts) {
    this.#parts = parts;
  }

  /** Undefined for who is not judged. */
  visit(peer: { readonly id: string; readonly host: string }): Visit | undefined {
    const mode = this.#parts.mode(), ip = parseIp(peer.host);
    if (mode === "off" || ip === undefined) return undefined;
    if (isExempt(ip, this.#parts.exempt)) return undefined;
    return new Visit(this.#parts, peer, hostOf(ip, this.#parts.rules), mode === "enforce");
  }
}

/** By the address that connects, or by the IPv4 address inside it. */
export function isExempt(ip: Ip, exempt: readonly Network[]): boolean {
  return exempt.some((network) => isIn(ip, network) || isIn(asSeen(ip), network));
}

/** Its methods never reject: who cannot be judged because the store fails is welcome. */
export class Visit {
  readonly #parts: ReputationParts;
  readonly #peer: { readonly id: string; readonly host: string };
  readonly #host: Network;
  readonly isEnforced: boolean;
  /** By hand: whatever it does. */
  isAllowed = false;

  constructor(
    parts: ReputationParts,
    peer: { readonly id: string; readonly host: string },
    host: Network,
    isEnforced: boolean,
  ) {
    this.#parts = parts;
    this.#peer = peer;
    this.#host = host;
    this.isEnforced = isEnforced;
  }

  get isClassic(): boolean {
    return this.#parts.rules.rules === "classic";
  }

  async arrive(): Promise<Arrival> {
    try {
      const { rules, hosts } = this.#parts, at = this.#now();
      const record = await hosts.get(this.#host);
      const near = asksNeighbours(record, rules, at) ? await hosts.near(this.#host) : [];
      const standing = judgeArrival(record, near, rules, at);
      this.isAllowed = record?.allowed ?? false;
      await this.#note(standing);
      return this.#answer(standing);
    } catch (error) {
      this.#failed(error);
      return { standing: { is: "welcome", numbers: "the records of hosts cannot be read now", good: false }, delay: 0 };
    }
  }

  /** Asked at each MAIL: a ban ends also the sessions that had begun before it. */
  async isBannedNow(): Promise<Reply | undefined> {
    try {
      const { rules, hosts, contact } = this.#parts;
      const record = await hosts.get(this.#host), ban = record && activeBan(record, rules, this.#now());
      if (ban === undefined || record?.allowed || !(this.isEnforced || ban.hand)) return undefined;
      return refusal({ is: "banned", numbers: `banned: ${ban.reason}`, ban }, this.#peer.host, contact);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  /** At EHLO: a new name starts without a failure. */
  hello(name: string): void {
    this.#change((host) => named(host, name));
  }

  /** The name and the address contradict each other. */
  misnamed(): void {
    this.#change(misnamed);
  }

  unknownRecipient(): void {
    this.#change((host) => count(host, "unknownRecipients"));
  }

  protocolErrors(errors: number): void {
    if (errors > 0) this.#change((host) => count(host, "protocolErrors", errors));
  }

  accepted(): void {
    this.#change((host) => count(host, "accepted"));
  }

  /** Counts what a message showed; a ban that follows from it is on disk when this resolves. */
  async shows({ forged, spfFails, dkimFails, dmarcFails }: Shown): Promise<void> {
    if (!spfFails && !dkimFails && !dmarcFails) return;
    const { rules } = this.#parts;
    await this.#judge((host, at) => {
      let now = host;
      if (spfFails) now = count(now, "spfFailures");
      if (dkimFails) now = count(now, "dkimFailures");
      if (dmarcFails) now = count(now, "dmarcFailures");
      if (rules.rules === "classic") {
        if (spfFails) return { host: now, ban: "SPF failed" };
        return dkimFails ? { host: now, ban: "a DKIM signature was wrong" } : { host: now };
      }
      if (forged === undefined) return { host: now };
      now = struck(now, at, rules.strikeWindow);
      if (now.strikes.length < patience(rules.strikes, now, rules, at)) return { host: now };
      return { host: now, ban: `${now.strikes.length} SPF failures, the last one for ${forged}` };
    });
  }

  /** `times`: spam above this number makes a ban. */
  async scored(isSpam: boolean, times: number): Promise<void> {
    const { rules } = this.#parts;
    if (!isSpam) return this.#change((host) => host.timesSpammed === 0 ? host : spammed(host, false));
    await this.#judge((host, at) => {
      const now = spammed(host, true);
      if (now.timesSpammed <= patience(times, now, rules, at)) return { host: now };
      return { host: now, ban: `${now.timesSpammed} messages above the spam limit` };
    });
  }

  #now(): number {
    return (this.#parts.now ?? Date.now)();
  }

  async #note(standing: Standing): Promise<void> {
    const { rules, hosts } = this.#parts;
    const age = (host: HostRecord, at: number) => called(aged(host, at, rules), at);
    if (standing.is !== "inherits" || rules.rules !== "classic") return void await hosts.change(this.#host, age);
    const { reason } = standing;
    await hosts.write(this.#host, (host, at) => banned(age(host, at), at, { reason, inherited: true }));
  }

  #answer(standing: Standing): Arrival {
    const { rules, contact, log } = this.#parts;
    const fields = { connection: this.#peer.id, host: this.#peer.host, numbers: standing.numbers };
    switch (standing.is) {
      case "welcome":
        return { standing, delay: 0 };
      case "slow":
        log("info", this.isEnforced ? "host-slowed" : "host-would-be-slowed", fields);
        return { standing, delay: this.isEnforced ? rules.slowGreeting : 0 };
      case "banned":
      case "inherits": {
        const isRefused = this.isEnforced || (standing.is === "banned" && standing.ban.hand === true);
        log("info", isRefused ? "host-refused" : "host-would-be-refused", fields);
        return { standing, delay: 0, ...(isRefused && { refusal: refusal(standing, this.#peer.host, contact) }) };
      }
      default:
        return standing satisfies never;
    }
  }

  /** Changes the record; waits for the disk only when that bans the host. */
  async #judge(
    judge: (host: HostRecord, at: number) => { readonly host: HostRecord; readonly ban?: string },
  ): Promise<void> {
    const { rules, hosts, log } = this.#parts;
    try {
      const before = await hosts.get(this.#host), at = this.#now();
      const isBan = before !== undefined && judge(before, at).ban !== undefined;
      const after = await hosts[isBan ? "write" : "change"](this.#host, (host, at) => {
        const { host: now, ban } = judge(host, at);
        // Who is banned already gets no longer one for what it had sent by then: a burst is one cause.
        if (ban === undefined || host.allowed || activeBan(host, rules, at) !== undefined) return now;
        return banned(now, at, { reason: ban, inherited: false, until: nextRelease(now, rules, at) });
      });
      const ban = after?.ban;
      if (ban === undefined || ban.over || ban.since < at) return;
      const until = ban.until === undefined ? "lifted" : new Date(ban.until).toISOString();
      const fields = { connection: this.#peer.id, host: this.#peer.host, reason: ban.reason, times: ban.times, until };
      log("warning", "host-banned", fields);
    } catch (error) {
      this.#failed(error);
    }
  }

  #change(change: (host: HostRecord, at: number) => HostRecord): void {
    this.#parts.hosts.change(this.#host, change).catch((error) => this.#failed(error));
  }

  #failed(error: unknown): void {
    this.#parts.log("error", "reputation-failed", {
      connection: this.#peer.id,
      host: this.#peer.host,
      error: String(error),
    });
  }
}

/** 554: RFC 5321 §3.1. */
export function refusal(
  standing: Extract<Standing, { readonly is: "banned" | "inherits" }>,
  host: string,
  contact: string,
): Reply {
  const until = standing.is === "banned" && standing.ban.until !== undefined
    ? ` until ${new Date(standing.ban.until).toISOString().slice(0, 16)}Z`
    : "";
  const why = standing.is === "banned" ? standing.ban.reason : standing.reason;
  const said = reply(554, "5.7.1", `${host} is banned${until}: ${why}. To be released, write to ${contact}`);
  return closing(because(said, standing.is === "banned" ? "ban" : "neighbours", standing.numbers, "reputation.rules"));
}

/** For the story. */
export function arrivalStep({ standing, delay, refusal }: Arrival, isEnforced: boolean): Step {
  const would = !isEnforced && refusal === undefined && standing.is !== "welcome";
  return {
    check: "reputation",
    found: standing.numbers + (delay > 0 ? `; the greeting waits ${delay / 1000} s` : ""),
    setting: would ? "reputation.mode" : "reputation.rules",
    ...(would && { would: standing.is === "slow" ? "would have waited" : "would have been refused" }),
  };
}
