import assert from "node:assert/strict";
import { Session } from "../../src/smtp/session.ts";
import { reply } from "../../src/smtp/reply.ts";
import { bytesOf, everyCut, seeded } from "../support/every_cut.ts";
import { SESSION } from "../support/front.ts";
import { PurePeer } from "../support/pure_peer.ts";

// ── cuts ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Groups of bytes: a client waits for the replies to one before it sends the next. EHLO and DATA end theirs, for the
 * session looks at what is behind them.
 */
const TALKS: readonly [name: string, kind: "mx" | "submissions", groups: readonly string[]][] = [
  ["two messages and a refused one", "mx", [
    "EHLO client.test\r\n",
    "MAIL FROM:<eve@remote.test> SIZE=20\r\nRCPT TO:<ann@dev.test>\r\nRCPT TO:<no@dev.test>\r\nDATA\r\n",
    "Subject: x\r\n\r\n..\r\n.a\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bob@dev.test>\r\nDATA\r\n",
    "a\n.\nb\r\n.\r\r\n.\r\nNOOP\r\nMAIL FROM:<>\r\nRCPT TO:<bob@dev.test>\r\nDATA\r\n",
    ".\r\nRSET\r\nQUIT\r\n",
  ]],
  ["chunks", "mx", [
    "EHLO client.test\r\n",
    "MAIL FROM:<eve@remote.test> BODY=BINARYMIME\r\nRCPT TO:<ann@dev.test>\r\nBDAT 7\r\nQUIT\r\n\r" +
    "BDAT 0\r\nBDAT 4 LAST\r\n\0\xff.\nMAIL FROM:<>\r\nBDAT 6\r\nQUIT\r\nRCPT TO:<ann@dev.test>\r\n" +
    "MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\nBDAT 3\r\na\nbBDAT 3 LAST\r\na\r\nNOOP\r\n",
  ]],
  ["signing in", "submissions", [
    "EHLO client.test\r\n",
    "AUTH LOGIN\r\n*\r\nAUTH PLAIN =\r\nAUTH SCRAM-SHA-256\r\nbiwsbj1hbm5AZGV2LnRlc3Q=\r\ncD1yaWdodA==\r\n\r\n",
    "MAIL FROM:<ann@dev.test>\r\nRCPT TO:<u@ext.test>\r\nDATA\r\n",
    "x\r\n.\r\nRSET\r\nMAIL FROM:<bob@dev.test>\r\n",
  ]],
  ["nonsense", "mx", [
    "\r\n\n\r\n\0\r\nNO\xff\r\nNOOP \x7f\r\nBDAT\r\nRCPT TO:<\r\n" + "x".repeat(3000) + "\r\n\rNOOP\r\nRSET\r\n",
  ]],
];

for (const [name, kind, groups] of TALKS) {
  Deno.test(`session takes ${name} in pieces of any size with equal effects`, () => {
    const whole = new PurePeer({ kind });
    whole.greet();
    for (const group of groups) whole.feed(bytesOf(group));
    assert.ok(whole.replies.length >= groups.length);
    for (const [index, group] of groups.entries()) {
      everyCut(bytesOf(group), (pieces) => {
        const peer = new PurePeer({ kind });
        peer.greet();
        for (const [other, text] of groups.entries()) peer.feed(...(other === index ? pieces : [bytesOf(text)]));
        assert.deepEqual(peer.replies, whole.replies);
        assert.deepEqual(peer.host.stored, whole.host.stored);
        assert.equal(peer.host.held, whole.host.held);
        assert.equal(peer.closed, whole.closed);
      });
    }
  });
}

// ── shuffled commands ──────────────────────────────────────────────────────────────────────────────────────────

const COMMANDS = [
  "EHLO client.test",
  "HELO client.test",
  "EHLO",
  "MAIL FROM:<eve@remote.test>",
  "MAIL FROM:<ann@dev.test>",
  "MAIL FROM:<> BODY=BINARYMIME",
  "MAIL FROM:<eve@remote.test> SIZE=99999",
  "RCPT TO:<ann@dev.test>",
  "RCPT TO:<bob@dev.test>",
  "RCPT TO:<nobody@dev.test>",
  "RCPT TO:<u@ext.test>",
  "DATA",
  "BDAT 0",
  "BDAT 0 LAST",
  "BDAT -1",
  "RSET",
  "NOOP",
  "VRFY ann",
  "EXPN x",
  "HELP",
  "AUTH PLAIN AGFubkBkZXYudGVzdABtYWlsZGVtb24=",
  "AUTH PLAIN AGFubkBkZXYudGVzdAB3cm9uZw==",
  "AUTH LOGIN",
  "AUTH SCRAM-SHA-256 biwsbj1hbm5AZGV2LnRlc3Q=",
  "",
  "STARTTLS now",
  "STARTTLS",
  "\0\xff",
  "a\nb",
  "a\rb",
  "MAIL FROM:<",
  "x".repeat(2500),
  "__proto__",
];
/** Lines in the middle of AUTH. */
const RESPONSES = [
  "*",
  "",
  "=",
  "cD1yaWdodA==",
  "YW5uQGRldi50ZXN0",
  "bWFpbGRlbW9u",
  "QUIT",
  "\xff",
  "A".repeat(13_000),
];
const BODIES = [
  "hello\r\n.\r\n",
  ".\r\n",
  "..\r\n.\r\n",
  "a\nb\r\n.\n\r\n.\r\n",
  "x".repeat(5000) + "\r\n.\r\n",
  "\0\xff\r\n.\r\n",
  ("y".repeat(98) + "\r\n").repeat(70) + ".\r\n",
];
const CHUNKS = ["QUIT\r\n", "a\nb", "\r", "\n", "hello\r\n", "z".repeat(7_000), "\0"];

Deno.test("session answers each of thousands of shuffled command lines exactly once and never throws", () => {
  let stored = 0, discards = 0, refusals = 0;
  for (let seed = 1; seed <= 2500; seed++) {
    const random = seeded(seed);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
    const kind = pick(["mx", "mx", "submission", "submissions"] as const);
    const peer = new PurePeer({ kind, maxErrors: 60, maxRecipients: 3, maxMessages: 5, maxMessageSize: 6000 });
    peer.greet();
    peer.feed(bytesOf(random() < 0.8 ? "EHLO client.test\r\n" : "NOOP\r\n"));
    peer.take();
    const transcript: string[] = [];
    let dialog = false;
    for (let step = 0; step < 40 && !peer.closed; step++) {
      const sent = dialog ? `${pick(RESPONSES)}\r\n` : nextPiece(peer, random, pick);
      transcript.push(JSON.stringify(sent.slice(0, 60)));
      const effects = peer.effects.length;
      feedInPieces(peer, bytesOf(sent), random);
      const said = peer.take(), where = `seed ${seed}: ${transcript.join(" ")} → ${said.join(" | ")}`;
      if (peer.waitsForTls) peer.secured();
      dialog = said[0]?.startsWith("334") ?? false;
      assert.equal(said.length, 1, where);
      assert.match(said[0] ?? "", /^[2345]\d\d[ -]/, where);
      const done = peer.effects.slice(effects);
      // What has begun to be kept is stored, waits for more, or is thrown away: nothing of a refused message lies about.
      const refused = Number(said[0]?.slice(0, 3)) >= 400;
      if (refused && done.includes("body")) refusals++;
      if (refused && !peer.session.receivesMessage && done.includes("body")) assert.ok(done.includes("discard"), where);
      if (said[0]?.startsWith("5") && done.includes("discard")) {
        assert.ok(done.lastIndexOf("body") < done.lastIndexOf("discard"), where);
        discards++;
        assert.equal(peer.host.held, 0, where);
      }
    }
    peer.hangUp();
    assert.equal(peer.host.held, 0, `seed ${seed}: pieces of a message were left behind`);
    stored += peer.host.stored.length;
  }
  // The shuffle does reach what it is for.
  assert.ok(stored > 500, `only ${stored} messages were stored`);
  assert.ok(discards > 500 && refusals > 100, `only ${discards} discards and ${refusals} refused bodies`);
});

/** One command line; with a body or a chunk where one has to follow, for which the reply is the one that counts. */
function nextPiece(peer: PurePeer, random: () => number, pick: <T>(from: readonly T[]) => T): string {
  if (peer.session.receivesMessage) return pick(BODIES);
  // The way to a message is long for who stumbles: most steps go along it.
  if (random() < 0.15) {
    const chunk = pick(CHUNKS);
    return `BDAT ${chunk.length}${random() < 0.5 ? " LAST" : ""}\r\n${chunk}`;
  }
  if (random() < 0.7) {
    return pick([
      "MAIL FROM:<ann@dev.test>\r\n",
      "RCPT TO:<ann@dev.test>\r\n",
      "RCPT TO:<bob@dev.test>\r\n",
      "DATA\r\n",
    ]);
  }
  return `${pick(COMMANDS)}\r\n`;
}

function feedInPieces(peer: PurePeer, bytes: Uint8Array, random: () => number): void {
  for (let at = 0; at < bytes.length;) {
    const size = random() < 0.7 ? bytes.length : 1 + Math.floor(random() * bytes.length / 5);
    peer.feed(bytes.slice(at, at + size));
    at += size;
  }
}

Deno.test("session survives 20,000 lines of random bytes with one reply each", () => {
  const random = seeded(42);
  let lines = 0;
  while (lines < 20_000) {
    const peer = new PurePeer({ maxErrors: 1_000_000 });
    peer.greet();
    peer.take();
    for (let line = 0; line < 500 && !peer.closed; line++, lines++) {
      const length = Math.floor(random() * 30);
      let text = "";
      for (let at = 0; at < length; at++) text += String.fromCharCode(Math.floor(random() * 256));
      // Not a TLS handshake, which is told to go away before its line ends.
      if (text.includes("\r\n") || text.startsWith("\x16") || text.endsWith("\r")) continue;
      peer.feed(bytesOf(`${text}\r\n`));
      assert.equal(peer.take().length, 1, JSON.stringify(text));
    }
  }
});

// ── pauses ─────────────────────────────────────────────────────────────────────────────────────────────────────

Deno.test("session reads no more while a question is open", () => {
  const session = new Session(SESSION);
  assert.deepEqual(session.open().map((effect) => effect.do), ["ask"]);
  session.answer(reply(220, "", "hello"));
  session.receive(bytesOf("EHLO client.test\r\n"));
  session.answer(reply(250, "2.0.0", "hello"));
  const [asked, ...more] = session.receive(bytesOf("MAIL FROM:<>\r\nNOOP\r\n"));
  assert.equal(asked?.do, "ask");
  assert.deepEqual(more, []);
  assert.deepEqual(session.receive(bytesOf("NOOP\r\n")), []);
  const said = session.answer(reply(250, "2.1.0", "Fine")).map((effect) => effect.do);
  assert.deepEqual(said, ["send", "send", "send"]);
});

Deno.test("session ignores an answer to a question that nobody asked", () => {
  const peer = new PurePeer();
  peer.greet();
  assert.deepEqual(peer.session.answer(reply(250, "2.0.0", "What?")), []);
});

Deno.test("session ends with the refusal when the client may not talk to us", () => {
  const session = new Session(SESSION);
  session.open();
  const effects = session.answer(reply(554, "5.7.1", "Not you"));
  assert.deepEqual(effects.map((effect) => effect.do), ["send", "close"]);
  assert.deepEqual(session.receive(bytesOf("NOOP\r\n")), []);
});

Deno.test("a temporary no at MAIL and RCPT leaves the state as it was", () => {
  const session = new Session(SESSION);
  session.open();
  session.answer(reply(220, "", "hello"));
  session.receive(bytesOf("EHLO client.test\r\n"));
  session.receive(bytesOf("MAIL FROM:<>\r\n"));
  session.answer(reply(451, "4.3.0", "Later"));
  const [refused] = session.receive(bytesOf("RCPT TO:<ann@dev.test>\r\n"));
  assert.ok(refused?.do === "send" && refused.reply.code === 503);
});

Deno.test("a message that is refused by the host is gone with its transaction", () => {
  const session = new Session(SESSION);
  session.open();
  session.answer(reply(220, "", "hello"));
  session.receive(bytesOf("EHLO client.test\r\n"));
  session.answer(reply(250, "2.0.0", "hello"));
  session.receive(bytesOf("MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\nBDAT 2 LAST\r\n\r\nDATA\r\n"));
  session.answer(reply(250, "2.1.0", "Fine"));
  assert.equal(session.answer(reply(250, "2.1.5", "Fine")).at(-1)?.do, "ask");
  const effects = session.answer(reply(452, "4.3.1", "The disk is full"));
  assert.deepEqual(effects.flatMap((effect) => effect.do === "send" ? [effect.reply.code] : []), [452, 503]);
});

Deno.test("session throws away what had begun when its time is up", () => {
  const peer = new PurePeer();
  peer.greet();
  peer.feed(bytesOf("EHLO client.test\r\n"));
  peer.feed(bytesOf("MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\nDATA\r\n"));
  peer.feed(bytesOf("half of it\r\n"));
  const effects = peer.session.expire(reply(421, "4.4.2", "Too late"));
  assert.deepEqual(effects.map((effect) => effect.do), ["send", "discard", "close"]);
  assert.deepEqual(peer.session.expire(reply(421, "4.4.2", "Too late")), []);
  assert.deepEqual(peer.session.receive(bytesOf("more\r\n.\r\n")), []);
});

Deno.test("session ends for who sends a thousand commands that do nothing", () => {
  const peer = new PurePeer();
  peer.greet();
  for (let count = 0; count < 1000; count++) peer.feed(bytesOf("NOOP\r\n"));
  assert.equal(peer.closed, false);
  peer.feed(bytesOf("RSET\r\n"));
  assert.match(peer.take().at(-1) ?? "", /^421 4\.7\.0 /);
  assert.equal(peer.closed, true);
});

Deno.test("session ends for who sends a million empty chunks", () => {
  const peer = new PurePeer();
  peer.greet();
  peer.feed(bytesOf("EHLO client.test\r\n"));
  peer.feed(bytesOf("MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\n"));
  const group = bytesOf("BDAT 0\r\n".repeat(100));
  let groups = 0;
  for (; groups < 10_000 && !peer.closed; groups++) peer.feed(group);
  assert.ok(groups < 20, `${groups * 100} empty chunks were taken`);
});

// ── memory ─────────────────────────────────────────────────────────────────────────────────────────────────────

function memory(): number {
  const { external, heapUsed } = Deno.memoryUsage();
  return external + heapUsed;
}

Deno.test("100 MB without a line end cost no memory: in a command the session closes, in DATA it drops them", () => {
  const piece = new Uint8Array(65536).fill(97);
  const talker = new PurePeer();
  talker.greet();
  let fed = 0;
  for (; fed < 1600 && !talker.closed; fed++) talker.feed(piece);
  assert.ok(fed <= 17, `${fed} pieces of 64 KiB were read before the session closed`);
  assert.match(talker.take().at(-1) ?? "", /^500 5\.5\.2 /);

  const sender = new PurePeer();
  sender.greet();
  sender.feed(bytesOf("EHLO client.test\r\n"));
  sender.feed(bytesOf("MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\nDATA\r\n"));
  const before = memory();
  for (let count = 0; count < 1600; count++) sender.session.receive(piece);
  const grown = memory() - before;
  assert.ok(grown < 32 * 1024 * 1024, `${grown} bytes more than before`);
  assert.ok(sender.host.held <= SESSION.maxMessageSize, `${sender.host.held} bytes were kept`);
  sender.take();
  sender.feed(bytesOf("\r\n.\r\n"));
  assert.match(sender.take()[0] ?? "", /^552 5\.3\.4 /);
});

Deno.test("100,000 pipelined RCPT get one reply each, keep 1000 recipients and take no time", () => {
  const peer = new PurePeer();
  peer.greet();
  peer.feed(bytesOf("EHLO client.test\r\n"));
  peer.feed(bytesOf("MAIL FROM:<eve@remote.test>\r\n"));
  peer.take();
  const bytes = bytesOf("RCPT TO:<ann@dev.test>\r\n".repeat(100_000));
  const counts = new Map<string, number>(), began = performance.now();
  for (let at = 0; at < bytes.length; at += 65536) {
    peer.feed(bytes.subarray(at, at + 65536));
    for (const said of peer.take()) counts.set(said.slice(0, 9), (counts.get(said.slice(0, 9)) ?? 0) + 1);
  }
  assert.deepEqual([...counts], [["250 2.1.5", 1000], ["452 4.5.3", 99_000]]);
  const took = performance.now() - began;
  assert.ok(took < 3_000, `${took} ms`);
});

Deno.test("a command in single bytes costs no more than its length", () => {
  const peer = new PurePeer();
  peer.greet();
  peer.take();
  const began = performance.now();
  const lines = bytesOf(`${"x".repeat(200_000)}\r\nNOOP\r\n`);
  for (const byte of lines) {
    peer.session.receive(Uint8Array.of(byte)).forEach((effect) => {
      if (effect.do === "send") peer.replies.push([String(effect.reply.code)]);
    });
  }
  assert.deepEqual(peer.take(), ["500", "250"]);
  const took = performance.now() - began;
  assert.ok(took < 2_000, `${took} ms`);
});

Deno.test("what the session keeps of a message is not changed when the connection uses its buffer again", () => {
  const peer = new PurePeer();
  peer.greet();
  peer.feed(bytesOf("EHLO client.test\r\n"));
  peer.feed(bytesOf("MAIL FROM:<>\r\nRCPT TO:<ann@dev.test>\r\nDATA\r\n"));
  for (const byte of bytesOf("..x\r\n.y\r\n.\r\nNO")) peer.feed(Uint8Array.of(byte));
  peer.feed(bytesOf("OP\r\n"));
  assert.match(peer.take().at(-1) ?? "", /^250 2\.0\.0 Ok/);
  assert.equal(peer.host.stored[0]?.text, ".x\r\ny\r\n");
});
