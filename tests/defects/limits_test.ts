/** Each key of [limits] changes what the server does: the old MailDemon read some of its settings and used others. */

import assert from "node:assert/strict";
import net from "node:net";
import { expect, letter, pause, send, until } from "../support/letters.ts";
import { ANN, LocalServer } from "../support/local_server.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

const CAROL = "carol@remote.test";

/** MAIL and RCPT of a message from outside. */
async function begin(server: LocalServer): Promise<SmtpPeer> {
  const peer = await server.outside();
  expect(await peer.say(`MAIL FROM:<${CAROL}>`), "250");
  expect(await peer.say(`RCPT TO:<${ANN.address}>`), "250");
  return peer;
}

/** The reply to one message in a session of its own. */
async function deliver(server: LocalServer, text: string): Promise<string> {
  const peer = await server.outside();
  try {
    return await send(peer, CAROL, [ANN.address], text);
  } finally {
    peer.close();
  }
}

/** A letter of exactly so many bytes, in lines of less than 80. */
function letterOf(size: number): string {
  const head = letter(""), rest = size - head.length;
  const lines = `${"x".repeat(68)}\r\n`.repeat(Math.trunc(rest / 70) - 1);
  return head + lines + `${"y".repeat(rest - lines.length - 2)}\r\n`;
}

Deno.test("max_message_size: offered by EHLO, held against SIZE=, and counted to the byte in DATA and BDAT", async () => {
  await using server = await LocalServer.open({ limits: 'max_message_size = "64KiB"' });
  const peer = await SmtpPeer.call(server.port("mx"));
  await peer.reply();
  await peer.send("EHLO client.remote.test\r\n");
  assert.ok((await peer.reply())?.includes("250-SIZE 65536"));
  expect(await peer.say(`MAIL FROM:<${CAROL}> SIZE=65537`), "552 5.3.4");
  expect(await peer.say(`MAIL FROM:<${CAROL}> SIZE=65536`), "250");
  peer.close();
  expect(await deliver(server, letterOf(65536)), "250 2.0.0 Queued");
  expect(await deliver(server, letterOf(65537)), "552 5.3.4");
  const chunks = await begin(server), text = letterOf(65537);
  await chunks.send(`BDAT 65537 LAST\r\n${text}`);
  expect(await chunks.lastLine(), "552 5.3.4");
  chunks.close();
});

Deno.test("max_recipients: the one beyond is told to come with another message, the others are served", async () => {
  const aliases = Array.from({ length: 101 }, (_, index) => `a${index}`);
  await using server = await LocalServer.open({
    limits: "max_recipients = 100",
    domain: `catch_all = "${ANN.address}"`,
  });
  const peer = await SmtpPeer.call(server.port("mx"));
  await peer.reply();
  await peer.send("EHLO client.remote.test\r\n");
  assert.match((await peer.reply())?.at(-1) ?? "", /^250 LIMITS .*RCPTMAX=100\b/);
  expect(await peer.say(`MAIL FROM:<${CAROL}>`), "250");
  for (const [index, alias] of aliases.entries()) {
    expect(await peer.say(`RCPT TO:<${alias}@ours.test>`), index < 100 ? "250" : "452 4.5.3");
  }
  expect(await peer.say("DATA"), "354");
  expect(await peer.say(`${letter()}.`), "250 2.0.0 Queued");
  peer.close();
});

Deno.test("max_line: a line of a message may be so long, with its CRLF, and no longer", async () => {
  await using server = await LocalServer.open({ limits: "max_line = 1000" });
  expect(await deliver(server, letter(`${"x".repeat(998)}\r\n`)), "250");
  expect(await deliver(server, letter(`${"x".repeat(999)}\r\n`)), "554 5.6.0");
  await using other = await LocalServer.open();
  expect(await deliver(other, letter(`${"x".repeat(999)}\r\n`)), "250");
});

Deno.test("max_command: a command may be so long, with its CRLF, and no longer", async () => {
  await using server = await LocalServer.open({ limits: "max_command = 512" });
  const peer = await server.outside();
  expect(await peer.say(`NOOP ${"x".repeat(512 - 7)}`), "250");
  expect(await peer.say(`NOOP ${"x".repeat(512 - 6)}`), "500 5.5.2");
  expect(await peer.say("NOOP"), "250");
  peer.close();
  await using other = await LocalServer.open();
  const wide = await other.outside();
  expect(await wide.say(`NOOP ${"x".repeat(512 - 6)}`), "250");
  wide.close();
});

Deno.test("max_header: a header may be so large and no larger", async () => {
  await using server = await LocalServer.open({ limits: 'max_header = "16KiB"' });
  const field = (size: number) => `X-Filler: ${"x".repeat(50)}\r\n`.repeat(Math.trunc(size / 62));
  expect(await deliver(server, field(15_000) + letter()), "250");
  expect(await deliver(server, field(16_900) + letter()), "554 5.6.0");
  await using other = await LocalServer.open();
  expect(await deliver(other, field(16_900) + letter()), "250");
});

Deno.test("max_header_fields: a header may have so many fields and no more", async () => {
  await using server = await LocalServer.open({ limits: "max_header_fields = 100" });
  const fields = (count: number) => `From: ${CAROL}\r\n${"X: y\r\n".repeat(count - 1)}\r\nHello.\r\n`;
  expect(await deliver(server, fields(100)), "250");
  expect(await deliver(server, fields(101)), "554 5.6.0");
  await using other = await LocalServer.open();
  expect(await deliver(other, fields(101)), "250");
});

Deno.test("max_hops: a message with more Received lines goes in circles", async () => {
  await using server = await LocalServer.open({ limits: "max_hops = 10" });
  const hops = (count: number) => "Received: from a by b\r\n".repeat(count) + letter();
  expect(await deliver(server, hops(10)), "250");
  expect(await deliver(server, hops(11)), "554 5.4.6");
  await using other = await LocalServer.open();
  expect(await deliver(other, hops(11)), "250");
});

Deno.test("max_messages_per_session: the message beyond ends the session with 421", async () => {
  await using server = await LocalServer.open({ limits: "max_messages_per_session = 2" });
  const peer = await server.outside();
  for (let count = 0; count < 2; count++) expect(await send(peer, CAROL, [ANN.address], letter()), "250");
  expect(await peer.say(`MAIL FROM:<${CAROL}>`), "421 4.7.0");
  assert.equal(await peer.rest(), "");
  peer.close();
});

Deno.test("max_errors: the session ends with 421 in place of so many refusals", async () => {
  await using server = await LocalServer.open({ limits: "max_errors = 3" });
  const peer = await server.outside();
  for (const reply of ["500", "500", "421 4.7.0"]) expect(await peer.say("BLAH"), reply);
  assert.equal(await peer.rest(), "");
  peer.close();
});

Deno.test("max_connections: who comes when all places are taken hears 421, until one is free", async () => {
  await using server = await LocalServer.open({ limits: "max_connections = 2" });
  const peers = [await server.outside(), await server.outside()];
  await refused(server);
  peers[0]?.close();
  await until(async () => await isLetIn(server), "a free place");
  peers[1]?.close();
});

Deno.test("max_connections_per_host: one host has so many places, another one has its own", async () => {
  await using server = await LocalServer.open({ limits: "max_connections_per_host = 1" });
  const peer = await server.outside();
  await refused(server);
  assert.match(await greetingFrom("127.0.0.77", server.port("mx")), /^220 /);
  peer.close();
  await until(async () => await isLetIn(server), "a free place");
});

Deno.test("max_connections_per_host: a place is free as soon as who had it hangs up, in the TLS handshake too", async () => {
  await using server = await LocalServer.open({ limits: "max_connections_per_host = 1" });
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port("submissions") });
  await pause(100);
  conn.close();
  await until(async () => await isLetIn(server), "a free place", 3_000);
});

async function refused(server: LocalServer): Promise<void> {
  const peer = await SmtpPeer.call(server.port("mx"));
  expect(await peer.lastLine(), "421 4.7.0");
  assert.equal(await peer.rest(), "");
  peer.close();
}

async function isLetIn(server: LocalServer): Promise<boolean> {
  const peer = await SmtpPeer.call(server.port("mx"));
  const said = await peer.lastLine();
  peer.close();
  return said.startsWith("220");
}

/** Of a caller with an address of its own, which `Deno.connect` cannot choose. */
function greetingFrom(localAddress: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: "127.0.0.1", port, localAddress });
    socket.on("error", reject);
    socket.on("data", (bytes) => {
      socket.destroy();
      resolve(String(bytes));
    });
  });
}

/** How long it takes until the server closes, and what it says last. Milliseconds. */
async function untilClosed(peer: SmtpPeer): Promise<{ readonly said: string; readonly took: number }> {
  const began = performance.now(), said = await peer.rest();
  peer.close();
  return { said, took: performance.now() - began };
}

// Once a second the server looks who is late: so a second later at most, and another one for a busy machine.
const LATEST = 3_500;

Deno.test("command_timeout: who says nothing for so long hears 421, also with half a command", async () => {
  await using server = await LocalServer.open({ limits: 'command_timeout = "1s"' });
  const silent = await server.outside(), slow = await server.outside();
  await slow.send("NOO");
  for (const { said, took } of await Promise.all([untilClosed(silent), untilClosed(slow)])) {
    expect(said, "421 4.4.2");
    assert.ok(took > 900 && took < LATEST, `${took} ms`);
  }
});

Deno.test("data_timeout: who stops in the middle of a message hears 421, and nothing is stored", async () => {
  await using server = await LocalServer.open({ limits: 'data_timeout = "1s"' });
  const data = await begin(server), chunk = await begin(server);
  expect(await data.say("DATA"), "354");
  await data.send("Subject: half\r\n");
  await chunk.send("BDAT 100 LAST\r\nhalf");
  for (const { said, took } of await Promise.all([untilClosed(data), untilClosed(chunk)])) {
    expect(said, "421 4.4.2");
    assert.ok(took > 900 && took < LATEST, `${took} ms`);
  }
  assert.deepEqual(await server.queue(), []);
});

Deno.test("session_timeout: a session ends with 421 after so long, however busy it is", async () => {
  await using server = await LocalServer.open({ limits: 'session_timeout = "1s"' });
  const began = performance.now(), peer = await server.outside();
  let said = "250";
  while (said.startsWith("250")) {
    await pause(20);
    said = await peer.say("NOOP");
  }
  expect(said, "421 4.4.2");
  const took = performance.now() - began;
  assert.ok(took > 900 && took < LATEST, `${took} ms`);
  peer.close();
});

Deno.test("greet_delay: the greeting waits so long, and who speaks before it is sent away", async () => {
  await using server = await LocalServer.open({ limits: 'greet_delay = "500ms"' });
  const began = performance.now();
  const patient = await SmtpPeer.call(server.port("mx")), hasty = await SmtpPeer.call(server.port("mx"));
  await hasty.send("EHLO client.remote.test\r\n");
  expect(await hasty.lastLine(), "554 5.5.1");
  assert.ok(performance.now() - began < 450);
  expect(await patient.lastLine(), "220");
  assert.ok(performance.now() - began > 450);
  for (const peer of [patient, hasty]) peer.close();
});
