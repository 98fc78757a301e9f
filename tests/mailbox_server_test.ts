/**
 * The whole server hands mail to servers of mailboxes: to a real Dovecot, where the test says that it is missing and is
 * skipped, and to one that only listens.
 */

import assert from "node:assert/strict";
import { interop } from "./interoperability/programs.ts";
import { letter, send, until } from "./support/letters.ts";
import { startDovecot } from "./support/dovecot.ts";
import { direct, LocalServer } from "./support/local_server.ts";
import { PROXIED } from "./support/proxy_caller.ts";
import { RemoteServer } from "./support/remote_server.ts";
import { mailFrom, ZONE } from "./seen_hosts/village.ts";

const FROM = "carol@remote.test";

interop("mail gets to Dovecot by LMTP, on a port and on a socket, and its answer for each recipient counts", [
  "dovecot",
], async () => {
  await using dovecot = await startDovecot(["ann@ours.test", "bob@ours.test"]);
  await using carol = new RemoteServer({}, { hostname: "127.0.0.2" });
  const port = `lmtp:127.0.0.1:${dovecot.port}`, socket = `lmtp:unix:${dovecot.socket}`;
  await using server = await LocalServer.open({
    outbound: direct(carol.port),
    users: [
      { address: "ann@ours.test", deliver: [port] },
      { address: "bob@ours.test", deliver: [socket, "maildir"] },
      // Dovecot knows nothing of her.
      { address: "zoe@ours.test", deliver: [port] },
    ],
  });
  const peer = await server.outside();
  const text = letter("Hello.\r\n.dot\r\n\xfc\r\n", FROM),
    to = ["ann+news@ours.test", "bob@ours.test", "zoe@ours.test"];
  assert.match(await send(peer, FROM, to, text.replaceAll("\r\n.", "\r\n..")), /^250/);
  peer.close();
  await until(() => carol.messages.length === 1, "the bounce");
  await server.emptyQueue();

  for (
    const [address, recipient] of [["ann@ours.test", "ann@ours.test"], ["bob@ours.test", "bob@ours.test"]] as const
  ) {
    const [stored = "", ...more] = await dovecot.inbox(address);
    assert.equal(more.length, 0);
    assert.match(stored, /^Return-Path: <carol@remote\.test>\r?$/m);
    assert.match(stored, new RegExp(`^Delivered-To: ${recipient}\\r?$`, "m"));
    assert.ok(stored.endsWith(text), stored);
  }
  assert.equal((await server.inbox("bob")).length, 1);
  const bounce = new TextDecoder().decode(carol.messages[0]?.bytes);
  assert.match(bounce, /^Final-Recipient: rfc822; zoe@ours\.test\r$/m);
  assert.match(bounce, /^Diagnostic-Code: smtp; 550 5\.1\.1 <zoe@ours\.test> User doesn't exist: zoe@ours\.test\r$/m);
  assert.doesNotMatch(bounce, /^Final-Recipient: rfc822; (ann|bob)/m);
});

Deno.test("spam that others want is marked in the mailbox of a user elsewhere, once, and lies nowhere else", async () => {
  await using mailboxes = new RemoteServer({ lmtp: true });
  await using server = await LocalServer.open({
    users: [
      {
        address: "gil@ours.test",
        spamLimit: 5,
        deliver: ["forward:gil@remote.test", `lmtp:127.0.0.1:${mailboxes.port}`],
      },
      { address: "bob@ours.test", spamLimit: 50 },
    ],
    listeners: PROXIED,
    zone: `${ZONE}remote.test. MX 10 mx.remote.test.\nmx.remote.test. A 127.0.0.2\n`,
    checks: "[checks.weights]\nspf_softfail = 20",
  });
  assert.match(await mailFrom(server, "192.0.2.7", "carol@soft.test", ["gil@ours.test", "bob@ours.test"]), /^250/);
  await server.emptyQueue();
  const [marked, ...more] = mailboxes.messages;
  assert.deepEqual([marked?.rcpt, more.length], [["RCPT TO:<gil@ours.test>"], 0]);
  assert.match(new TextDecoder().decode(marked?.bytes), /^X-Spam: yes, score=21\r\n[^]*\r\nFrom: carol@soft\.test\r\n/);
  assert.deepEqual(await server.outbox(), []);
  assert.deepEqual(await server.inbox("gil/.Junk"), []);
  const [inBob = "", ...moreBob] = await server.inbox("bob");
  assert.equal(moreBob.length, 0);
  assert.doesNotMatch(inBob, /^X-Spam:/m);
});
