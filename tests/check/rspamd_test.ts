import assert from "node:assert/strict";
import { askRspamd } from "../../src/check/rspamd.ts";
import type { Answer, ScoredMessage } from "../../src/check/score.ts";
import {
  dripping,
  endless,
  holding,
  http,
  saying,
  scored,
  type ScorerScript,
  ScriptedScorer,
} from "../support/scripted_scorer.ts";

const GOOD = '{"score":4.25,"required_score":15,"action":"no action","symbols":{"A":{"name":"A","score":4.25}}}';

async function ask(server: ScriptedScorer, message: ScoredMessage = scored(), path = ""): Promise<Answer> {
  const signal = new AbortController().signal;
  const answer = await askRspamd(`http://127.0.0.1:${server.port}${path}`, message, {
    connect: 300,
    deadline: 400,
    signal,
  });
  await server.left();
  return answer;
}

async function answerTo(script: ScorerScript, greeting?: ScorerScript): Promise<Answer> {
  await using server = await ScriptedScorer.start(script, greeting);
  return await ask(server);
}

const body = (text: string) => answerTo(saying(http(text)));

Deno.test("rspamd gets the message as it is, and the envelope in its header", async () => {
  await using server = await ScriptedScorer.start(saying(http(GOOD)));
  const message = scored("\0\xff.\r\n", {
    recipients: ["bob@ours.test", "eve@ours.test"],
    user: "ann",
    name: "mx.remote.test",
  });
  await ask(server, message, "/below");
  const [request = ""] = server.requests, end = request.indexOf("\r\n\r\n");
  const lines = request.slice(0, end).split("\r\n");
  assert.equal(lines[0], "POST /below/checkv2 HTTP/1.1");
  assert.deepEqual(lines.slice(1).toSorted(), [
    "Connection: close",
    `Content-Length: ${message.bytes.length}`,
    "From: <ann@remote.test>",
    "Helo: mx.remote.test",
    `Host: 127.0.0.1:${server.port}`,
    "Hostname: mx.remote.test",
    "IP: 198.51.100.7",
    "MTA-Name: mail.ours.test",
    "Queue-Id: Q1",
    "Rcpt: <bob@ours.test>",
    "Rcpt: <eve@ours.test>",
    "User: ann",
  ]);
  assert.equal(request.slice(end + 4), new TextDecoder("latin1").decode(message.bytes));
});

Deno.test("rspamd gets a message of 10 MiB whole", async () => {
  await using server = await ScriptedScorer.start(saying(http(GOOD)));
  const message = scored("x".repeat(10 * 1024 * 1024));
  const signal = new AbortController().signal;
  const limits = { connect: 5000, deadline: 10_000, signal };
  assert.equal((await askRspamd(`http://127.0.0.1:${server.port}`, message, limits)).says, "score");
  assert.equal(server.requests[0]?.split("\r\n\r\n").slice(1).join("\r\n\r\n").length, message.bytes.length);
});

Deno.test("nothing that a peer said breaks the request to rspamd", async () => {
  await using server = await ScriptedScorer.start(saying(http(GOOD)));
  const evil = 'x\r\nIP: 127.0.0.1\r\n\r\n\0"\x7f';
  const message = scored("", {
    helo: evil,
    sender: evil,
    recipients: [evil, "jürgen@ours.test", `${"é".repeat(5000)}@ours.test`],
    user: evil,
    name: evil,
  });
  assert.equal((await ask(server, message)).says, "score");
  const lines = server.requests[0]?.split("\r\n\r\n")[0]?.split("\r\n") ?? [];
  const flat = 'x??IP: 127.0.0.1?????"?';
  assert.deepEqual(lines.filter((line) => line.includes("127.0.0.1") && !line.startsWith("Host: ")).toSorted(), [
    `From: <${flat}>`,
    `Helo: ${flat}`,
    `Hostname: ${flat}`,
    `Rcpt: <${flat}>`,
    `User: ${flat}`,
  ]);
  assert.ok(lines.includes("Rcpt: <j\xc3\xbcrgen@ours.test>"));
  assert.ok(lines.every((line) => line.length < 1100));
  assert.equal(lines.length, 14);
});

Deno.test("no more than 100 recipients are named to rspamd", async () => {
  await using server = await ScriptedScorer.start(saying(http(GOOD)));
  await ask(server, scored("", { recipients: Array.from({ length: 1000 }, (_, at) => `user${at}@ours.test`) }));
  assert.equal(server.requests[0]?.match(/^Rcpt: /gm)?.length, 100);
});

Deno.test("rspamd's score, threshold and symbols are read", async () => {
  assert.deepEqual(await body(GOOD), {
    says: "score",
    score: 4.25,
    required: 15,
    symbols: [{ name: "A", score: 4.25 }],
  });
  assert.deepEqual(await body('{"score":-0.0}'), { says: "score", score: 0, symbols: [] });
  assert.deepEqual(await body('{"score":1,"required_score":null,"symbols":{"A":{},"B":7,"C":{"score":"9"}}}'), {
    says: "score",
    score: 1,
    symbols: [{ name: "A" }, { name: "B" }, { name: "C" }],
  });
});

Deno.test("an answer of rspamd is read however it is cut and framed", async () => {
  const pieces: ScorerScript = async (socket) => {
    for (const sign of http(GOOD)) await new Promise((written) => socket.write(sign, written));
  };
  const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
    `${GOOD.length.toString(16)}\r\n${GOOD}\r\n0\r\n\r\n`;
  const untilClosed = `HTTP/1.0 200 OK\r\n\r\n${GOOD}`;
  const continued = `HTTP/1.1 100 Continue\r\n\r\n${http(GOOD)}`;
  for (const script of [pieces, holding(http(GOOD)), saying(chunked), saying(untilClosed), saying(continued)]) {
    assert.equal((await answerTo(script)).says, "score");
  }
});

Deno.test("of rspamd's symbols the 50 that weigh most are kept, with names that can be printed", async () => {
  const symbols = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`S${at}`, { score: at - 50 }]));
  const long = `\x1b[31m\n"é${"x".repeat(100)}`;
  const answer = await body(
    JSON.stringify({ score: 1, symbols: { ...symbols, ["__proto__"]: 1, [long]: { score: 999 } } }),
  );
  assert.ok(answer.says === "score");
  assert.equal(answer.symbols.length, 50);
  assert.deepEqual(answer.symbols[0], { name: `?[31m?"?${"x".repeat(56)}`, score: 999 });
  assert.deepEqual(answer.symbols.slice(1, 3), [{ name: "S199", score: 149 }, { name: "S198", score: 148 }]);
});

for (
  const [what, text, reason] of [
    ["no JSON", "<html>", "its answer is not JSON"],
    ["nothing", "", "its answer is not JSON"],
    ["a list", "[]", "its answer is no object"],
    ["null", "null", "its answer is no object"],
    ["a million brackets", "[".repeat(1_000_000), "its answer is not JSON"],
    ["no score", "{}", "its answer holds no score"],
    ["an error", '{"error":"no"}', "its answer holds no score"],
    ["a score that is NaN", '{"score":NaN}', "its answer is not JSON"],
    ["a score that is infinite", '{"score":1e999}', "its answer holds no score"],
    ["a score beyond reason", '{"score":-1e7}', "its answer holds no score"],
    ["a score that is text", '{"score":"15"}', "its answer holds no score"],
    ["a score that is null", '{"score":null}', "its answer holds no score"],
  ] as const
) {
  Deno.test(`rspamd's answer is unusable when it is ${what}`, async () => {
    assert.deepEqual(await body(text), { says: "unusable", reason });
  });
}

Deno.test("a redirect of rspamd is not followed", async () => {
  await using other = await ScriptedScorer.start(saying(http(GOOD)));
  for (const status of ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]) {
    const location = `Location: http://127.0.0.1:${other.port}/checkv2\r\n`;
    const answer = await answerTo(saying(http(GOOD, status, location)));
    assert.deepEqual(answer, { says: "unusable", reason: `HTTP status ${status.slice(0, 3)}` });
  }
  assert.equal(other.connections, 0);
});

for (
  const [what, script, says, reason] of [
    ["HTTP 500", saying(http(GOOD, "500 Internal")), "unusable", "HTTP status 500"],
    ["HTTP 204", saying("HTTP/1.1 204 No Content\r\n\r\n"), "unusable", "HTTP status 204"],
    ["another protocol", holding("220 mail ESMTP\r\n"), "nothing", /^Parse Error/],
    ["a change of protocol", holding("HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "nothing", /./],
    ["an endless body", endless("HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", "x"), "unusable", /1 MiB/],
    [
      "endless chunks",
      endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", `400\r\n${"x".repeat(1024)}\r\n`),
      "unusable",
      /1 MiB/,
    ],
    ["an endless header", endless("HTTP/1.1 200 OK\r\n", "X-Y: zzzzzzzz\r\n"), "nothing", /overflow/i],
    ["endless 100", endless("", "HTTP/1.1 100 Continue\r\n\r\n"), "unusable", "too many provisional answers"],
    [
      "one octet after the other",
      dripping("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
      "nothing",
      /within 0.4 s/,
    ],
    ["silence", () => {}, "nothing", "no answer within 0.4 s"],
    ["hanging up", saying(""), "nothing", /./],
    ["hanging up half-way", saying("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "nothing", /hung up/],
    ["a reset", (socket) => socket.resetAndDestroy(), "nothing", /ECONNRESET/],
    ["a body that is compressed", saying(http("\x1f\x8b", "200 OK", "Content-Encoding: gzip\r\n")), "unusable", /JSON/],
  ] as readonly (readonly [string, ScorerScript, Answer["says"], string | RegExp])[]
) {
  Deno.test(`rspamd gives no score by ${what}, and keeps nobody`, async () => {
    const began = performance.now();
    const answer = await answerTo(script);
    assert.ok(answer.says !== "score");
    assert.equal(answer.says, says);
    if (typeof reason === "string") assert.equal(answer.reason, reason);
    else assert.match(answer.reason, reason);
    assert.ok(performance.now() - began < 1500);
  });
}

Deno.test("rspamd that hangs up at once, or speaks first, gives no score", async () => {
  assert.equal((await answerTo(() => {}, (socket) => socket.destroy())).says, "nothing");
  assert.equal((await answerTo(() => {}, saying("HTTP/1.1 400 Bad\r\n\r\n"))).says, "unusable");
});

Deno.test("a handshake of TLS that never ends is no connection", async () => {
  await using server = await ScriptedScorer.start(() => {});
  const signal = new AbortController().signal, limits = { connect: 200, deadline: 5000, signal };
  const answer = await askRspamd(`https://127.0.0.1:${server.port}`, scored(), limits);
  assert.deepEqual(answer, { says: "nothing", late: true, reason: "no connection within 0.2 s" });
  await server.left();
});
