import assert from "node:assert/strict";
import { serialize } from "node:v8";
import {
  decodeHost,
  encodeHost,
  type HostRecord,
  networkKey,
  networkOf,
  newHost,
} from "../../src/store/host_record.ts";
import { HOUR, MINUTE, nameOf, net, NOON } from "./host_counts.ts";

const BUSY: HostRecord = {
  first: NOON,
  last: NOON + 5 * MINUTE,
  connections: 1234,
  ban: { since: NOON, until: NOON + HOUR, times: 3, reason: "3 SPF failures", inherited: false, over: false },
  allowed: true,
  names: ["mail.remote.test", "other.remote.test", "third.remote.test"],
  misnamed: true,
  strikes: [NOON + MINUTE, NOON + 2 * MINUTE],
  timesSpammed: 4,
  counters: {
    nameChanges: 1,
    nameFailures: 2,
    spfFailures: 3,
    dkimFailures: 4,
    dmarcFailures: 5,
    unknownRecipients: 6,
    protocolErrors: 7,
    accepted: 8,
    spam: 9,
  },
  halved: NOON + MINUTE,
};

function again(host: HostRecord): HostRecord {
  return decodeHost(encodeHost(host));
}

Deno.test("a record comes back from the store as it was, to the minute", () => {
  assert.deepEqual(again(newHost(NOON)), newHost(NOON));
  assert.deepEqual(again(BUSY), BUSY);
  const parts: readonly Partial<HostRecord>[] = [
    { names: ["one"] },
    { ban: { since: NOON, times: 1, reason: "", inherited: true, over: false } },
    { ban: { since: NOON, times: 2, reason: "x", inherited: false, over: true } },
    { ban: { since: NOON, times: 2, reason: "x", inherited: true, over: true } },
    { counters: { ...newHost(NOON).counters, nameChanges: 1 } },
    { counters: { ...newHost(NOON).counters, spam: 1 } },
    { allowed: true },
    { misnamed: true },
  ];
  for (const part of parts) assert.deepEqual(again({ ...newHost(NOON), ...part }), { ...newHost(NOON), ...part });
});

Deno.test("nothing that is remembered lies in the future, and no ban ends before its time", () => {
  const odd = NOON + 59_999,
    host = again({
      ...newHost(odd),
      last: odd,
      strikes: [odd],
      ban: { since: odd, until: odd + 1, times: 1, reason: "x", inherited: false, over: false },
    });
  assert.deepEqual([host.first, host.last, host.halved, host.strikes[0], host.ban?.since], Array(5).fill(NOON));
  assert.equal(host.ban?.until, NOON + MINUTE);
  assert.equal(again({ ...host, ban: { ...host.ban!, until: odd + 2 } }).ban?.until, NOON + 2 * MINUTE);
});

Deno.test("what a peer says does not make a record large", () => {
  const long = "x".repeat(10_000);
  const host = again({
    ...BUSY,
    names: [long, long, long, long],
    strikes: Array.from({ length: 20_000 }, (_, index) => NOON + index * MINUTE),
    ban: { ...BUSY.ban!, reason: long },
  });
  assert.deepEqual(host.names, Array(3).fill("x".repeat(64)));
  assert.equal(host.ban?.reason.length, 120);
  assert.deepEqual([host.strikes.length, host.strikes.at(-1)], [10_000, NOON + 19_999 * MINUTE], "the latest ones");
  assert.ok(serialize(encodeHost({ ...BUSY, strikes: host.strikes })).byteLength < 400);
  assert.equal(decodeHost({ ...encodeHost(BUSY), s: [1], k: [1e12] }).strikes.length, 10_000, "tampered with");
});

Deno.test("many strikes are all counted, and told apart by their days", () => {
  const early = Array<number>(300).fill(NOON),
    late = Array.from({ length: 12 }, (_, at) => NOON + 24 * HOUR + at * MINUTE);
  const { strikes } = again(again({ ...BUSY, strikes: [...early, ...late] }));
  assert.deepEqual(strikes, [...early, ...late.map(() => late.at(-1))]);
  const few = Array.from({ length: 10 }, (_, at) => NOON + at * MINUTE);
  assert.deepEqual(again({ ...BUSY, strikes: few }).strikes, few);
  assert.deepEqual(again({ ...BUSY, strikes: [NOON, NOON, NOON + HOUR] }).strikes, [NOON, NOON, NOON + HOUR]);
});

Deno.test("what a host usually leaves takes few bytes", () => {
  const usual: HostRecord = {
    ...newHost(NOON),
    last: NOON + 30 * 24 * HOUR,
    connections: 120,
    names: ["mail-123.outbound.remote.test"],
    counters: { ...newHost(NOON).counters, accepted: 100, spam: 1 },
    halved: NOON + 28 * 24 * HOUR,
  };
  assert.ok(serialize(encodeHost(usual)).byteLength < 130);
  assert.ok(serialize(encodeHost(newHost(NOON))).byteLength < 20);
});

Deno.test("a network is told from all others by its key, and read from it", () => {
  const texts = ["192.0.2.7/32", "192.0.2.0/24", "192.0.0.0/20", "0.0.0.0/0", "2001:db8::/64", "2001:db8::/56"];
  texts.push("2001:db8::/48", "2001:db8::1/128", "2001:db8:0:100::/57", "::/0", "c000:207::/32", "::1/128");
  const keys = new Set(texts.map((text) => networkKey(net(text)).toHex()));
  assert.equal(keys.size, texts.length);
  for (const text of texts) assert.equal(nameOf(networkOf(networkKey(net(text)))), text);
  assert.equal(networkKey(net("2001:db8::/64")).length, 10);
});
