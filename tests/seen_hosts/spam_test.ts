/** One message, and recipients who want different things of it, against the real server. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { expect, letter } from "../support/letters.ts";
import { ANN, LocalServer, type LocalSettings } from "../support/local_server.ts";
import { PROXIED } from "../support/proxy_caller.ts";
import { mailFrom, Records, storyOf, ZONE } from "./village.ts";

const HOST = "192.0.2.7";

function openServer(settings: LocalSettings = {}): Promise<LocalServer> {
  return LocalServer.open({
    users: [
      { ...ANN, spamLimit: 5, spamTimes: 3 },
      { address: "bob@ours.test", spamLimit: 50 },
      { address: "fay@ours.test", spamLimit: 5, spamTimes: 1, deliver: ["forward:fay@remote.test"] },
    ],
    aliases: [{ address: "all@ours.test", targets: ["ann@ours.test", "bob@ours.test"] }],
    listeners: PROXIED,
    zone: `${ZONE}remote.test. MX 10 mx.remote.test.\nmx.remote.test. A 127.0.0.2\n`,
    checks: "[checks.weights]\nspf_softfail = 20",
    reputation: 'mode = "enforce"',
    ...settings,
  });
}

/** What lies in the folder of junk of a mailbox. */
function junk(server: LocalServer, local: string): Promise<string[]> {
  return server.inbox(join(local, ".Junk"));
}

Deno.test("over one limit and not over the other, it lies in the junk of the one and in the mailbox of the other", async () => {
  await using server = await openServer();
  for (const to of [["ann@ours.test", "bob@ours.test"], ["all@ours.test"]]) {
    expect(await mailFrom(server, HOST, "carol@soft.test", to), "250 2.0.0");
  }
  await server.emptyQueue();
  const [inBob = "", ...moreBob] = await server.inbox("bob"), [inJunk = "", ...moreJunk] = await junk(server, "ann");
  assert.deepEqual([moreBob.length, moreJunk.length, (await server.inbox()).length], [1, 1, 0]);
  assert.doesNotMatch(inBob, /^X-Spam:/m);
  assert.match(inJunk, /^Return-Path: <carol@soft\.test>\r\nDelivered-To: ann@ours\.test\r\nX-Spam: yes, score=21\r\n/);
  assert.deepEqual(await junk(server, "bob"), []);
  await using records = await Records.open(server, "prefix");
  const record = await records.until(HOST, ({ counters }) => counters.accepted === 2);
  assert.deepEqual([record.timesSpammed, record.counters.spam], [2, 2]);
});

Deno.test("over all limits it is refused, and over the least of spam_times its host is banned", async () => {
  await using server = await openServer();
  const refused = "550 5.7.1 This looks like spam to us: score 21, limit 5";
  expect(await mailFrom(server, HOST, "carol@soft.test"), refused);
  expect(await mailFrom(server, HOST, "carol@soft.test", ["ann@ours.test", "fay@ours.test"]), refused);
  const [told] = await storyOf(server, "fay@ours.test", 1);
  assert.ok(told?.tells === "decision");
  assert.match(told.reply, /^550 5\.7\.1 /);
  assert.deepEqual(told.steps.at(-1), {
    check: "spam",
    found: "21 = spf_softfail 20 + helo_none 1; the limit is 5",
    setting: { key: "checks.spam_limit", value: told.steps.at(-1)?.setting?.value },
    decides: told.reply,
  });
  await using records = await Records.open(server, "prefix");
  assert.equal((await records.of(HOST))?.ban?.reason, "2 messages above the spam limit");
  await server.emptyQueue();
  assert.deepEqual([await server.inbox(), await junk(server, "ann"), await server.outbox()], [[], [], []]);
});

Deno.test("spam is not forwarded: it lies in the junk that its recipient has here", async () => {
  await using server = await openServer();
  expect(await mailFrom(server, HOST, "carol@soft.test", ["bob@ours.test", "fay@ours.test"]), "250");
  expect(await mailFrom(server, HOST, "carol@good.test", ["fay@ours.test"]), "250");
  await server.emptyQueue();
  const sent = await server.outbox();
  assert.deepEqual(sent.map(({ to }) => to), [["fay@remote.test"]]);
  assert.match(sent[0]?.text ?? "", /^From: carol@good\.test/m);
  const [inJunk = ""] = await junk(server, "fay");
  assert.match(inJunk, /^X-Spam: yes, score=21\r$/m);
  assert.match(inJunk, /^From: carol@soft\.test/m);
});

Deno.test("with spam off nothing is scored, held against a host or marked", async () => {
  await using server = await openServer({ checks: 'spam = "off"\nspam_limit = -100' });
  expect(await mailFrom(server, HOST, "carol@soft.test", ["ann@ours.test", "bob@ours.test"]), "250");
  await server.emptyQueue();
  assert.deepEqual([(await server.inbox()).length, (await junk(server, "ann")).length], [1, 0]);
  await using records = await Records.open(server, "prefix");
  const record = await records.until(HOST, ({ counters }) => counters.accepted === 1);
  assert.deepEqual([record.timesSpammed, record.counters.spam], [0, 0]);
});

Deno.test("what a stranger says of his score counts for nothing", async () => {
  await using server = await openServer();
  const text = `X-Spam: no, score=-5\r\n${letter("Hello.\r\n", "carol@soft.test")}`;
  expect(await mailFrom(server, HOST, "carol@soft.test", ["ann@ours.test", "bob@ours.test"], text), "250");
  await server.emptyQueue();
  const [inJunk = ""] = await junk(server, "ann");
  assert.match(inJunk, /X-Spam: yes, score=21\r\n[^]*X-Spam: no, score=-5\r\n/);
});
