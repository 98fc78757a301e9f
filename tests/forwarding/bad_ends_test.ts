import assert from "node:assert/strict";
import { send, until } from "../support/letters.ts";
import { ANN, LocalServer, PASSWORD } from "../support/local_server.ts";
import { sayHello } from "../support/proxy_caller.ts";
import { belowTrace, freePort, remoteAt, settingsOf, textOfMessages, unsigned } from "./two_servers.ts";

const BOB = { address: "bob@ours.test", deliver: ["forward:bob@remote.test"] };

Deno.test("who may not have sent it gets no bounce for it (security rule 16)", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, {
    users: [BOB],
    checks: 'spf = "note"\ndmarc = "note"',
  }));
  await using others = remoteAt(port, { on: { RCPT: "550 5.1.1 nobody" } });
  // SPF of strict.test fails from there, and nothing is signed.
  const peer = await sayHello(ours, "203.0.113.66");
  assert.match(await send(peer, "carol@strict.test", ["bob@ours.test"], unsigned("bob@ours.test")), /^250/);
  await until(() => others.seen.some(({ ended }) => ended) || others.seen.length > 0, "the attempt");
  await ours.emptyQueue();
  assert.equal(others.seen.flatMap(({ commands }) => commands).filter((line) => /^MAIL FROM:<>/.test(line)).length, 0);
  assert.equal(ours.log.filter((line) => / message-bounced /.test(line)).length, 0);
  // From where it may come from, it does.
  const carol = await sayHello(ours, "192.0.2.7");
  assert.match(await send(carol, "carol@strict.test", ["bob@ours.test"], unsigned("bob@ours.test")), /^250/);
  await until(() => ours.log.some((line) => / message-bounced /.test(line)), "the bounce");
  for (const one of [peer, carol]) one.close();
});

Deno.test("mail that comes back to one of several ends for that one alone, with one bounce", async () => {
  const port = freePort();
  const ann = { address: "ann@ours.test", deliver: ["maildir"] };
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: [BOB, ann] }));
  await using others = remoteAt(port);
  const peer = await sayHello(ours, "192.0.2.7");
  const text = `Delivered-To: BOB@ours.test\r\nDelivered-To: ann@ours.test\r\n${unsigned("bob@ours.test")}`;
  // Who keeps mail may send himself what he has kept.
  assert.match(await send(peer, "carol@strict.test", ["bob@ours.test", "ann@ours.test"], text), /^250/);
  await until(() => others.messages.length === 1, "the bounce");
  await ours.emptyQueue();
  assert.equal((await ours.inbox()).length, 1);
  const [bounce = ""] = textOfMessages(others);
  assert.match(bounce, /^Final-Recipient: rfc822; bob@ours\.test\r$/m);
  assert.match(bounce, /^Status: 5\.4\.6\r$/m);
  assert.equal(others.messages.length, 1);
  assert.match(await send(peer, "carol@strict.test", ["bob@ours.test"], text), /^554 5\.4\.6 Mail loop/);
  peer.close();
});

Deno.test("a policy is asked for where mail is forwarded, also when it decides nothing here", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, {
    users: [BOB],
    checks: 'dmarc = "off"\ndkim = "off"\nspf = "off"\nhelo = "off"',
  }));
  await using others = remoteAt(port);
  const peer = await sayHello(ours, "192.0.2.7");
  // What fails already is no worse off with us as its author, and answers find their way.
  assert.match(await send(peer, "carol@strict.test", ["bob@ours.test"], unsigned("bob@ours.test")), /^250/);
  peer.close();
  await until(() => others.messages.length === 1, "the message");
  assert.match(textOfMessages(others)[0] ?? "", /^From: Carol <bob@ours\.test>\r$/m);
});

Deno.test("what our own users write to one who forwards leaves under their own address, signed, and unchanged", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: [BOB, ANN] }));
  await using others = remoteAt(port);
  const peer = await ours.signedIn(ANN.address, PASSWORD);
  const text = "From: ann@ours.test\r\nTo: bob@ours.test\r\nSubject: hi\r\nDate: Sun, 22 Nov 2026 03:00:00 +0000\r\n" +
    "Message-ID: <1@ours.test>\r\n\r\nHello.\r\n";
  assert.match(await send(peer, "ann@ours.test", ["bob@ours.test"], text), /^250/);
  peer.close();
  await until(() => others.messages.length === 1, "the message");
  assert.match(others.messages[0]?.mail ?? "", /^MAIL FROM:<ann@ours\.test>/);
  const [arrived = ""] = textOfMessages(others);
  assert.ok(belowTrace(arrived).replace(/^(DKIM-Signature:(?:[^\r]|\r\n[ \t])*\r\n)+/, "") === text);
});
