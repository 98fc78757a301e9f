/** The seen-hosts algorithm as it was published, step by step, against the real server. */

import assert from "node:assert/strict";
import { expect, letter, send } from "../support/letters.ts";
import { ANN, LocalServer } from "../support/local_server.ts";
import { callFrom, greetingFor, PROXIED, sayHello } from "../support/proxy_caller.ts";
import { signedLetter } from "../support/signed_letter.ts";
import { KEY, mailFrom, Records, refusedAt, storyOf, ZONE } from "./village.ts";

const HOST = "2001:db8:5::1";
const RELEASE = "To be released, write to postmaster@ours.test from another address";

function openServer(mode: "enforce" | "observe"): Promise<LocalServer> {
  return LocalServer.open({
    users: [{ ...ANN, spamLimit: 10, spamTimes: 2 }],
    listeners: PROXIED,
    zone: ZONE,
    checks: "[checks.weights]\nspf_softfail = 20",
    reputation: `rules = "classic"\nmode = "${mode}"\nexempt = []`,
  });
}

Deno.test("the published sequence, with the record after each step", async () => {
  await using server = await openServer("enforce");
  await using records = await Records.open(server, "classic");

  // 1. An unknown host connects: it is recorded, not banned.
  const began = Date.now() - 60_000;
  expect(await greetingFor(server, HOST, "mx"), "220");
  let record = await records.until(HOST, ({ connections }) => connections === 1);
  assert.ok(record.first >= began && record.last === record.first);
  assert.deepEqual([record.names, record.ban, record.misnamed], [[], undefined, false]);

  // 3. At HELO its name is remembered. One that belongs to another address ends the call, without a ban.
  (await sayHello(server, HOST, "a.remote.test")).close();
  record = await records.until(HOST, ({ names }) => names[0] === "a.remote.test");
  assert.deepEqual([record.connections, record.misnamed, record.counters.nameChanges], [2, false, 0]);
  const misnamed = await callFrom(server, HOST, "mx");
  expect(await misnamed.lastLine(), "220");
  assert.equal(
    await misnamed.say("EHLO other.remote.test"),
    "550 5.7.25 You say that you are other.remote.test, which is not your address",
  );
  assert.equal(await misnamed.lastLine(), "closed");
  misnamed.close();
  record = await records.until(HOST, (one) => one.misnamed);
  assert.deepEqual(record.names, ["other.remote.test", "a.remote.test"]);
  assert.deepEqual([record.counters.nameChanges, record.counters.nameFailures, record.ban], [1, 1, undefined]);
  // A different name counts as a change and clears the failure; one that does not exist contradicts nothing.
  (await sayHello(server, HOST, "b.remote.test")).close();
  record = await records.until(HOST, ({ names }) => names[0] === "b.remote.test");
  assert.deepEqual([record.misnamed, record.counters.nameChanges, record.counters.nameFailures], [false, 2, 1]);
  (await sayHello(server, HOST, "nowhere.remote.test")).close();
  record = await records.until(HOST, ({ counters }) => counters.nameChanges === 3);
  assert.deepEqual([record.misnamed, record.connections], [false, 5]);

  // 4. An unknown recipient is refused, without a ban. 5. What is stored gets 250.
  expect(await mailFrom(server, HOST, "carol@good.test", ["nobody@ours.test"]), "550 5.1.1");
  record = await records.until(HOST, ({ counters }) => counters.unknownRecipients === 1);
  assert.equal(record.ban, undefined);
  expect(await mailFrom(server, HOST, "carol@good.test"), "250 2.0.0");
  await records.until(HOST, ({ counters }) => counters.accepted === 1);

  // 4. Spam counts up, other mail down, not below none, and above spam_times it is a ban.
  let spam = 0;
  for (const [sender, times] of [["soft", 1], ["good", 0], ["good", 0], ["soft", 1], ["soft", 2]] as const) {
    const isSpam = sender === "soft", said = await mailFrom(server, HOST, `carol@${sender}.test`);
    expect(said, isSpam ? "550 5.7.1 This looks like spam to us: score 21, limit 10" : "250 2.0.0");
    if (isSpam) spam++;
    record = await records.until(HOST, (one) => one.timesSpammed === times && one.counters.spam >= spam);
    assert.equal(record.ban, undefined);
  }
  expect(await mailFrom(server, HOST, "carol@soft.test"), "550 5.7.1 This looks like spam");
  record = await records.until(HOST, ({ ban }) => ban !== undefined);
  assert.deepEqual([record.timesSpammed, record.counters.spam, record.counters.accepted], [3, 4, 3]);
  assert.deepEqual(
    [record.ban?.reason, record.ban?.until, record.ban?.inherited, record.ban?.times],
    ["3 messages above the spam limit", undefined, false, 1],
  );

  // 1. A known host that is banned hears why and how to ask for release, and the call is counted.
  const { connections } = record;
  assert.deepEqual(await refusedAt(server, HOST), [
    `554 5.7.1 ${HOST} is banned: 3 messages above the spam limit. ${RELEASE}`,
    "closed",
  ]);
  await records.until(HOST, (one) => one.connections === connections + 1);
});

Deno.test("a failing SPF and a wrong signature are refused and banned at once, and the ban is on disk before the reply", async () => {
  await using server = await openServer("enforce");
  await using records = await Records.open(server, "classic");
  expect(await mailFrom(server, "2001:db8:6::1", "carol@bad.test"), "550 5.7.23");
  let record = await records.of("2001:db8:6::1");
  assert.deepEqual([record?.ban?.reason, record?.ban?.until, record?.counters.spfFailures], [
    "SPF failed",
    undefined,
    1,
  ]);

  const good = signedLetter(KEY, { from: "carol@good.test", tags: { d: "good.test" } });
  expect(await mailFrom(server, "2001:db8:7::1", "carol@good.test", undefined, good), "250 2.0.0");
  assert.equal((await records.until("2001:db8:7::1", (one) => one.counters.accepted === 1)).ban, undefined);
  expect(await mailFrom(server, "2001:db8:7::1", "carol@good.test", undefined, `${good}More.\r\n`), "550 5.7.20");
  record = await records.of("2001:db8:7::1");
  assert.deepEqual([record?.ban?.reason, record?.counters.dkimFailures], ["a DKIM signature was wrong", 1]);
  for (const host of ["2001:db8:6::1", "2001:db8:7::1"]) {
    expect((await refusedAt(server, host))[0], `554 5.7.1 ${host} is banned: `);
  }
  await server.emptyQueue();
  assert.equal((await server.inbox()).length, 1);
});

Deno.test("an unknown host inherits the ban of a /112 or an IPv4 /24, and it is recorded", async () => {
  await using server = await openServer("enforce");
  await using records = await Records.open(server, "classic");
  const nets = [["2001:db8:8::", "2001:db8:8::/112", "2001:db8:8::1:1"], ["192.0.2.", "192.0.2.0/24", "198.51.100.1"]];
  for (const [prefix, network, elsewhere = ""] of nets) {
    expect(await greetingFor(server, `${prefix}200`, "mx"), "220");
    for (const host of [1, 2, 3, 4]) expect(await mailFrom(server, `${prefix}${host}`, "carol@bad.test"), "550 5.7.23");
    expect(await greetingFor(server, `${prefix}5`, "mx"), "220");
    expect(await mailFrom(server, `${prefix}5`, "carol@bad.test"), "550 5.7.23");
    const reason = `bad neighbours: 5 banned of 6 known hosts in ${network}: 5 / (6 + 1) = 0.71 > 0.70`;
    assert.deepEqual(await refusedAt(server, `${prefix}6`), [
      `554 5.7.1 ${prefix}6 is banned: ${reason}. ${RELEASE}`,
      "closed",
    ]);
    const { ban, connections } = await records.of(`${prefix}6`) ?? {};
    assert.deepEqual([ban?.reason, ban?.inherited, ban?.until, connections], [reason, true, undefined, 1]);
    expect((await refusedAt(server, `${prefix}7`))[0], `554 5.7.1 ${prefix}7 is banned: bad neighbours: 6 banned of 7`);
    // Who was known before is not judged by them, nor is the next network.
    expect(await greetingFor(server, `${prefix}200`, "mx"), "220");
    expect(await greetingFor(server, elsewhere, "mx"), "220");
  }
});

Deno.test("while it only observes nobody is refused by these rules, the record is the same, and the story says what would have been", async () => {
  await using server = await openServer("observe");
  await using records = await Records.open(server, "classic");
  const peer = await callFrom(server, HOST, "mx");
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO other.remote.test"), "250");
  const tampered = `${signedLetter(KEY, { from: "carol@good.test", tags: { d: "good.test" } })}More.\r\n`;
  expect(await send(peer, "carol@good.test", ["ann@ours.test"], tampered), "250 2.0.0");
  const record = await records.until(HOST, (one) => one.ban !== undefined && one.misnamed);
  assert.equal(record.ban?.reason, "a DKIM signature was wrong");
  const said = await send(peer, "carol@good.test", ["ann@ours.test"], letter());
  expect(said, "250 2.0.0 Queued as ");
  peer.close();
  expect(await mailFrom(server, HOST, "carol@good.test"), "250 2.0.0");
  const told = (await storyOf(server, HOST, 4)).flatMap((one) => one.tells === "decision" ? one.steps : []);
  const would = told.filter((step) => step.would !== undefined).map(({ check, would }) => `${check}: ${would}`);
  assert.deepEqual([...new Set(would)].sort(), [
    "reputation: would have been refused",
    "seen hosts: DKIM: would have been refused: 550 5.7.20 The DKIM signature of good.test is wrong",
    "seen hosts: name: would have been refused: 550 5.7.25 You say that you are other.remote.test, which is not your address",
  ]);
});
