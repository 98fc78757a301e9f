/** What the old MailDemon said wrong, twice, too early or not at all. */

import assert from "node:assert/strict";
import { textOf } from "../support/every_cut.ts";
import { expect, letter, pause, plain, send } from "../support/letters.ts";
import { ANN, LocalServer, PASSWORD } from "../support/local_server.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

Deno.test("EHLO names the host in its first line, and the extensions behind it, one in each line", async () => {
  await using server = await LocalServer.open();
  const peer = await SmtpPeer.call(server.port("mx"));
  expect(await peer.lastLine(), "220 mail.ours.test ");
  await peer.send("EHLO client.remote.test\r\n");
  const lines = await peer.reply() ?? [];
  assert.match(lines[0] ?? "", /^250-mail\.ours\.test( |$)/);
  const words = lines.slice(1).map((line) => line.slice(4).split(" ")[0]);
  for (
    const word of [
      "PIPELINING",
      "SIZE",
      "8BITMIME",
      "SMTPUTF8",
      "CHUNKING",
      "BINARYMIME",
      "ENHANCEDSTATUSCODES",
      "DSN",
      "STARTTLS",
      "LIMITS",
    ]
  ) assert.equal(words.filter((found) => found === word).length, 1, word);
  assert.ok(!words.includes("AUTH"));
  peer.close();
});

Deno.test("HELO is answered with 250 and one line, NOOP with 250, HELP with 214", async () => {
  await using server = await LocalServer.open();
  const peer = await SmtpPeer.call(server.port("mx"));
  await peer.reply();
  await peer.send("HELO client.remote.test\r\n");
  assert.deepEqual(await peer.reply(), ["250 mail.ours.test"]);
  expect(await peer.say("NOOP"), "250 2.0.0");
  expect(await peer.say("NOOP whatever it is"), "250 2.0.0");
  expect(await peer.say("HELP"), "214 2.0.0");
  expect(await peer.say("HELP MAIL"), "214 2.0.0");
  // After HELO mail is taken as after EHLO.
  expect(await send(peer, "carol@remote.test", [ANN.address], letter()), "250 2.0.0 Queued");
  peer.close();
});

Deno.test("RSET forgets the transaction and keeps the login", async () => {
  await using server = await LocalServer.open();
  for (const peer of [await server.signedIn(), await signedInAfterStartTls(server)]) {
    expect(await peer.say(`MAIL FROM:<${ANN.address}>`), "250");
    expect(await peer.say("RCPT TO:<carol@remote.test>"), "250");
    expect(await peer.say("RSET"), "250 2.0.0");
    expect(await peer.say("DATA"), "503");
    expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "503 5.5.1");
    expect(await send(peer, ANN.address, ["carol@remote.test"], letter()), "250 2.0.0 Queued");
    peer.close();
  }
});

async function signedInAfterStartTls(server: LocalServer): Promise<SmtpPeer> {
  const peer = await server.afterStartTls();
  expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "235");
  return peer;
}

/** Commands and the reply to each. A reply too many or too few would shift all that follow. */
const OUTSIDE: readonly (readonly [command: string, reply: string])[] = [
  ["NOOP", "250 2.0.0"],
  ["MAIL FROM:<carol@remote.test>", "503 5.5.1"],
  ["EHLO client.remote.test", "250"],
  ["", "500 5.5.1"],
  ["BLAH", "500 5.5.1"],
  ["HELP", "214 2.0.0"],
  ["VRFY ann", "252 2.1.5"],
  ["EXPN all", "502 5.5.1"],
  ["RCPT TO:<ann@ours.test>", "503 5.5.1"],
  ["DATA", "503 5.5.1"],
  ["MAIL FROM:carol@remote.test", "501 5.5.4"],
  ["MAIL FROM:<carol@remote.test> NONSENSE=1", "555 5.5.4"],
  ["MAIL FROM:<carol@remote.test>", "250 2.1.0"],
  ["MAIL FROM:<carol@remote.test>", "503 5.5.1"],
  ["RCPT TO:<>", "501 5.1.3"],
  ["RCPT TO:<nobody@ours.test>", "550 5.1.1"],
  ["RCPT TO:<carol@remote.test>", "550 5.7.1"],
  ["DATA", "503 5.5.1"],
  ["MAIL FROM:<carol@remote.test>", "250 2.1.0"],
  ["RCPT TO:<ann@ours.test>", "250 2.1.5"],
  ["RCPT TO:<ANN+tag@Ours.Test>", "250 2.1.5"],
  ["DATA", "354"],
  ["From: carol@remote.test\r\n\r\n..\r\n.", "250 2.0.0 Queued"],
  ["AUTH PLAIN AGEAYg==", "502 5.5.1"],
  ["RSET", "250 2.0.0"],
  ["MAIL FROM:<>", "250 2.1.0"],
  ["RCPT TO:<postmaster>", "250 2.1.5"],
  ["QUIT", "221 2.0.0"],
];

Deno.test("each command gets exactly one reply, said one by one", async () => {
  await using server = await LocalServer.open();
  const peer = await SmtpPeer.call(server.port("mx"));
  expect(await peer.lastLine(), "220");
  for (const [command, reply] of OUTSIDE) {
    assert.equal((await peer.say(command)).slice(0, reply.length), reply, command);
  }
  assert.equal(await peer.rest(), "");
  peer.close();
});

Deno.test("each command of one pipelined group gets exactly one reply, in order", async () => {
  await using server = await LocalServer.open();
  const peer = await server.outside();
  const group: [string, string][] = [
    ["NOOP", "250 2.0.0"],
    ["RSET", "250 2.0.0"],
    ["MAIL FROM:<carol@remote.test>", "250 2.1.0"],
    ["RCPT TO:<nobody@ours.test>", "550 5.1.1"],
    ["RCPT TO:<ann@ours.test>", "250 2.1.5"],
    ["RCPT TO:<dave@remote.test>", "550 5.7.1"],
    ["FOO", "500 5.5.1"],
    ["BDAT 29\r\nFrom: carol@remote.test\r\n\r\nhi", "250 2.0.0"],
    ["VRFY x", "252 2.1.5"],
    ["BDAT 2 LAST\r\n\r\n", "250 2.0.0"],
    ["BDAT 3 LAST\r\nabc", "503 5.5.1"],
    ["RCPT TO:<ann@ours.test>", "503 5.5.1"],
    ["HELP", "214-2.0.0"],
    ["QUIT", "221 2.0.0"],
  ];
  // A chunk ends with its last byte and not with CRLF.
  await peer.send(group.map(([command]) => command.startsWith("BDAT") ? command : `${command}\r\n`).join(""));
  const text = await peer.rest();
  const said = text.split("\r\n").slice(0, -1).filter((_, index, all) => all[index - 1]?.[3] !== "-");
  assert.deepEqual(said.map((line, index) => line.slice(0, group[index]?.[1].length)), group.map(([, reply]) => reply));
  peer.close();
});

Deno.test("each step of signing in gets exactly one reply, right, wrong, cancelled or malformed", async () => {
  await using server = await LocalServer.open();
  const peer = await server.client();
  const steps = [
    ["MAIL FROM:<ann@ours.test>", "530 5.7.0"],
    ["AUTH", "501"],
    ["AUTH NONSENSE", "504 5.5.4"],
    ["AUTH PLAIN", "334"],
    ["*", "501 5.7.0"],
    ["AUTH PLAIN", "334"],
    ["!!!", "501 5.5.2"],
    ["AUTH LOGIN", "334"],
    [btoa(ANN.address), "334"],
    [btoa("wrong"), "535 5.7.8"],
    ["AUTH LOGIN", "334"],
    [btoa(ANN.address), "334"],
    [btoa(PASSWORD), "235 2.7.0"],
    ["NOOP", "250 2.0.0"],
    ["QUIT", "221 2.0.0"],
  ] as const;
  for (const [line, reply] of steps) assert.equal((await peer.say(line)).slice(0, reply.length), reply, line);
  assert.equal(await peer.rest(), "");
  peer.close();
});

Deno.test("implicit TLS: the server says nothing before the handshake, and nothing in clear to who speaks in clear", async () => {
  await using server = await LocalServer.open();
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port("submissions") });
  const heard: Uint8Array[] = [];
  const reading = readAll(conn, heard);
  await pause(300);
  assert.equal(heard.length, 0);
  await conn.write(new TextEncoder().encode("EHLO client.remote.test\r\n"));
  await reading;
  conn.close();
  // A TLS alert (RFC 8446 §6: type 21) or nothing.
  assert.doesNotMatch(textOf(Uint8Array.from(heard.flatMap((piece) => [...piece]))), /\d\d\d[ -]|ESMTP|mail\.ours/);
});

Deno.test("implicit TLS: every byte of the server is inside a TLS record, from the first to the last", async () => {
  await using server = await LocalServer.open();
  const heard: Uint8Array[] = [];
  await using between = standBetween(server.port("submissions"), heard);
  const peer = new SmtpPeer(await server.connectTls(between.port));
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO client.remote.test"), "250");
  expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "235");
  expect(await send(peer, ANN.address, ["carol@remote.test"], letter()), "250");
  expect(await peer.say("QUIT"), "221");
  peer.close();
  const bytes = Uint8Array.from(heard.flatMap((piece) => [...piece]));
  let at = 0, records = 0;
  for (; at < bytes.length; records++) {
    // RFC 8446 §5.1: type, 0x03 0x01–0x03, length.
    assert.ok(
      [20, 21, 22, 23].includes(bytes[at] ?? 0) && bytes[at + 1] === 3 && (bytes[at + 2] ?? 9) <= 3,
      `at ${at}`,
    );
    at += 5 + ((bytes[at + 3] ?? 0) << 8) + (bytes[at + 4] ?? 0);
  }
  assert.equal(at, bytes.length);
  assert.ok(records > 5);
});

async function readAll(conn: Deno.Conn, into: Uint8Array[]): Promise<void> {
  const buffer = new Uint8Array(4096);
  try {
    for (let count = await conn.read(buffer); count !== null; count = await conn.read(buffer)) {
      into.push(buffer.slice(0, count));
    }
  } catch { /* RST is an end too. */ }
}

/** Takes one connection, passes everything on and keeps what came from the server. */
function standBetween(port: number, heard: Uint8Array[]): { readonly port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const running = (async () => {
    const client = await listener.accept(), server = await Deno.connect({ hostname: "127.0.0.1", port });
    const pass = async (from: Deno.Conn, to: Deno.Conn, note: (bytes: Uint8Array) => void) => {
      const buffer = new Uint8Array(4096);
      try {
        for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
          note(buffer.slice(0, count));
          for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
        }
        await to.closeWrite();
      } catch { /* One side is gone. */ }
    };
    await Promise.all([pass(client, server, () => {}), pass(server, client, (bytes) => heard.push(bytes))]);
    client.close();
    server.close();
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await running;
    },
  };
}
