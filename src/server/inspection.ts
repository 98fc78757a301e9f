/** All that looks at who calls and what they bring: composed once, for the server and for `maildemon try` alike. */

import { oneAtATime } from "../accept/one_at_a_time.ts";
import { countingOf, type HostRules } from "../check/host_rules.ts";
import { type Mode, Reputation } from "../check/reputation.ts";
import { openScorer } from "../check/scorer.ts";
import { Scrutiny, type ScrutinyParts } from "../check/scrutiny.ts";
import { SpfMemory } from "../check/spf_memory.ts";
import type { Config } from "../config.ts";
import { Resolver } from "../dns/resolver.ts";
import { systemServers } from "../dns/servers.ts";
import type { Log } from "../log.ts";
import { type Network, parseNetwork } from "../smtp/network.ts";
import { bornAt, readBorn } from "../store/born.ts";
import { agreeOnCounting, readCounting } from "../store/host_counting.ts";
import { HostSweep } from "../store/host_sweep.ts";
import { Hosts, rehearsed } from "../store/hosts.ts";
import { Lockouts } from "../store/lockouts.ts";
import { Stories, storiesFolder } from "../store/stories.ts";
import { WORKER_POOL, WorkerPool } from "../worker/pool.ts";
import type { Signature, VerifyRequest } from "../worker/verify.ts";

export interface Inspection {
  readonly hosts: Hosts;
  readonly rules: HostRules;
  /** As it is now: a new store is only observed for a while. */
  readonly mode: () => Mode;
  /** For one connection from outside. */
  scrutinyOf(peer: { readonly id: string; readonly host: string }): Scrutiny;
  /** Time does its work on the records no longer: somebody else sees to it, perhaps by another configuration. */
  end(): Promise<void>;
  /** Settles when everything about hosts is on disk and the threads have ended. */
  close(): Promise<void>;
}

export interface InspectionParts {
  readonly kv: Deno.Kv;
  readonly dns: Resolver;
  readonly log: Log;
  /**
   * The server counts hosts as its configuration says, and lets time do its work on their records. Anybody else takes
   * them as they are, and a rehearsal leaves no trace.
   */
  readonly as: "server" | "rehearsal";
}

export async function openInspection(config: Config, { kv, dns, log, as }: InspectionParts): Promise<Inspection> {
  const { checks, reputation, hostname } = config;
  const rules = hostRules(config), isServer = as === "server";
  const born = isServer ? await bornAt(kv) : await readBorn(kv) ?? Date.now();
  if (isServer) await agreeOnCounting(kv, countingOf(rules), log);
  const hosts = new Hosts(kv, { counting: await readCounting(kv) ?? countingOf(rules), log });
  const sweep = isServer ? new HostSweep(kv, hosts, { expireAfter: reputation.expire_after, log }) : undefined;
  const mode = () => modeAt(config, born, Date.now());
  const verifier = openVerifier();
  const scorer = checks.spam.by === "rspamd" || checks.spam.by === "spamd" ? openScorer(checks.spam) : undefined;
  const parts: ScrutinyParts = {
    settings: checks,
    dnsbl: checks.dnsbl,
    weights: checks.weights,
    scoring: scorer !== undefined ? "scorer" : checks.spam.by === "off" ? "off" : "builtin",
    scorer,
    reputation: new Reputation({
      rules,
      hosts: isServer ? hosts : rehearsed(hosts),
      exempt: exemptOf(config),
      mode,
      contact: `postmaster@${config.domains[0]?.name ?? hostname} from another address`,
      log,
    }),
    hostname,
    dns,
    spf: new SpfMemory(dns, hostname),
    verify: (request) => verifier.run(request),
    inTurn: oneAtATime(),
    scorerTurn: oneAtATime(),
    log,
  };
  return {
    hosts,
    rules,
    mode,
    scrutinyOf: (peer) => new Scrutiny(parts, peer),
    end: async () => await sweep?.close(),
    async close() {
      verifier.close();
      await scorer?.close();
      await sweep?.close();
      await hosts.close();
    },
  };
}

/** Networks that are never judged and never locked out. */
export function exemptOf({ reputation }: Config): Network[] {
  return reputation.exempt.map(parseNetwork).filter((network) => network !== undefined);
}

export function openLockouts(config: Config, kv: Deno.Kv): Lockouts {
  const { max_failures, max_failures_per_login, lockout } = config.auth;
  const limits = { maxFailures: max_failures, maxFailuresPerLogin: max_failures_per_login, lockout };
  return new Lockouts(kv, { ...limits, exempt: exemptOf(config) });
}

/** What `auto` is at that time; `born`: the first day of the store. */
export function modeAt({ reputation }: Config, born: number, at: number): Mode {
  if (reputation.mode !== "auto") return reputation.mode;
  return at < born + reputation.observe_for ? "observe" : "enforce";
}

/** What the published rules fix is fixed. */
export function hostRules({ reputation }: Config): HostRules {
  const isClassic = reputation.rules === "classic";
  return {
    rules: reputation.rules,
    ratio: isClassic ? 0.7 : reputation.ratio,
    least: reputation.least,
    ipv4: { near: reputation.ipv4_near, wide: reputation.ipv4_wide },
    ipv6: { host: reputation.ipv6_host, near: reputation.ipv6_near, wide: reputation.ipv6_wide },
    halfLife: reputation.half_life,
    strikes: reputation.strikes,
    strikeWindow: reputation.strike_window,
    firstBan: reputation.first_ban,
    longestBan: reputation.longest_ban,
    goodMessages: reputation.good_messages,
    goodSpam: reputation.good_spam,
    slowGreeting: reputation.slow_greeting,
  };
}

function openVerifier(): WorkerPool<null, VerifyRequest, readonly Signature[]> {
  const start = () => new Worker(new URL("../worker/verify.ts", import.meta.url), { type: "module" });
  return new WorkerPool(start, null, WORKER_POOL);
}

/** What can be told of messages and hosts, and for how long. */
export function openStories(config: Config, log: Log): Stories {
  const { store, settingOf, stories: { keep, size } } = config;
  return new Stories({ folder: storiesFolder(store), keep, size, settingOf, log });
}

/** Asks the name servers of the config, or of the machine. */
export async function openDns(config: Config): Promise<Resolver> {
  const { servers, trust_ad } = config.dns;
  const asked = servers.length === 0
    ? await systemServers()
    : servers.map(({ hostname, port }) => ({ address: hostname, port }));
  return new Resolver({ servers: asked, trustAd: trust_ad });
}
