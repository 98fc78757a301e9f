import assert from "node:assert/strict";
import { banned, called } from "../../src/check/host_history.ts";
import {
  activeBan,
  asksNeighbours,
  countingOf,
  hostOf,
  type HostRules,
  isGood,
  judgeArrival,
  nextRelease,
  patience,
  type Standing,
} from "../../src/check/host_rules.ts";
import { parseIp } from "../../src/smtp/network.ts";
import type { Counts } from "../../src/store/host_counting.ts";
import { type HostRecord, newHost } from "../../src/store/host_record.ts";
import { DAY, hostsAt, HOUR, nameOf, net, NOON } from "../store/host_counts.ts";
import { withStore } from "../store/temporary_store.ts";
import { CLASSIC_RULES, PREFIX_RULES } from "./host_rules_of.ts";

function counts(known: number, banned: number, network = "2001:db8::/56"): Counts {
  return { network: net(network), known, banned };
}

function judge(near: readonly Counts[], rules: HostRules, host?: HostRecord): Standing {
  return judgeArrival(host, near, rules, NOON);
}

function withRecord(accepted: number, spam = 0): HostRecord {
  const host = newHost(NOON);
  return { ...host, counters: { ...host.counters, accepted, spam } };
}

/** Known hosts → the least number of banned ones that trips the rule. */
const CLASSIC = new Map([[3, 3], [4, 4], [5, 5], [6, 5], [7, 6], [8, 7], [9, 8], [10, 8], [16, 12], [20, 15]]);

Deno.test("the classic rule trips exactly where it was published to", () => {
  for (let known = 0; known <= 20; known++) {
    const least = Array.from({ length: known + 1 }, (_, banned) => banned)
      .find((banned) => judge([counts(known, banned)], CLASSIC_RULES).is === "inherits");
    if (known <= 2) assert.equal(least, undefined, `${known} known hosts`);
    else if (CLASSIC.has(known)) assert.equal(least, CLASSIC.get(known), `${known} known hosts`);
    // The rule itself, in whole numbers: 10 b > 7 (n + 1).
    if (known > 2) assert.equal(least, Math.floor(7 * (known + 1) / 10) + 1, `${known} known hosts`);
  }
});

Deno.test("the counts of a real store trip the classic rule at the same numbers", async () => {
  for (const [prefix, last] of [["192.0.2.", "192.0.2.255"], ["2001:db8::", "2001:db8::ffff"]] as const) {
    for (const known of [2, 3, 4, 6, 10]) {
      await withStore(async ({ kv }) => {
        const hosts = hostsAt(kv, { now: NOON }, countingOf(CLASSIC_RULES)), caller = net(last);
        for (let host = 1; host <= known; host++) await hosts.change(net(`${prefix}${host}`), called);
        let least: number | undefined;
        for (let bad = 1; bad <= known; bad++) {
          await hosts.change(
            net(`${prefix}${bad}`),
            (host, at) => banned(host, at, { reason: "test", inherited: bad % 2 === 0 }),
          );
          const standing = judge(await hosts.near(caller), CLASSIC_RULES, await hosts.get(caller));
          if (standing.is === "inherits") least ??= bad;
        }
        assert.equal(least, CLASSIC.get(known), `${known} known hosts beside ${last}`);
        await hosts.close();
      });
    }
  }
});

Deno.test("a known host is never judged by its neighbours under the classic rules", () => {
  const near = [counts(20, 20)];
  assert.equal(judge(near, CLASSIC_RULES, newHost(NOON)).is, "welcome");
  assert.equal(asksNeighbours(newHost(NOON), CLASSIC_RULES, NOON), false);
  assert.equal(asksNeighbours(undefined, CLASSIC_RULES, NOON), true);
});

Deno.test("a host is an address under the classic rules, and a /64 or an IPv4 address under the others", () => {
  const host = (text: string, rules: HostRules) => nameOf(hostOf(parseIp(text)!, rules));
  assert.equal(host("2001:db8:1:2:3:4:5:6", CLASSIC_RULES), "2001:db8:1:2:3:4:5:6/128");
  assert.equal(host("2001:db8:1:2:3:4:5:6", PREFIX_RULES), "2001:db8:1:2::/64");
  assert.equal(
    host("2001:db8:1:2:3:4:5:6", { ...PREFIX_RULES, ipv6: { host: 60, near: 56, wide: 48 } }),
    "2001:db8:1::/60",
  );
  for (const text of ["192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207", "2002:c000:207::1", "64:ff9b::192.0.2.7"]) {
    for (const rules of [CLASSIC_RULES, PREFIX_RULES]) assert.equal(host(text, rules), "192.0.2.7/32", text);
  }
  // Beside the prefixes that carry an address.
  assert.equal(host("64:ff9b::1:c000:207", PREFIX_RULES), "64:ff9b::/64");
  assert.equal(host("2003:c000:207::1", PREFIX_RULES), "2003:c000:207::/64");
});

Deno.test("the near neighbourhood refuses, the wider one only slows, and too few of them do neither", () => {
  const near = (close: readonly [number, number], wide: readonly [number, number]) =>
    judge([counts(...close), counts(...wide, "2001:db8::/48")], PREFIX_RULES);
  const refused = near([3, 3], [3, 3]);
  assert.ok(refused.is === "inherits");
  assert.equal(
    refused.reason,
    "bad neighbours: 3 banned of 3 senders in 2001:db8::/56: 3 / (3 + 1) = 0.75 > 0.70",
  );
  const slow = near([0, 0], [10, 8]);
  assert.equal(slow.is, "slow");
  assert.equal(
    slow.numbers,
    "8 banned of 10 senders in 2001:db8::/48: 8 / (10 + 1) = 0.73 > 0.70",
  );
  assert.equal(near([2, 2], [2, 2]).is, "welcome");
  assert.equal(near([4, 3], [10, 7]).is, "welcome");
  assert.equal(
    judge([counts(5, 1)], { ...PREFIX_RULES, least: 1, ratio: 0.1 }).is,
    "inherits",
    "ratio and least are settings",
  );
  assert.equal(judge([counts(10, 9)], { ...PREFIX_RULES, least: 10 }).is, "welcome");
});

Deno.test("a host has no say about itself: neither as a known one, nor with a ban that it just had", () => {
  assert.equal(judge([counts(4, 3)], PREFIX_RULES, withRecord(1)).is, "inherits", "3 of 3 others");
  assert.equal(judge([counts(4, 3)], PREFIX_RULES, newHost(NOON)).is, "welcome", "3 of 4 others: it only called");
  const ended = banned(newHost(NOON - DAY), NOON - HOUR, { reason: "x", inherited: false, until: NOON });
  // Its time is up, and the sweep has not been there yet.
  assert.equal(judge([counts(4, 3)], PREFIX_RULES, ended).is, "welcome", "2 of 3 others");
  assert.equal(judge([counts(4, 4)], PREFIX_RULES, ended).is, "inherits", "3 of 3 others");
});

Deno.test("a host with a good record of its own is not judged by its neighbours, and is given twice as much or a share of what it sends", () => {
  const near = [counts(20, 20)];
  for (const [accepted, spam, good] of [[5, 0, true], [4, 0, false], [10, 1, true], [9, 1, false]] as const) {
    const host = withRecord(accepted, spam);
    assert.equal(isGood(host, PREFIX_RULES, NOON), good, `${accepted} accepted, ${spam} spam`);
    assert.equal(judge(near, PREFIX_RULES, host).is, good ? "welcome" : "inherits");
    assert.equal(asksNeighbours(host, PREFIX_RULES, NOON), !good);
    assert.equal(patience(3, host, PREFIX_RULES, NOON), good ? 6 : 3);
    assert.equal(patience(3, host, CLASSIC_RULES, NOON), 3);
  }
  const given = (accepted: number, spam: number) => patience(3, withRecord(accepted, spam), PREFIX_RULES, NOON);
  assert.deepEqual(
    [given(60, 0), given(61, 0), given(50_000, 0)],
    [6, 7, 5000],
    "six of somebody's own are not enough",
  );
  assert.deepEqual([given(1000, 111), given(1000, 112)], [100, 3], "until too much of it is spam");
  assert.equal(patience(3, withRecord(50_000), CLASSIC_RULES, NOON), 3);
  assert.equal(patience(3, withRecord(50_000), PREFIX_RULES, NOON + 28 * DAY), 1250, "what is long ago counts half");
  const host = { ...withRecord(9), halved: NOON };
  assert.equal(isGood(host, PREFIX_RULES, NOON + 14 * DAY), false, "what is long ago counts half");
});

Deno.test("a ban lasts an hour, each further one twice as long, and thirty days at most", () => {
  const hours: number[] = [];
  let host = newHost(NOON);
  for (let time = 0; time < 12; time++) {
    const until = nextRelease(host, PREFIX_RULES, NOON);
    hours.push(((until ?? 0) - NOON) / HOUR);
    host = banned(host, NOON, { reason: "x", inherited: false, until });
  }
  assert.deepEqual(hours, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720]);
  assert.equal(nextRelease({ ...host, ban: { ...host.ban!, times: 5000 } }, PREFIX_RULES, NOON), NOON + 30 * DAY);
  assert.equal(nextRelease(newHost(NOON), CLASSIC_RULES, NOON), undefined, "until somebody lifts it");
});

Deno.test("a ban holds until its time is up or it is over, and one for the neighbours' sake only under the classic rules", () => {
  const ban = (inherited: boolean, until?: number) => banned(newHost(NOON), NOON, { reason: "x", inherited, until });
  assert.notEqual(activeBan(ban(false), PREFIX_RULES, NOON + 1000 * DAY), undefined);
  assert.notEqual(activeBan(ban(false, NOON + HOUR), PREFIX_RULES, NOON + HOUR - 1), undefined);
  assert.equal(activeBan(ban(false, NOON + HOUR), PREFIX_RULES, NOON + HOUR), undefined);
  assert.equal(activeBan({ ...ban(false), ban: { ...ban(false).ban!, over: true } }, CLASSIC_RULES, NOON), undefined);
  assert.equal(activeBan(ban(true), PREFIX_RULES, NOON), undefined);
  assert.notEqual(activeBan(ban(true), CLASSIC_RULES, NOON), undefined);
  const banned1 = judge([], CLASSIC_RULES, ban(false));
  assert.deepEqual([banned1.is, banned1.numbers], ["banned", "banned: x"]);
});

Deno.test("a host that is allowed is welcome, whatever it did and whoever lives beside it", () => {
  const host = { ...banned(newHost(NOON), NOON, { reason: "x", inherited: false }), allowed: true };
  for (const rules of [PREFIX_RULES, CLASSIC_RULES]) {
    assert.equal(judge([counts(20, 20)], rules, host).is, "welcome");
    assert.equal(asksNeighbours(host, rules, NOON), false);
  }
});
