/** The keys of [checks], [reputation] and [stories]: who calls, what they bring, and what is remembered of it. */

import { scorer } from "./spam_scorer.ts";
import { key, list, type Place, required, section, table, type Values } from "./table.ts";
import { choice, decimal, domain, duration, network, size, whole } from "./value.ts";

const DNSBL = {
  zone: required(domain, "dnsbl.example.net", "Where it is asked."),
  weight: key(decimal(0, 1000), 4, "What a host on it gets."),
};

const WEIGHTS = {
  spf_fail: key(decimal(-100, 100), 5, "SPF fails, and the message is not refused for it."),
  spf_softfail: key(decimal(-100, 100), 2, "SPF fails softly."),
  helo_mismatch: key(decimal(-100, 100), 3, "The name in HELO belongs to another host."),
  helo_none: key(decimal(-100, 100), 1, "The name in HELO has no address."),
  dkim_fail: key(decimal(-100, 100), 1, "A signature is wrong, and none is right."),
  dmarc_fail: key(decimal(-100, 100), 2, "DMARC fails, and nothing else follows from it."),
  dmarc_quarantine: key(decimal(-100, 100), 6, "DMARC fails, and the author's domain asks for quarantine."),
  neighbours: key(decimal(-100, 100), 3, "Most hosts of the wider neighbourhood are banned."),
};

export const CHECKS = {
  spf: key(
    choice("reject-unsigned", "off", "note", "reject-fail", "require-pass"),
    "reject-unsigned",
    "What a failing SPF does: reject-unsigned, off, note, reject-fail or require-pass.",
  ),
  helo: key(
    choice("note", "off", "reject"),
    "note",
    "A name in HELO that is not the peer's: note, off or reject.",
  ),
  dkim: key(
    choice("note", "off", "reject-fail"),
    "note",
    "A DKIM signature that is wrong: note, off or reject-fail.",
  ),
  dmarc: key(
    choice("obey", "off", "note"),
    "obey",
    "What the author's domain asks for: obey, off or note.",
  ),
  dnsbl: key(
    list(table(DNSBL), { distinct: { text: (one) => one.zone, at: "zone" } }),
    [],
    "Lists of bad hosts in the DNS, each with what it adds to the spam score.",
  ),
  spam: key(scorer, "builtin", "Who scores: builtin, off, rspamd:URL or spamd:HOST:PORT."),
  spam_limit: key(decimal(-100, 10_000), 10, "Score above which mail is spam, for users without a --spam-limit."),
  spam_times: key(
    whole(0, 1000),
    5,
    "Spam of one host above this number bans it, for users without --spam-times.",
  ),
  weights: section(table(WEIGHTS), "What findings add to the spam score."),
};

export const REPUTATION = {
  mode: key(
    choice("auto", "observe", "enforce", "off"),
    "auto",
    "observe only notes, enforce refuses; auto observes a new store for a while; off.",
  ),
  observe_for: key(duration("0s", "365d"), "14d", "How long auto observes a new store before it enforces."),
  rules: key(
    choice("prefix", "classic"),
    "prefix",
    "prefix, or classic: seen hosts as published; ratio to slow_greeting below do not count then.",
  ),
  exempt: key(
    list(network),
    ["127.0.0.0/8", "::1/128"],
    "Networks that are never judged, nor locked out of signing in.",
  ),
  ratio: key(decimal(0.1, 1), 0.7, "Share of banned hosts in a neighbourhood above which it speaks against a host ..."),
  least: key(whole(1, 1000), 3, "... when so many of them are banned at least."),
  ipv4_near: key(whole(9, 32), 24, "Prefix length of the neighbourhood of an IPv4 address ..."),
  ipv4_wide: key(whole(8, 32), 20, "... and of the wider one, which only slows and adds to the score."),
  ipv6_host: key(whole(32, 128), 64, "Prefix length of what is one host in IPv6 ..."),
  ipv6_near: key(whole(17, 128), 56, "... of its neighbourhood ..."),
  ipv6_wide: key(whole(16, 128), 48, "... and of the wider one."),
  strikes: key(whole(1, 1000), 3, "SPF failures without an aligned signature that ban a host ..."),
  strike_window: key(duration("1m", "365d"), "7d", "... within this time."),
  first_ban: key(duration("1m", "365d"), "1h", "How long the first ban lasts; each further one twice as long ..."),
  longest_ban: key(duration("1m", "3650d"), "30d", "... but no longer than this."),
  good_messages: key(whole(1, 100_000), 5, "Accepted messages after which a host is not judged by its neighbours ..."),
  good_spam: key(decimal(0, 1), 0.1, "... when less than this share of its mail was spam."),
  slow_greeting: key(
    duration("0s", "2m"),
    "10s",
    "How long a host of a bad wider neighbourhood waits for the greeting.",
  ),
  half_life: key(duration("1h", "3650d"), "14d", "After this time what a host has done counts half."),
  expire_after: key(
    duration("1h", "3650d"),
    "90d",
    "After this time without contact a host without a ban is forgotten.",
  ),
};

export const STORIES = {
  keep: key(duration("1h", "3650d"), "30d", "How long."),
  size: key(size("1MiB", "100GiB"), "256MiB", "And how much in all; the oldest go first."),
};

/** A wider neighbourhood is wider than the near one. */
export function widerThanNear(reputation: Values<typeof REPUTATION>, place: Place): void {
  const { ipv4_near, ipv4_wide, ipv6_host, ipv6_near, ipv6_wide } = reputation;
  const longer = (name: string, longer: number, other: string, shorter: number) => {
    if (longer <= shorter) place.below(name).fail(`must be greater than ${other} = ${shorter}, got ${longer}`);
  };
  longer("ipv4_near", ipv4_near, "ipv4_wide", ipv4_wide);
  longer("ipv6_near", ipv6_near, "ipv6_wide", ipv6_wide);
  longer("ipv6_host", ipv6_host, "ipv6_near", ipv6_near);
}
