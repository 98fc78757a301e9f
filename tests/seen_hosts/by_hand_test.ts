/** What a person says of a host holds whatever the rules say, and a ban ends what had begun before it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { host } from "../../src/cli/host.ts";
import { typed } from "../cli/typed.ts";
import { expect, letter, pause, send } from "../support/letters.ts";
import { ANN, LocalServer, type LocalSettings } from "../support/local_server.ts";
import { callFrom, PROXIED, sayHello } from "../support/proxy_caller.ts";
import { signedLetter } from "../support/signed_letter.ts";
import { KEY, mailFrom, Records, refusedAt, ZONE } from "./village.ts";

function openServer(reputation: string, more: LocalSettings = {}): Promise<LocalServer> {
  return LocalServer.open({ listeners: PROXIED, zone: ZONE, reputation, ...more });
}

/** The running server knows within a second what a command has changed. */
function noticed(): Promise<void> {
  return pause(1_200);
}

function byHand(server: LocalServer, ...line: string[]) {
  return typed(["--config", server.configFile, "host", ...line], { commands: [host] });
}

Deno.test("who is banned by hand is refused also while others are only observed", async () => {
  await using server = await openServer('mode = "observe"');
  expect((await byHand(server, "ban", "192.0.2.7", "--for", "1h")).out, "Banned 192.0.2.7 until");
  const [said, next] = await refusedAt(server, "192.0.2.7");
  assert.match(said, /^554 5\.7\.1 192\.0\.2\.7 is banned until .*: by hand\./);
  assert.equal(next, "closed");
  expect((await byHand(server, "unban", "192.0.2.7")).out, "192.0.2.7 is not banned any more");
  await noticed();
  expect(await mailFrom(server, "192.0.2.7", "carol@good.test"), "250");
});

Deno.test("a ban that nothing follows from says so", async () => {
  await using server = await openServer('mode = "off"\nexempt = ["10.0.0.0/8"]');
  assert.match((await byHand(server, "ban", "10.0.0.7")).error, /reputation\.exempt, and comes in all the same/);
  assert.match((await byHand(server, "ban", "192.0.2.7")).error, /mode is "off": it comes in all the same/);
});

Deno.test("a ban ends the sessions that had begun before it, at their next message", async () => {
  await using server = await openServer('mode = "enforce"');
  const open = await sayHello(server, "192.0.2.7");
  expect(await send(open, "carol@good.test", [ANN.address], letter("Hi.\r\n", "carol@good.test")), "250");
  await byHand(server, "ban", "192.0.2.7");
  await noticed();
  expect(await open.say("MAIL FROM:<carol@good.test>"), "554 5.7.1 192.0.2.7 is banned: by hand.");
  assert.equal(await open.lastLine(), "closed");
});

Deno.test("three strikes in one session are enough: the fourth message ends it", async () => {
  await using server = await openServer('mode = "enforce"');
  const peer = await sayHello(server, "192.0.2.7");
  for (let count = 0; count < 3; count++) {
    expect(await send(peer, "x@bad.test", [ANN.address], letter("Hi.\r\n", "x@bad.test")), "550 5.7.23");
  }
  expect(await peer.say("MAIL FROM:<x@bad.test>"), "554 5.7.1 192.0.2.7 is banned until");
  assert.equal(await peer.lastLine(), "closed");
});

Deno.test("who is allowed by hand is not judged by the published rules either", async () => {
  await using server = await openServer('mode = "enforce"\nrules = "classic"', { checks: 'spf = "note"' });
  await byHand(server, "allow", "2001:db8:5::7");
  const peer = await callFrom(server, "2001:db8:5::7", "mx");
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO other.remote.test"), "250");
  expect(await send(peer, "x@bad.test", [ANN.address], letter("Hi.\r\n", "x@bad.test")), "250");
  peer.close();
  await using records = await Records.open(server, "classic");
  assert.equal((await records.of("2001:db8:5::7"))?.ban, undefined);
});

Deno.test("the published rules ban for a failing SPF although the check is off, and for any wrong signature", async () => {
  await using server = await openServer('mode = "enforce"\nrules = "classic"', {
    checks: 'spf = "off"\ndmarc = "off"',
  });
  expect(await mailFrom(server, "192.0.2.7", "x@bad.test"), "550 5.7.23");
  const good = signedLetter(KEY, { from: "carol@good.test", tags: { d: "good.test" } });
  const [signature = ""] = /^DKIM-Signature: [^\r\n]*\r\n/.exec(good) ?? [];
  const broken = signature.replace(/; b=.{8}/, "; b=AAAAAAAA");
  expect(await mailFrom(server, "192.0.2.8", "carol@good.test", [ANN.address], good), "250");
  expect(await mailFrom(server, "192.0.2.8", "carol@good.test", [ANN.address], broken + good), "550 5.7.20");
  await using records = await Records.open(server, "classic");
  assert.equal((await records.of("192.0.2.7"))?.ban?.reason, "SPF failed");
  assert.equal((await records.of("192.0.2.8"))?.ban?.reason, "a DKIM signature was wrong");
});

Deno.test("junk of what leads outside is the postmaster's, whatever the sender writes; of a user it is one", async () => {
  await using server = await LocalServer.open({
    domain: 'catch_all = "x@remote.test"',
    users: [
      { ...ANN, spamLimit: 5, deliver: ["forward:ann@remote.test", "maildir"] },
      { address: "bob@ours.test", spamLimit: 50 },
    ],
    listeners: PROXIED,
    zone: `${ZONE}remote.test. MX 10 mx.remote.test.\nmx.remote.test. A 127.0.0.2\n`,
    checks: "spam_limit = 5\n[checks.weights]\nspf_softfail = 20",
  });
  const to = ["ann@ours.test", "bob@ours.test", "made-up@ours.test", "made-up+2@ours.test"];
  expect(await mailFrom(server, "192.0.2.7", "carol@soft.test", to), "250");
  await server.emptyQueue();
  const inJunk = async (local: string) => (await server.inbox(join(local, ".Junk"))).length;
  assert.deepEqual([await inJunk("ann"), await inJunk("postmaster"), await inJunk("made-up")], [1, 1, 0]);
  assert.equal((await server.inbox("bob")).length, 1);
  assert.deepEqual(await server.outbox(), []);
});
