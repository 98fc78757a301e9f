import assert from "node:assert/strict";
import type { Host } from "../../src/accept/connection.ts";
import { parseNetwork } from "../../src/smtp/network.ts";
import { seeded } from "../support/every_cut.ts";
import { type Front, openFront } from "../support/front.ts";
import type { MemoryHost } from "../support/memory_host.ts";
import { lines, SmtpPeer } from "../support/smtp_peer.ts";
import type { Rudeness } from "./rude_worker.ts";

const SECOND = 1000, MINUTE = 60 * SECOND;

/** As if so much time had passed (milliseconds). */
function sweep(front: Front, later: number): void {
  for (const connection of front.connections) connection.sweep(performance.now() + later);
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}

/** In DATA behind 354, in clear or under TLS. */
async function inData(front: Front, secure = false): Promise<SmtpPeer> {
  const peer = await SmtpPeer.call(front.port);
  await peer.lastLine();
  if (secure) {
    assert.match(await peer.say("STARTTLS"), /^220 /);
    await peer.startTls();
  }
  await peer.say("EHLO client.test");
  await peer.say("MAIL FROM:<eve@remote.test>");
  await peer.say("RCPT TO:<ann@dev.test>");
  assert.match(await peer.say("DATA"), /^354 /);
  return peer;
}

async function greeted(front: Front): Promise<SmtpPeer> {
  const peer = await SmtpPeer.call(front.port);
  assert.match(await peer.lastLine(), /^220 /);
  return peer;
}

// ── greeting ───────────────────────────────────────────────────────────────────────────────────────────────────

Deno.test("the greeting waits, and who waits too is served", async () => {
  const front = openFront({ limits: { greetDelay: 150 } });
  const began = performance.now();
  const peer = await greeted(front);
  assert.ok(performance.now() - began >= 140);
  assert.match(await peer.say("EHLO client.test"), /^250 /);
  peer.close();
  await front.close();
});

Deno.test("who talks before the greeting is sent away at once", async () => {
  const front = openFront({ limits: { greetDelay: 5 * SECOND } });
  const peer = await SmtpPeer.call(front.port);
  await peer.send("E");
  assert.match(await peer.lastLine(), /^554 5\.5\.1 /);
  assert.equal(await peer.reply(), undefined);
  peer.close();
  await front.close();
});

Deno.test("who talks before the greeting under implicit TLS is sent away at once", async () => {
  const front = openFront({ kind: "submissions", limits: { greetDelay: 5 * SECOND } });
  const peer = await SmtpPeer.callTls(front.port);
  await peer.send("EHLO client.test\r\n");
  assert.match(await peer.lastLine(), /^554 5\.5\.1 /);
  assert.equal(await peer.reply(), undefined);
  peer.close();
  await front.close();
});

Deno.test("who hangs up before the greeting is forgotten at once", async () => {
  const front = openFront({ limits: { greetDelay: 300 } });
  (await SmtpPeer.call(front.port)).close();
  await pause(20);
  await front.empty();
  await front.close();
});

// ── deadlines ──────────────────────────────────────────────────────────────────────────────────────────────────

Deno.test("a command has five minutes, and then the peer is told", async () => {
  const front = openFront();
  const peer = await greeted(front);
  sweep(front, 5 * MINUTE - SECOND);
  assert.match(await peer.say("NOOP"), /^250 /);
  sweep(front, 5 * MINUTE + SECOND);
  assert.match(await peer.lastLine(), /^421 4\.4\.2 /);
  assert.equal(await peer.reply(), undefined);
  peer.close();
  await front.close();
});

Deno.test("a byte of a command now and then buys no time", async () => {
  const front = openFront({ limits: { commandTimeout: 700 } });
  const peer = await greeted(front);
  const began = performance.now();
  let sending = true;
  const drip = (async () => {
    while (sending) {
      await peer.send("N").catch(() => sending = false);
      await pause(50);
    }
  })();
  const said = await peer.rest();
  sending = false;
  await drip;
  assert.match(said, /^421 4\.4\.2 /);
  assert.ok(performance.now() - began < 2_500);
  peer.close();
  await front.close();
});

Deno.test("a session that goes on and on ends at its deadline", async () => {
  const front = openFront({ limits: { sessionTimeout: 60 * SECOND } });
  const peer = await greeted(front);
  assert.match(await peer.say("NOOP"), /^250 /);
  sweep(front, 59 * SECOND);
  assert.match(await peer.say("NOOP"), /^250 /);
  sweep(front, 61 * SECOND);
  assert.match(await peer.lastLine(), /^421 4\.4\.2 /);
  peer.close();
  await front.close();
});

Deno.test("a message that does not go on ends with nothing, after three minutes", async () => {
  const front = openFront({ limits: { minDataRate: 0 } });
  const peer = await inData(front);
  await peer.send("Subject: half\r\n");
  await pause(20);
  assert.equal(front.hosts[0]?.held, 15);
  sweep(front, 3 * MINUTE - SECOND);
  sweep(front, 3 * MINUTE + SECOND);
  assert.match(await peer.lastLine(), /^421 4\.4\.2 /);
  assert.equal(await peer.reply(), undefined);
  peer.close();
  await front.close();
  assert.equal(front.hosts[0]?.held, 0);
  assert.deepEqual(front.hosts[0]?.stored, []);
});

Deno.test("a message that trickles in is given half a minute, and a fast one more", async () => {
  const front = openFront();
  const slow = await inData(front), fast = await inData(front);
  await slow.send("x\r\n");
  await fast.send("x".repeat(998).concat("\r\n").repeat(20));
  await pause(20);
  sweep(front, 29 * SECOND);
  sweep(front, 31 * SECOND);
  assert.match(await slow.lastLine(), /^421 4\.4\.2 /);
  assert.match(await fast.say("."), /^250 /);
  slow.close();
  fast.close();
  await front.close();
});

Deno.test("who never reads our replies is not read from, and cut off after five minutes", async () => {
  const front = openFront({ session: { maxRecipients: 1 } });
  const peer = await greeted(front);
  await peer.say("EHLO client.test");
  await peer.say("MAIL FROM:<>");
  // Each of them gets a reply that is longer than the command.
  const group = lines(...Array<string>(2000).fill("RCPT TO:<ann@dev.test>"));
  let sent = 0, broken = false;
  const flood = (async () => {
    while (true) {
      await peer.send(group);
      sent += group.length;
    }
  })().catch(() => broken = true);
  for (let before = -1; before !== sent;) {
    before = sent;
    await pause(300);
  }
  assert.equal(broken, false);
  sweep(front, 5 * MINUTE - 10 * SECOND);
  await pause(20);
  assert.equal(front.guests.size, 1);
  const began = performance.now();
  sweep(front, 5 * MINUTE + SECOND);
  await flood;
  await front.empty();
  // Without a word: who has not read the others would not read this one.
  assert.ok(performance.now() - began < SECOND);
  peer.close();
  await front.close();
});

/** A clock on which what takes thirty seconds is over in a twentieth of one. */
async function withShortDeadlines(run: () => Promise<void>): Promise<void> {
  const original = globalThis.setTimeout;
  const hurried = (act: (...rest: unknown[]) => void, delay = 0, ...rest: unknown[]) =>
    original(act, delay === 30_000 ? 50 : delay, ...rest);
  globalThis.setTimeout = hurried as typeof globalThis.setTimeout;
  try {
    await run();
  } finally {
    globalThis.setTimeout = original;
  }
}

for (const [name, kind] of [["implicit TLS", "submissions"], ["STARTTLS", "submission"]] as const) {
  Deno.test(`a handshake that never finishes has a deadline (${name})`, async () => {
    await withShortDeadlines(async () => {
      const front = openFront({ kind });
      const peer = await SmtpPeer.call(front.port);
      if (kind === "submission") {
        await peer.lastLine();
        assert.match(await peer.say("STARTTLS"), /^220 /);
      }
      // The beginning of a ClientHello.
      await peer.send("\x16\x03\x01\x02\x00\x01\x00");
      assert.equal(await peer.rest(), "");
      await front.empty();
      peer.close();
      await front.close();
    });
  });
}

Deno.test("a handshake that never finishes does not hold up the stop", async () => {
  const front = openFront({ kind: "submissions" });
  const peer = await SmtpPeer.call(front.port);
  await peer.send("\x16\x03\x01\x02\x00");
  while (front.guests.size === 0) await pause(5);
  await front.close(50);
  peer.close();
});

// ── who may come in ────────────────────────────────────────────────────────────────────────────────────────────

Deno.test("a host may have so many connections and no more, until one of them ends", async () => {
  const front = openFront({ door: { maxConnectionsPerHost: 2 } });
  const first = await greeted(front), second = await greeted(front);
  const third = await SmtpPeer.call(front.port);
  assert.match(await third.rest(), /^421 4\.7\.0 [^\r]*\r\n$/);
  third.close();
  assert.match(await first.say("QUIT"), /^221 /);
  first.close();
  while (front.guests.size > 1) await pause(5);
  const fourth = await greeted(front);
  second.close();
  fourth.close();
  await front.close();
});

Deno.test("all hosts together may have so many connections and no more", async () => {
  const front = openFront({ door: { maxConnections: 1 } });
  const first = await greeted(front), second = await SmtpPeer.call(front.port);
  assert.match(await second.rest(), /^421 4\.7\.0 [^\r]*\r\n$/);
  first.close();
  second.close();
  await front.close();
});

Deno.test("a /64 is one host, two IPv4 addresses are two", async () => {
  const front = openFront({ door: { maxConnectionsPerHost: 1 }, proxies: [parseNetwork("127.0.0.1")!] });
  const peers: SmtpPeer[] = [];
  const callFrom = async (header: string) => {
    const peer = await SmtpPeer.call(front.port);
    peers.push(peer);
    await peer.send(`PROXY ${header} 1 25\r\n`);
    return (await peer.lastLine()).slice(0, 3);
  };
  assert.equal(await callFrom("TCP6 2001:db8::1 2001:db8::2"), "220");
  assert.equal(await callFrom("TCP6 2001:db8::ffff:0:0:1 2001:db8::2"), "421");
  assert.equal(await callFrom("TCP6 2001:db8:0:1::1 2001:db8::2"), "220");
  assert.equal(await callFrom("TCP4 192.0.2.1 192.0.2.9"), "220");
  assert.equal(await callFrom("TCP6 ::ffff:192.0.2.1 ::1"), "421");
  assert.equal(await callFrom("TCP4 192.0.2.2 192.0.2.9"), "220");
  for (const peer of peers) peer.close();
  await front.close();
});

// ── TLS ────────────────────────────────────────────────────────────────────────────────────────────────────────

Deno.test("implicit TLS: no byte in clear from us, and clear text ends the connection", async () => {
  const front = openFront({ kind: "submissions" });
  const peer = await SmtpPeer.call(front.port);
  while (front.guests.size === 0) await pause(5);
  await pause(50);
  await peer.send("EHLO client.test\r\n");
  const said = await peer.rest();
  // At most an alert (RFC 8446 §6).
  assert.ok(said === "" || said.startsWith("\x15\x03"), JSON.stringify(said));
  peer.close();
  await front.close();
});

Deno.test("clear text after STARTTLS ends the connection, and nothing of it is obeyed", async () => {
  const front = openFront();
  const peer = await greeted(front);
  assert.match(await peer.say("STARTTLS"), /^220 /);
  await peer.send("EHLO client.test\r\nMAIL FROM:<>\r\n");
  const said = await peer.rest();
  assert.ok(said === "" || said.startsWith("\x15\x03"), JSON.stringify(said));
  peer.close();
  await front.close();
});

// ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────

for (const secure of [false, true]) {
  Deno.test(`at a stop a message may still end, and who has none is told${secure ? " (TLS)" : ""}`, async () => {
    const front = openFront();
    const idle = await greeted(front), busy = await inData(front, secure);
    await busy.send("Subject: still\r\n");
    await pause(20);
    const closed = front.close(5 * SECOND);
    assert.match(await idle.lastLine(), /^421 4\.3\.2 /);
    assert.equal(await idle.reply(), undefined);
    assert.match(await busy.say("on its way\r\n."), /^250 2\.0\.0 Queued/);
    assert.match(await busy.lastLine(), /^421 4\.3\.2 /);
    assert.equal(await busy.reply(), undefined);
    await closed;
    assert.equal(front.hosts[1]?.stored[0]?.text, "Subject: still\r\non its way\r\n");
    idle.close();
    busy.close();
  });
}

Deno.test("at a stop a message that does not end is lost when patience is", async () => {
  const front = openFront();
  const peer = await inData(front);
  await peer.send("half\r\n");
  const began = performance.now();
  await front.close(100);
  assert.ok(performance.now() - began < 1_000);
  assert.equal(await peer.rest(), "");
  assert.equal(front.hosts[0]?.held, 0);
  assert.deepEqual(front.hosts[0]?.stored, []);
  peer.close();
});

Deno.test("a connection that breaks at any moment, 500 times, leaves nothing behind", async () => {
  const front = openFront();
  const random = seeded(7);
  const script =
    "EHLO client.test\r\n|MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\n|DATA\r\n|Subject: x\r\n\r\nhello\r\n|.\r\n|" +
    "MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\nBDAT 10\r\n12345|67890|BDAT 5 LAST\r\n123|NOOP\r\n";
  const groups = script.split("|");
  const breakOff = async () => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: front.port });
    const peer = new SmtpPeer(conn);
    try {
      const secure = random() < 0.3;
      if (secure) {
        await peer.lastLine();
        await peer.say("STARTTLS");
        // The other half breaks off inside the handshake.
        if (random() < 0.5) await peer.startTls();
        else await peer.send("\x16\x03\x01\x02\x00\x01");
      }
      const last = Math.floor(random() * groups.length);
      for (const group of groups.slice(0, last)) {
        await peer.send(group);
        if (random() < 0.8) await pause(random() * 3);
      }
    } catch { /* the server may have closed first */ }
    // What has come and was not read makes the kernel send RST.
    peer.close();
  };
  for (let batch = 0; batch < 50; batch++) await Promise.all(Array.from({ length: 10 }, breakOff));
  await front.empty();
  assert.equal(front.hosts.length, 500);
  for (const host of front.hosts) assert.equal(host.held, 0);
  assert.equal(front.log.filter((line) => line.startsWith("session-ended ")).length, 500);
  assert.deepEqual(front.log.filter((line) => !line.startsWith("session-ended ")), []);
  await front.close();
});

Deno.test("who hangs up in the middle of a message under TLS leaves nothing", async () => {
  const front = openFront();
  const peer = await inData(front, true);
  await peer.send("half\r\n");
  await pause(20);
  assert.equal(front.hosts[0]?.held, 6);
  peer.close();
  await front.empty();
  assert.equal(front.hosts[0]?.held, 0);
  await front.close();
});

// ── our own faults ─────────────────────────────────────────────────────────────────────────────────────────────

Deno.test("a host that fails is our fault: 451, a line in the log, and the session goes on", async () => {
  const failing = (memory: MemoryHost): Host => ({
    answer: (question) => question.about === "recipient" ? Promise.reject(new Error("disk")) : memory.answer(question),
    body: (bytes) => memory.body(bytes),
    discard: () => memory.discard(),
  });
  const front = openFront({ host: failing });
  const peer = await greeted(front);
  await peer.say("EHLO client.test");
  await peer.say("MAIL FROM:<>");
  assert.match(await peer.say("RCPT TO:<ann@dev.test>"), /^451 4\.3\.0 /);
  assert.match(await peer.say("DATA"), /^503 /);
  assert.ok(front.log.some((line) => /^answer-failed .*question=recipient .*disk/s.test(line)));
  peer.close();
  await front.close();
});

Deno.test("a message waits for the host to take its pieces, one after the other", async () => {
  let waiting = 0, most = 0;
  const slow = (memory: MemoryHost): Host => ({
    answer: (question) => memory.answer(question),
    async body(bytes) {
      most = Math.max(most, ++waiting);
      memory.body(bytes);
      await pause(1);
      waiting--;
    },
    discard: () => memory.discard(),
  });
  const front = openFront({ host: slow, session: { maxMessageSize: 10_000_000 } });
  const peer = await inData(front);
  const text = ".23456789\r\n".repeat(200);
  assert.match(await peer.say(`${text.replaceAll(/^\./gm, "..")}.`), /^250 /);
  assert.equal(most, 1);
  assert.equal(front.hosts[0]?.stored[0]?.text, text);
  peer.close();
  await front.close();
});

Deno.test("the log has one line for a session and nothing of what was said in it", async () => {
  const front = openFront({ kind: "submissions" });
  const peer = await SmtpPeer.callTls(front.port);
  await peer.lastLine();
  await peer.say("EHLO client.test");
  assert.match(await peer.say("AUTH PLAIN AGFubkBkZXYudGVzdAB3cm9uZw=="), /^535 /);
  assert.match(await peer.say("AUTH PLAIN AGFubkBkZXYudGVzdABtYWlsZGVtb24="), /^235 /);
  await peer.say("QUIT");
  peer.close();
  await front.close();
  assert.equal(front.log.length, 1);
  assert.match(front.log[0] ?? "", /^session-ended connection=0 host=127\.0\.0\.1 .*tls=TLSv1\.3 .*why=quit$/);
  assert.doesNotMatch(front.log[0] ?? "", /wrong|AGFub|maildemon/);
});

// ── who wants all of it ────────────────────────────────────────────────────────────────────────────────────────

function rude(rudeness: Rudeness): Worker {
  const worker = new Worker(new URL("./rude_worker.ts", import.meta.url), { type: "module" });
  worker.postMessage(rudeness);
  return worker;
}

Deno.test("callers who hang up before it is their turn keep nobody waiting", async () => {
  const front = openFront();
  const worker = rude({ port: front.port, does: "hang up" });
  // Nobody is let in meanwhile: they come and go in the queue of the kernel.
  for (const end = performance.now() + SECOND; performance.now() < end;);
  const began = performance.now();
  const peer = await greeted(front);
  assert.ok(performance.now() - began < SECOND);
  worker.terminate();
  peer.close();
  await front.close();
});

Deno.test("others have their turn while one sends without end", async () => {
  const front = openFront();
  const other = await greeted(front);
  const worker = rude({ port: front.port, does: "send without end" });
  await new Promise((sending) => worker.onmessage = sending);
  await pause(200);
  let longest = 0;
  for (let count = 0; count < 30; count++) {
    const began = performance.now();
    assert.match(await other.say("NOOP"), /^250 /);
    longest = Math.max(longest, performance.now() - began);
  }
  worker.terminate();
  other.close();
  await front.close(0);
  assert.ok(longest < 250, `${longest} ms`);
});
