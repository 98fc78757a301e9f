/** What the old MailDemon did to the bytes of a message, and does no more. */

import assert from "node:assert/strict";
import { expect, letter, pause, send } from "../support/letters.ts";
import { LocalServer } from "../support/local_server.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

const CAROL = "carol@remote.test", ANN = "ann@ours.test";

/** The one message in Ann's Maildir, which has to end with this one. */
async function assertStored(server: LocalServer, text: string): Promise<void> {
  await server.emptyQueue();
  const inbox = await server.inbox(), [stored = ""] = inbox;
  assert.equal(inbox.length, 1);
  assert.ok(stored.endsWith(text), stored);
  // All that stands before is a header of ours.
  const names = stored.slice(0, -text.length).match(/^[^\s:]+(?=:)/gm);
  assert.deepEqual(names, ["Return-Path", "Delivered-To", "Received", "Authentication-Results", "Received-SPF"]);
  assert.match(stored.slice(0, -text.length), /^(?:[^\r\n]+\r\n)+$/);
}

async function assertNothingTaken(server: LocalServer): Promise<void> {
  // A session of another peer behind it: whatever the first one left behind has had its turn.
  const next = await server.outside();
  expect(await next.say("NOOP"), "250");
  next.close();
  assert.deepEqual(await server.queue(), []);
  assert.deepEqual(await server.inbox(), []);
  assert.ok(!server.log.some((line) => line.includes("message-queued")), server.log.join("\n"));
}

Deno.test("DATA: exactly one leading dot of each line is removed", async () => {
  await using server = await LocalServer.open();
  const peer = await server.outside();
  const head = letter("");
  expect(await send(peer, CAROL, [ANN], `${head}..\r\n...\r\n.. \r\n..a.\r\nb\r\n..\r\n`), "250 2.0.0 Queued");
  await assertStored(server, `${head}.\r\n..\r\n. \r\n.a.\r\nb\r\n.\r\n`);
  peer.close();
});

Deno.test("DATA: the last line keeps its CRLF, and none is added", async () => {
  await using server = await LocalServer.open();
  const peer = await server.outside();
  const text = letter("one\r\n\r\nlast\r\n\r\n");
  expect(await send(peer, CAROL, [ANN], text), "250");
  await assertStored(server, text);
  peer.close();
});

Deno.test("DATA: a connection that ends before the final dot leaves nothing", async () => {
  await using server = await LocalServer.open();
  for (const end of ["half a li", "a line\r\n", "a line\r\n.", "a line\r\n.\r", "a line\r\n."]) {
    const peer = await server.outside();
    for (const line of [`MAIL FROM:<${CAROL}>`, `RCPT TO:<${ANN}>`]) expect(await peer.say(line), "250");
    expect(await peer.say("DATA"), "354");
    await peer.send(letter() + end);
    await peer.closeWrite();
    assert.equal(await peer.rest(), "");
    peer.close();
  }
  await assertNothingTaken(server);
});

Deno.test("BDAT: a connection that ends inside a chunk or before LAST leaves nothing", async () => {
  await using server = await LocalServer.open();
  const text = letter();
  for (const chunks of [`BDAT ${text.length} LAST\r\n${text.slice(0, -1)}`, `BDAT ${text.length}\r\n${text}`]) {
    const peer = await server.outside();
    for (const line of [`MAIL FROM:<${CAROL}>`, `RCPT TO:<${ANN}>`]) expect(await peer.say(line), "250");
    await peer.send(chunks);
    await peer.closeWrite();
    assert.match(await peer.rest(), /^(250 2\.0\.0 [^\r\n]*\r\n)?$/);
    peer.close();
  }
  await assertNothingTaken(server);
});

Deno.test("BDAT: reads exactly the announced bytes, dots and all, and the commands pipelined behind them", async () => {
  await using server = await LocalServer.open();
  const peer = await server.outside();
  const text = letter(".\r\n..two\r\nQUIT\r\n.\r\nlast line\r\n"), [one, two] = [text.slice(0, 77), text.slice(77)];
  await peer.send(
    `MAIL FROM:<${CAROL}>\r\nRCPT TO:<${ANN}>\r\nBDAT ${one.length}\r\n${one}NOOP\r\nBDAT ${two.length}\r\n${two}` +
      "BDAT 0 LAST\r\nRSET\r\nQUIT\r\n",
  );
  const replies = (await peer.rest()).split("\r\n").slice(0, -1);
  assert.deepEqual(replies.map((reply) => reply.slice(0, 9)), [
    "250 2.1.0",
    "250 2.1.5",
    "250 2.0.0",
    "250 2.0.0",
    "250 2.0.0",
    "250 2.0.0",
    "250 2.0.0",
    "221 2.0.0",
  ]);
  assert.match(replies[5] ?? "", /^250 2\.0\.0 Queued as /);
  await assertStored(server, text);
  peer.close();
});

Deno.test("BDAT: a chunk of 70,000 bytes in single small pieces arrives whole", async () => {
  await using server = await LocalServer.open();
  const peer = await server.outside();
  const text = letter("0123456789abcdef 0123456789abcdef 0123456789abcdef\r\n".repeat(1350));
  await peer.send(`MAIL FROM:<${CAROL}>\r\nRCPT TO:<${ANN}>\r\nBDAT ${text.length} LAST\r\n`);
  for (let at = 0; at < text.length; at += 3571) {
    await peer.send(text.slice(at, at + 3571));
    await pause(1);
  }
  for (const begin of ["250 2.1.0", "250 2.1.5", "250 2.0.0 Queued"]) expect(await peer.lastLine(), begin);
  await assertStored(server, text);
  peer.close();
});

// A size that wraps at 32 or 64 bits would have what follows taken for commands: of a chunk of 4 GiB nothing is one.
for (const size of ["4294967296", "4294967301", "9007199254740993", "18446744073709551616", "1" + "0".repeat(30)]) {
  Deno.test(`BDAT ${size}: what follows is never taken for commands, and nothing is stored`, async () => {
    await using server = await LocalServer.open();
    const peer = await server.outside();
    for (const line of [`MAIL FROM:<${CAROL}>`, `RCPT TO:<${ANN}>`]) expect(await peer.say(line), "250");
    await peer.send(`BDAT ${size} LAST\r\nhello\r\nNOOP\r\nVRFY ann\r\nQUIT\r\n`);
    await peer.closeWrite();
    // Refused at once with 552, or read without end; in no case are there replies to what the chunk holds.
    assert.match(await peer.rest(), /^(552 5\.3\.4 [^\r\n]*\r\n)?$/);
    peer.close();
    await assertNothingTaken(server);
  });
}

Deno.test("BDAT -1 and other sizes that are none are refused, and the session goes on", async () => {
  await using server = await LocalServer.open();
  const peer = await server.outside();
  for (const line of [`MAIL FROM:<${CAROL}>`, `RCPT TO:<${ANN}>`]) expect(await peer.say(line), "250");
  for (const size of ["-1", "+1", "0x10", "1e3", "", "LAST", "1 2"]) {
    expect(await peer.say(`BDAT ${size}`), "501 5.5.4");
  }
  expect(await peer.say("NOOP"), "250");
  peer.close();
  await assertNothingTaken(server);
});

Deno.test("MAIL FROM:<> is taken, and the message is stored with an empty Return-Path", async () => {
  await using server = await LocalServer.open();
  const peer = await SmtpPeer.call(server.port("mx"));
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO mx.remote.test"), "250");
  const text = letter("A bounce.\r\n", "MAILER-DAEMON@remote.test");
  expect(await send(peer, "", [ANN], text), "250 2.0.0 Queued");
  await assertStored(server, text);
  assert.ok((await server.inbox())[0]?.startsWith("Return-Path: <>\r\n"));
  peer.close();
});
