import assert from "node:assert/strict";
import { openKv } from "../../src/store/kv.ts";
import { send, until } from "../support/letters.ts";
import { LocalServer } from "../support/local_server.ts";
import { sayHello } from "../support/proxy_caller.ts";
import { belowTrace, freePort, remoteAt, settingsOf, signed, textOfMessages, unsigned } from "./two_servers.ts";

const BOB = { address: "bob@ours.test", displayName: "Bob", deliver: ["forward:dave@theirs.test"] };
const DAVE = { address: "dave@theirs.test", deliver: ["maildir"] };

async function fromCarol(server: LocalServer, text: string, to = "bob@ours.test", from = "carol@strict.test") {
  const peer = await sayHello(server, "192.0.2.7");
  const said = await send(peer, from, [to], text);
  peer.close();
  return said;
}

function resultsOf(text: string): string {
  return /^Authentication-Results: mail\.theirs\.test;(?:\r\n\t.*)+/m.exec(text)?.[0].replaceAll("\r\n\t", " ") ?? "";
}

Deno.test("signed mail of a domain with p=reject is forwarded byte for byte, and passes SPF, DKIM and DMARC there", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: [BOB] }));
  await using theirs = await LocalServer.open(settingsOf("theirs.test", port, { users: [DAVE] }));
  const text = signed("bob@ours.test");
  assert.match(await fromCarol(ours, text.replaceAll("\r\n.", "\r\n..")), /^250 2\.0\.0 Queued/);
  await until(async () => (await theirs.inbox("dave")).length === 1, "the forwarded message");
  const [arrived = ""] = await theirs.inbox("dave");
  assert.equal(belowTrace(arrived), text);
  assert.match(
    resultsOf(arrived),
    / spf=pass smtp\.mailfrom=ours\.test;.* dkim=pass header\.d=strict\.test .* dmarc=pass /,
  );
  assert.match(
    arrived,
    /^Return-Path: <SRS0=[a-z2-7]{8}=[a-z2-7]{2}=strict\.test=carol@ours\.test>\r\nDelivered-To: dave@theirs\.test\r\n/,
  );
  assert.match(arrived, /\r\nDelivered-To: bob@ours\.test\r\n/);
});

Deno.test("a bounce of forwarded mail reaches its sender; a changed, an old and a foreign return path are refused", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: [BOB] }));
  await using theirs = await LocalServer.open(settingsOf("theirs.test", port, { users: [DAVE] }));
  await using strict = remoteAt(port);
  assert.match(await fromCarol(ours, signed("bob@ours.test").replaceAll("\r\n.", "\r\n..")), /^250/);
  await until(async () => (await theirs.inbox("dave")).length === 1, "the forwarded message");
  const path = /^Return-Path: <(.*)>/.exec((await theirs.inbox("dave"))[0] ?? "")?.[1] ?? "";

  const bounce = "From: MAILER-DAEMON@strict.test\r\nTo: x\r\nSubject: it failed later\r\n\r\nSorry.\r\n";
  const peer = await sayHello(ours, "192.0.2.8", "mail.strict.test");
  assert.match(await send(peer, "", [path], bounce), /^250/);
  await until(() => strict.messages.length === 1, "the bounce at the sender's");
  assert.deepEqual(
    strict.messages.map(({ mail, rcpt }) => [mail, ...rcpt].map((line) => line.replace(/ SIZE=\d+/, ""))),
    [
      ["MAIL FROM:<>", "RCPT TO:<carol@strict.test>"],
    ],
  );
  // Its author's domain wants refused what it has not signed: so it comes from us, or it would be.
  assert.match(
    textOfMessages(strict)[0] ?? "",
    /^Delivered-To: SRS0=[^\r]*\r\n(?:.*\r\n)*From: "MAILER-DAEMON at strict\.test" <postmaster@ours\.test>\r\n/m,
  );

  const [, hash = "", stamp = ""] = /^SRS0=([^=]+)=([^=]+)=/.exec(path) ?? [];
  const other = (sign: string | undefined) => sign === "a" ? "b" : "a";
  const wrong = [
    path.replace(hash, other(hash[0]) + hash.slice(1)),
    path.replace(`=${stamp}=`, `=${other(stamp[0])}${stamp[1]}=`),
    path.replace("=strict.test=", "=evil.test="),
    path.replace("=carol@", "=dave@"),
    path.replace(/=carol@/, "=car ol@").replace(/^(.*)@/, '"$1"@'),
    "SRS0=@ours.test",
    "SRS0===@ours.test",
    "SRS1=aaaaaaaa=evil.test==x=y=evil.test=z@ours.test",
    "SRS0=aaaaaaaa=aa=-=aaaaaaaaaaaaaaaa@ours.test",
  ];
  for (const address of wrong) {
    assert.match(await peer.say("RSET"), /^250/);
    assert.match(await send(peer, "", [address], bounce), /^550 5\.1\.1 No such return path/, address);
  }
  assert.match(await peer.say("RSET"), /^250/);
  assert.match(await send(peer, "eve@strict.test", [path], bounce), /^550 5\.7\.1 This is a return path/);
  peer.close();
  await ours.emptyQueue();
  assert.equal(strict.messages.length, 1);
});

Deno.test("a sender whose return path would be too long for other servers is kept in the store, and found again", async () => {
  const port = freePort(), sender = "bounces+1234567-8ab1-bob=ours.test.and.more@strict.test";
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: [BOB] }));
  await using theirs = remoteAt(port, {}, "127.0.0.3");
  await using strict = remoteAt(port);
  assert.match(await fromCarol(ours, unsigned("bob@ours.test"), "bob@ours.test", sender), /^250/);
  await until(() => theirs.messages.length === 1, "the forwarded message");
  const path = /^MAIL FROM:<(.*?)>/.exec(theirs.messages[0]?.mail ?? "")?.[1] ?? "";
  assert.match(path, /^SRS0=[a-z2-7]{8}=[a-z2-7]{2}=-=[a-z2-7]{16}@ours\.test$/);
  await ours.stop();
  await ours.start();
  const peer = await sayHello(ours, "192.0.2.8");
  assert.match(await send(peer, "", [path], "Subject: back\r\nFrom: x@remote.test\r\n\r\n"), /^250/);
  peer.close();
  await until(() => strict.messages.length === 1, "the bounce");
  assert.deepEqual(strict.messages[0]?.rcpt, [`RCPT TO:<${sender}>`]);
});

Deno.test("unsigned mail of such a domain comes from our user, answers go to its author, and it passes DMARC for us", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: [BOB] }));
  await using theirs = await LocalServer.open(settingsOf("theirs.test", port, { users: [DAVE] }));
  const text = unsigned("bob@ours.test");
  assert.match(await fromCarol(ours, text), /^250/);
  await until(async () => (await theirs.inbox("dave")).length === 1, "the forwarded message");
  const [arrived = ""] = await theirs.inbox("dave");
  assert.match(
    arrived,
    /\r\nFrom: Carol <bob@ours\.test>\r\nReply-To: Carol <carol@strict\.test>\r\nX-Original-From: Carol <carol@strict\.test>\r\nTo: bob@ours\.test\r\nSubject: unsigned\r\n\r\nHello\.\r\n$/,
  );
  assert.match(
    resultsOf(arrived),
    / spf=pass smtp\.mailfrom=ours\.test; dkim=pass header\.d=ours\.test .* dmarc=pass header\.from=ours\.test/,
  );
});

Deno.test('forward = "rewrite" forwards in the way of MailDemon, signed by us', async () => {
  const port = freePort();
  const settings = settingsOf("ours.test", port, { users: [BOB], domain: 'forward = "rewrite"' });
  await using ours = await LocalServer.open(settings);
  await using theirs = await LocalServer.open(settingsOf("theirs.test", port, { users: [DAVE] }));
  const text = unsigned("bob@ours.test").replace("Subject:", "Cc: eve@remote.test\r\nSubject:");
  assert.match(await fromCarol(ours, text), /^250/);
  await until(async () => (await theirs.inbox("dave")).length === 1, "the forwarded message");
  const [arrived = ""] = await theirs.inbox("dave");
  assert.match(
    arrived,
    /\r\nFrom: "Bob" <bob@ours\.test>\r\nReply-To: Carol <carol@strict\.test>\r\nSubject: FW from carol@strict\.test: unsigned\r\n/,
  );
  assert.doesNotMatch(arrived, /^Cc:/m);
  assert.match(resultsOf(arrived), / dkim=pass header\.d=ours\.test .* dmarc=pass header\.from=ours\.test/);
});

Deno.test("two servers that forward to each other end in one bounce", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: [BOB] }));
  const dave = { address: "dave@theirs.test", deliver: ["forward:bob@ours.test"] };
  await using theirs = await LocalServer.open(settingsOf("theirs.test", port, { users: [dave] }));
  await using strict = remoteAt(port);
  assert.match(await fromCarol(ours, signed("bob@ours.test", "round").replaceAll("\r\n.", "\r\n..")), /^250/);
  await until(() => strict.messages.length > 0, "the bounce");
  await ours.emptyQueue();
  await theirs.emptyQueue();
  assert.equal(strict.messages.length, 1);
  assert.match(strict.messages[0]?.mail ?? "", /^MAIL FROM:<>/);
  assert.deepEqual(strict.messages[0]?.rcpt, ["RCPT TO:<carol@strict.test>"]);
  assert.match(textOfMessages(strict)[0] ?? "", /Diagnostic-Code: smtp; 554 5\.4\.6 Mail loop/);
});

Deno.test("an alias circle that was made behind our back is refused, and the others get their mail", async () => {
  const port = freePort();
  await using ours = await LocalServer.prepare(
    settingsOf("ours.test", port, { users: [{ address: "ann@ours.test" }] }),
  );
  const kv = await openKv({ store: ours.store });
  for (const [address, targets] of [["a", ["b"]], ["b", ["a"]], ["team", ["a", "ann"]]] as const) {
    const alias = {
      of: "alias",
      address: `${address}@ours.test`,
      targets: targets.map((to) => `${to}@ours.test`),
      created: 0,
    };
    await kv.set(["address", alias.address], alias);
  }
  kv.close();
  await ours.start();
  assert.match(await fromCarol(ours, unsigned("a@ours.test"), "a@ours.test"), /^550 5\.4\.6 .*circle/);
  assert.match(await fromCarol(ours, unsigned("team@ours.test"), "team@ours.test"), /^250/);
  await until(async () => (await ours.inbox()).length === 1, "the message");
});
