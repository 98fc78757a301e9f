import assert from "node:assert/strict";
import type { Answer, ScoredMessage } from "../../src/check/score.ts";
import { askSpamd } from "../../src/check/spamd.ts";
import {
  dripping,
  endless,
  holding,
  saying,
  scored,
  type ScorerScript,
  ScriptedScorer,
  spamd,
} from "../support/scripted_scorer.ts";

const GOOD = spamd("15.0 / 5.0", "GTUBE,NO_RELAYS");

async function ask(server: ScriptedScorer, message: ScoredMessage = scored()): Promise<Answer> {
  const signal = new AbortController().signal;
  const limits = { connect: 300, deadline: 400, signal };
  const answer = await askSpamd({ host: "127.0.0.1", port: server.port }, message, limits);
  await server.left();
  return answer;
}

async function answerTo(script: ScorerScript, greeting?: ScorerScript): Promise<Answer> {
  await using server = await ScriptedScorer.start(script, greeting);
  return await ask(server);
}

async function requestOf(message: ScoredMessage): Promise<string> {
  await using server = await ScriptedScorer.start(saying(GOOD));
  assert.equal((await ask(server, message)).says, "score");
  assert.equal(server.requests.length, 1);
  return server.requests[0] ?? "";
}

Deno.test("spamd gets the message below the sender of the envelope", async () => {
  const message = scored("\0\xff.\r\nno end", { user: "ann" });
  const top = "Return-Path: <ann@remote.test>\r\n";
  assert.equal(
    await requestOf(message),
    `SYMBOLS SPAMC/1.5\r\nContent-length: ${top.length + message.bytes.length}\r\nUser: ann\r\n\r\n${top}` +
      new TextDecoder("latin1").decode(message.bytes),
  );
});

Deno.test("nothing that a peer said breaks the request to spamd", async () => {
  const evil = "x\r\n\r\n> \0<";
  const request = await requestOf(scored("", { sender: evil, user: `ann\r\nX: y`, helo: evil, recipients: [evil] }));
  assert.match(request, /^SYMBOLS SPAMC\/1\.5\r\nContent-length: \d+\r\n\r\nReturn-Path: <x\?{8}>\r\nReceived: /);
});

Deno.test("of a long message spamd gets the first 512 KiB", async () => {
  const request = await requestOf(scored("x".repeat(1 << 20)));
  const top = "Return-Path: <ann@remote.test>\r\n";
  assert.equal(request.slice(request.indexOf("\r\n\r\n") + 4).length, top.length + 512 * 1024);
});

Deno.test("spamd is told that the message has ended: it reads lines, and the last one may have no end", async () => {
  const answer = await answerTo((socket) => socket.on("end", () => saying(GOOD)(socket)));
  assert.equal(answer.says, "score");
});

Deno.test("spamd's score, threshold and symbols are read", async () => {
  const symbols = [{ name: "GTUBE" }, { name: "NO_RELAYS" }];
  assert.deepEqual(await answerTo(holding(GOOD)), { says: "score", score: 15, required: 5, symbols });
  assert.deepEqual(await answerTo(saying(spamd("-0.0 / 5.0", ""))), {
    says: "score",
    score: 0,
    required: 5,
    symbols: [],
  });
  assert.deepEqual(await answerTo(saying(spamd("-1.5 / 5", "none\r\n"))), {
    says: "score",
    score: -1.5,
    required: 5,
    symbols: [],
  });
});

Deno.test("an answer of spamd is read however it is cut, and without its length", async () => {
  const pieces: ScorerScript = async (socket) => {
    for (const sign of GOOD) await new Promise((written) => socket.write(sign, written));
  };
  const open = GOOD.replace(/Content-length: \d+\r\n/, "");
  for (const script of [pieces, saying(open)]) {
    const answer = await answerTo(script);
    assert.ok(answer.says === "score");
    assert.deepEqual(answer.symbols, [{ name: "GTUBE" }, { name: "NO_RELAYS" }]);
  }
});

Deno.test("of spamd's symbols 50 are kept, with names that can be printed", async () => {
  const answer = await answerTo(saying(spamd("1 / 5", ["\x1b[31m", ..."a".repeat(100).split(""), "b"].join(","))));
  assert.ok(answer.says === "score");
  assert.equal(answer.symbols.length, 50);
  assert.deepEqual(answer.symbols[0], { name: "?[31m" });
});

for (
  const [what, script, says, reason] of [
    ["another protocol", holding("HTTP/1.1 400 Bad\r\n\r\n"), "unusable", "its answer is not that of a spamd"],
    [
      "a refusal",
      saying("SPAMD/1.0 76 Bad \x1b[31m\x07header line\r\n"),
      "unusable",
      "it says 76 Bad ?[31m?header line",
    ],
    ["no score", saying("SPAMD/1.1 0 EX_OK\r\n\r\n"), "unusable", "its answer holds no score"],
    ["a score that is NaN", saying(spamd("nan / 5.0", "")), "unusable", "its answer holds no score"],
    ["a score that is infinite", saying(spamd("inf / 5.0", "")), "unusable", "its answer holds no score"],
    ["a score beyond reason", saying(spamd("99999999 / 5.0", "")), "unusable", "99999999 is no score"],
    [
      "a score of a thousand digits",
      saying(spamd(`${"9".repeat(1000)} / 5`, "")),
      "unusable",
      "its answer holds no score",
    ],
    ["an endless head", endless("SPAMD/1.1 0 EX_OK\r\n", "X: y\r\n"), "unusable", /spamd|1 MiB/],
    ["an endless line", endless("", "x"), "unusable", /spamd|1 MiB/],
    ["an endless body", endless("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 1 / 5\r\n\r\n", "A,"), "unusable", /1 MiB/],
    [
      "a length of a gigabyte",
      endless("SPAMD/1.1 0 EX_OK\r\nContent-length: 999999999\r\nSpam: True ; 1 / 5\r\n\r\n", "A,"),
      "unusable",
      /1 MiB/,
    ],
    ["one octet after the other", dripping("SPAMD/1.1 0 EX_OK\r\n"), "nothing", "no answer within 0.4 s"],
    ["silence", () => {}, "nothing", "no answer within 0.4 s"],
    ["hanging up", saying(""), "nothing", /hung up/],
    ["hanging up half-way", saying(GOOD.slice(0, -1)), "nothing", /hung up/],
    ["hanging up in its head", saying(GOOD.slice(0, 30)), "nothing", /hung up/],
    ["a reset", (socket) => socket.resetAndDestroy(), "nothing", /ECONNRESET|hung up/],
  ] as readonly (readonly [string, ScorerScript, Answer["says"], string | RegExp])[]
) {
  Deno.test(`spamd gives no score by ${what}, and keeps nobody`, async () => {
    const began = performance.now();
    const answer = await answerTo(script);
    assert.ok(answer.says !== "score");
    assert.equal(answer.says, says);
    if (typeof reason === "string") assert.equal(answer.reason, reason);
    else assert.match(answer.reason, reason);
    assert.ok(performance.now() - began < 1500);
  });
}
