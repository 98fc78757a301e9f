/**
 * May this host talk to us: the two sets of rules, as pure functions of what is known of it and its neighbours.
 *
 * `classic` is the seen-hosts algorithm as it was published. `prefix` keeps its idea and mends it for networks in which
 * everybody has 2^64 addresses: a host is a /64, bans end, and only what a host itself has done speaks against others.
 */

import { asSeen, formatIp, type Ip, type Network, prefixOf } from "../smtp/network.ts";
import type { Counting, Counts } from "../store/host_counting.ts";
import type { Ban, HostRecord } from "../store/host_record.ts";
import { aged } from "./host_history.ts";

/** `[reputation]`. Times in milliseconds. */
export interface HostRules {
  readonly rules: "classic" | "prefix";
  /** Share of banned hosts among the known ones and the caller, above which its neighbours speak against a host. */
  readonly ratio: number;
  /** Banned neighbours that it takes at least. */
  readonly least: number;
  /** Lengths: of what is one host, of its neighbourhood, and of the wider one. */
  readonly ipv4: { readonly near: number; readonly wide: number };
  readonly ipv6: { readonly host: number; readonly near: number; readonly wide: number };
  readonly halfLife: number;
  readonly strikes: number;
  readonly strikeWindow: number;
  readonly firstBan: number;
  readonly longestBan: number;
  /** A good record: so many messages, and less than this share of them spam. */
  readonly goodMessages: number;
  readonly goodSpam: number;
  /** How much longer the greeting takes for a host whose wider neighbourhood is bad. */
  readonly slowGreeting: number;
}

/** `numbers` explains it with all values that it rests on. */
export type Standing =
  | { readonly is: "welcome"; readonly numbers: string; readonly good: boolean }
  /** Its wider neighbourhood is bad: it waits, and the score of its messages rises. */
  | { readonly is: "slow"; readonly numbers: string; readonly good: false }
  | { readonly is: "banned"; readonly numbers: string; readonly ban: Ban }
  /** Its neighbours are so bad that it is taken for one of them. */
  | { readonly is: "inherits"; readonly numbers: string; readonly reason: string };

/** What is one host: the record it has. */
export function hostOf(ip: Ip, { rules, ipv6 }: HostRules): Network {
  const seen = asSeen(ip);
  return prefixOf(seen, seen.family === 4 ? 32 : rules === "classic" ? 128 : ipv6.host);
}

/** How the store has to count for these rules. */
export function countingOf({ rules, ipv4, ipv6 }: HostRules): Counting {
  return rules === "classic"
    ? { lengths: { 4: [24], 6: [112] }, inherited: true, proven: false }
    : { lengths: { 4: [ipv4.near, ipv4.wide], 6: [ipv6.near, ipv6.wide] }, inherited: false, proven: true };
}

/** Whether the neighbours have a say; else they need not be read. */
export function asksNeighbours(host: HostRecord | undefined, rules: HostRules, at: number): boolean {
  if (host === undefined) return true;
  if (rules.rules === "classic" || host.allowed || activeBan(host, rules, at) !== undefined) return false;
  return !isGood(host, rules, at);
}

/** `near`: the counts of its neighbourhoods, the narrowest first; empty when they have no say. */
export function judgeArrival(
  host: HostRecord | undefined,
  near: readonly Counts[],
  rules: HostRules,
  at: number,
): Standing {
  if (host?.allowed) return { is: "welcome", numbers: "allowed by hand", good: true };
  const ban = host && activeBan(host, rules, at);
  if (ban !== undefined) return { is: "banned", numbers: `banned: ${ban.reason}`, ban };
  const good = host !== undefined && isGood(host, rules, at);
  if (host !== undefined && (good || rules.rules === "classic")) {
    return { is: "welcome", numbers: `${recordText(host, rules, at)}; not judged by its neighbours`, good };
  }
  const [close, ...wider] = near.map((counts) => weigh(counts, host, rules));
  if (close?.trips) return { is: "inherits", numbers: close.text, reason: `bad neighbours: ${close.text}` };
  const bad = wider.find(({ trips }) => trips);
  if (bad !== undefined) return { is: "slow", numbers: bad.text, good: false };
  const own = host === undefined ? "unknown host" : recordText(host, rules, at);
  return { is: "welcome", numbers: [own, ...[close, ...wider].map((one) => one?.text ?? "")].join("; "), good: false };
}

/** Banned hosts against the known ones and the caller, who has no say in it himself: nor has a ban that he just had. */
function weigh({ network, known, banned }: Counts, host: HostRecord | undefined, rules: HostRules) {
  const isPrefix = rules.rules === "prefix";
  // Among those that `countingOf` has counted.
  const isBanned = isPrefix && host?.ban !== undefined && !host.ban.over && !host.ban.inherited;
  const isKnown = isBanned || (isPrefix && host !== undefined && host.counters.accepted > 0);
  const others = isKnown ? Math.max(0, known - 1) : known;
  const bad = Math.min(isBanned ? Math.max(0, banned - 1) : banned, others), share = bad / (others + 1);
  // Published as n ≥ 2 known hosts, which 2 / 3 can never trip: so it takes three.
  const trips = (isPrefix ? bad >= rules.least : others >= 2) && share > rules.ratio;
  // Whose mail was accepted, or who is banned for what he did.
  const who = isPrefix ? "senders" : "known hosts";
  const sum = `${bad} banned of ${others} ${who} in ${formatIp(network)}/${network.length}`;
  const limit = `${share.toFixed(2)} ${trips ? ">" : "≤"} ${rules.ratio.toFixed(2)}`;
  return {
    trips,
    text: trips || share <= rules.ratio ? `${sum}: ${bad} / (${others} + 1) = ${limit}` : `${sum}: too few`,
  };
}

/** The ban that holds now. One from a time when the clock was wrong ends as late as one that begins now. */
export function activeBan(host: HostRecord, rules: HostRules, at: number): Ban | undefined {
  const { ban } = host;
  if (ban === undefined || ban.over || (ban.until !== undefined && ban.until <= at)) return undefined;
  // Under the prefix rules a ban for the neighbours' sake is computed anew at each call.
  if (rules.rules === "prefix" && ban.inherited) return undefined;
  return ban;
}

/** A host that has shown what it sends. */
export function isGood(host: HostRecord, rules: HostRules, at: number): boolean {
  const { accepted, spam } = aged(host, at, rules).counters;
  return accepted >= rules.goodMessages && spam / (accepted + spam) < rules.goodSpam;
}

/**
 * How many strikes, or times spammed above this number, make a ban. A host with a good record is given twice as many, and
 * as many as are a share of what it sends that is still good: whoever can send through a provider with 50,000 messages
 * could otherwise have it banned with six of his own.
 */
export function patience(least: number, host: HostRecord, rules: HostRules, at: number): number {
  if (rules.rules === "classic" || !isGood(host, rules, at)) return least;
  return Math.max(2 * least, Math.ceil(rules.goodSpam * aged(host, at, rules).counters.accepted));
}

/** When the next ban of a host ends; undefined: never. Each is twice as long as the one before. */
export function nextRelease(host: HostRecord, rules: HostRules, at: number): number | undefined {
  if (rules.rules === "classic") return undefined;
  const times = host.ban?.times ?? 0;
  return at + Math.min(rules.longestBan, rules.firstBan * 2 ** Math.min(times, 40));
}

function recordText(host: HostRecord, rules: HostRules, at: number): string {
  const { accepted, spam } = aged(host, at, rules).counters;
  return `${accepted} messages accepted, ${spam} spam`;
}
