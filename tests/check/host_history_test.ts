import assert from "node:assert/strict";
import {
  aged,
  banned,
  called,
  count,
  misnamed,
  named,
  released,
  spammed,
  struck,
} from "../../src/check/host_history.ts";
import type { HostRules } from "../../src/check/host_rules.ts";
import { decodeHost, encodeHost, type HostRecord, newHost } from "../../src/store/host_record.ts";
import { DAY, HOUR, NOON } from "../store/host_counts.ts";
import { CLASSIC_RULES, PREFIX_RULES } from "./host_rules_of.ts";

const NEW = newHost(NOON);

Deno.test("calls are counted, and none moves the last one back", () => {
  const host = called(called(NEW, NOON + HOUR), NOON);
  assert.deepEqual([host.connections, host.first, host.last], [2, NOON, NOON + HOUR]);
});

Deno.test("a different name replaces the last one, clears its failure and counts a change; the first one is no change", () => {
  let host: HostRecord = named(NEW, "one.test");
  assert.deepEqual([host.names, host.counters.nameChanges], [["one.test"], 0]);
  host = misnamed(host);
  assert.deepEqual([host.misnamed, host.counters.nameFailures], [true, 1]);
  host = named(host, "ONE.test");
  assert.deepEqual([host.misnamed, host.counters.nameChanges], [true, 0], "the same name");
  host = named(host, "two.test");
  assert.deepEqual([host.misnamed, host.names, host.counters.nameChanges], [false, ["two.test", "one.test"], 1]);
  host = named(named(named(host, "three.test"), "one.test"), "four.test");
  assert.deepEqual([host.names, host.counters.nameChanges], [["four.test", "one.test", "three.test"], 4]);
});

Deno.test("a long name is the same name after it has been in the store", () => {
  const name = `${"x".repeat(60)}.${"y".repeat(60)}.test`;
  const host = named(decodeHost(encodeHost(named(NEW, name))), name);
  assert.equal(host.counters.nameChanges, 0);
});

Deno.test("times spammed go up and down, and never below none", () => {
  let host = spammed(NEW, false);
  assert.equal(host.timesSpammed, 0);
  for (const isSpam of [true, true, false, true]) host = spammed(host, isSpam);
  assert.deepEqual([host.timesSpammed, host.counters.spam], [2, 3]);
});

Deno.test("strikes count within their time, and are forgiven with the ban that they lead to", () => {
  let host = struck(struck(NEW, NOON, 7 * DAY), NOON + 6 * DAY, 7 * DAY);
  assert.equal(host.strikes.length, 2);
  host = struck(host, NOON + 7 * DAY, 7 * DAY);
  assert.deepEqual(host.strikes, [NOON + 6 * DAY, NOON + 7 * DAY]);
  host = banned(host, NOON + 8 * DAY, { reason: "x", inherited: false });
  assert.deepEqual([host.strikes, host.ban?.times, host.ban?.since], [[], 1, NOON + 8 * DAY]);
});

Deno.test("who is released starts anew, but for how often there was a ban", () => {
  const host = released(spammed(banned(struck(NEW, NOON, DAY), NOON, { reason: "x", inherited: true }), true));
  assert.deepEqual([host.ban?.over, host.ban?.times, host.strikes, host.timesSpammed], [true, 1, [], 0]);
  assert.equal(banned(host, NOON, { reason: "y", inherited: false }).ban?.times, 2);
  assert.equal(released(NEW).ban, undefined);
});

Deno.test("counters are halved once for each half-life, connections are not, and the rest of the time is kept", () => {
  const host = count(count(called(NEW, NOON), "accepted", 9), "spam", 1);
  assert.equal(aged(host, NOON + 14 * DAY - 1, PREFIX_RULES), host);
  const once = aged(host, NOON + 20 * DAY, PREFIX_RULES);
  assert.deepEqual([once.counters.accepted, once.counters.spam, once.connections], [4, 0, 1]);
  assert.equal(once.halved, NOON + 14 * DAY);
  assert.equal(aged(once, NOON + 28 * DAY, PREFIX_RULES).counters.accepted, 2);
  assert.equal(aged(host, NOON + 28 * DAY, PREFIX_RULES).counters.accepted, 2);
  assert.equal(aged(host, NOON + 10_000 * DAY, PREFIX_RULES).counters.accepted, 0);
});

Deno.test("the times spammed are halved with the counters, but never under the classic rules", () => {
  let host = NEW;
  for (let time = 0; time < 5; time++) host = spammed(host, true);
  const times = (days: number, rules: HostRules) => aged(host, NOON + days * DAY, rules).timesSpammed;
  assert.deepEqual([times(13, PREFIX_RULES), times(14, PREFIX_RULES), times(28, PREFIX_RULES)], [5, 2, 1]);
  assert.deepEqual([times(14, CLASSIC_RULES), times(1000, CLASSIC_RULES)], [5, 5]);
  assert.equal(aged(host, NOON + 14 * DAY, CLASSIC_RULES).counters.spam, 2);
});
