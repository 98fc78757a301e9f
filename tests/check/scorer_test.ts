import assert from "node:assert/strict";
import type { Score } from "../../src/check/score.ts";
import { openScorer, type Scorer, type ScorerLimits, type ScorerSetting } from "../../src/check/scorer.ts";
import { pause, until } from "../support/letters.ts";
import { http, saying, scored, type ScorerScript, ScriptedScorer, spamd } from "../support/scripted_scorer.ts";

const silent: ScorerScript = () => {};
const GOOD = spamd("6.5 / 5.0", "HTML_ONLY");
const good = saying(GOOD);
/** Milliseconds. */
const LATE = 150, REST = 400;

async function withScorer(
  limits: Partial<ScorerLimits>,
  scene: (scorer: Scorer, server: ScriptedScorer) => Promise<void>,
): Promise<void> {
  await using server = await ScriptedScorer.start(silent);
  const scorer = openScorer({ by: "spamd", host: "127.0.0.1", port: server.port }, {
    deadline: LATE,
    rest: REST,
    ...limits,
  });
  await scene(scorer, server);
  await scorer.close();
}

const results = (scores: readonly Score[]) => scores.map(({ result }) => result);
const reasonOf = (score: Score) => score.result === "no answer" ? score.reason.replace(/:\d+: /, ":PORT: ") : "";
const many = (scorer: Scorer, count: number) =>
  Promise.all(Array.from({ length: count }, () => scorer.score(scored())));

Deno.test("a scorer says score, threshold, symbols and how long it took", async () => {
  await withScorer({ deadline: 5000 }, async (scorer, server) => {
    server.script = (socket) => setTimeout(() => good(socket), 50);
    const score = await scorer.score(scored());
    assert.ok(score.result === "scored");
    assert.ok(score.took >= 45 && score.took < 5000 && Number.isInteger(score.took));
    assert.deepEqual({ ...score, took: 0 }, {
      result: "scored",
      score: 6.5,
      required: 5,
      symbols: [{ name: "HTML_ONLY" }],
      took: 0,
    });
  });
});

Deno.test("rspamd and spamd are asked where the setting says", async () => {
  const json = http('{"score":1,"required_score":15,"symbols":{}}');
  for (
    const [setting, script] of [
      [(port: number) => ({ by: "rspamd", url: `http://127.0.0.1:${port}` }), saying(json)],
      [(port: number) => ({ by: "spamd", host: "127.0.0.1", port }), good],
    ] as readonly (readonly [(port: number) => ScorerSetting, ScorerScript])[]
  ) {
    await using server = await ScriptedScorer.start(script);
    const scorer = openScorer(setting(server.port));
    assert.equal((await scorer.score(scored())).result, "scored");
    await scorer.close();
    assert.equal(server.requests.length, 1);
  }
});

Deno.test("a scorer where nobody listens gives no answer, fast, and says which one and why", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  for (
    const [setting, name] of [
      [{ by: "rspamd", url: `http://127.0.0.1:${port}/below` }, "rspamd"],
      [{ by: "spamd", host: "127.0.0.1", port }, "spamd"],
    ] as const
  ) {
    const scorer = openScorer(setting), began = performance.now();
    const score = await scorer.score(scored());
    assert.ok(performance.now() - began < 1000);
    assert.match(reasonOf(score), new RegExp(`^${name} at 127\\.0\\.0\\.1:PORT: connect ECONNREFUSED`));
    await scorer.close();
  }
});

Deno.test("a name that leads nowhere and a port that is none give no answer", async () => {
  for (const [host, port] of [["no-such-host.invalid", 783], ["127.0.0.1", 70_000]] as const) {
    const scorer = openScorer({ by: "spamd", host, port });
    assert.equal((await scorer.score(scored())).result, "no answer");
    await scorer.close();
  }
});

Deno.test("after three failures in a row a scorer rests, and no message waits for it", async () => {
  await withScorer({}, async (scorer, server) => {
    for (let failure = 0; failure < 3; failure++) {
      assert.equal(reasonOf(await scorer.score(scored())), "spamd at 127.0.0.1:PORT: no answer within 0.2 s");
    }
    server.script = good;
    const began = performance.now();
    assert.equal(
      reasonOf(await scorer.score(scored())),
      "spamd at 127.0.0.1:PORT: not asked after 3 failures in a row, the last one: no answer within 0.2 s",
    );
    assert.ok(performance.now() - began < LATE / 2);
    assert.equal(server.connections, 3);
  });
});

Deno.test("after its rest one message finds out that a scorer is back", async () => {
  await withScorer({}, async (scorer, server) => {
    await many(scorer, 3);
    server.script = good;
    await pause(REST + 20);
    assert.deepEqual(results(await many(scorer, 4)), ["scored", "no answer", "no answer", "no answer"]);
    assert.equal(server.connections, 4);
    assert.deepEqual(results(await many(scorer, 4)), ["scored", "scored", "scored", "scored"]);
  });
});

Deno.test("a scorer that is not back after its rest is left alone for another one", async () => {
  await withScorer({}, async (scorer, server) => {
    await many(scorer, 3);
    for (const connections of [4, 5]) {
      await pause(REST + 20);
      assert.deepEqual(results(await many(scorer, 3)), ["no answer", "no answer", "no answer"]);
      assert.equal(server.connections, connections);
      assert.match(reasonOf(await scorer.score(scored())), /not asked after 3 failures/);
      assert.equal(server.connections, connections);
    }
  });
});

Deno.test("an answer between failures keeps a scorer from resting", async () => {
  await withScorer({}, async (scorer, server) => {
    for (let round = 0; round < 3; round++) {
      server.script = silent;
      await many(scorer, 2);
      server.script = good;
      assert.equal((await scorer.score(scored())).result, "scored");
    }
  });
});

Deno.test("answers that are no score never make a scorer rest: they may be due to one message", async () => {
  await withScorer({ deadline: 2000 }, async (scorer, server) => {
    server.script = saying("SPAMD/1.1 70 EX_SOFTWARE\r\n");
    assert.deepEqual(new Set(results(await many(scorer, 10))), new Set(["no answer"]));
    server.script = good;
    assert.equal((await scorer.score(scored())).result, "scored");
  });
});

Deno.test("a scorer is asked about so many messages at once, and the others have their turn after them", async () => {
  await withScorer({ deadline: 5000, atOnce: 3 }, async (scorer, server) => {
    let now = 0, most = 0;
    server.script = (socket) => {
      most = Math.max(most, ++now);
      setTimeout(() => (now--, good(socket)), 20);
    };
    assert.deepEqual(new Set(results(await many(scorer, 30))), new Set(["scored"]));
    assert.equal(server.connections, 30);
    assert.equal(most, 3);
  });
});

Deno.test("who waits too long, or comes when too many wait, has no answer", async () => {
  await withScorer({ atOnce: 1, waiting: 2 }, async (scorer, server) => {
    const began = performance.now();
    const [asked, first, second, third] = await many(scorer, 4);
    assert.ok(performance.now() - began < LATE * 3);
    assert.match(reasonOf(third!), /: too many messages wait for it$/);
    for (const waited of [first!, second!]) assert.match(reasonOf(waited), /: no (turn|answer) /);
    assert.match(reasonOf(asked!), /: no answer within/);
    assert.ok(server.connections <= 3);
  });
});

Deno.test("who had to wait cannot say that a scorer is silent", async () => {
  await withScorer({ deadline: 600, atOnce: 4 }, async (scorer, server) => {
    server.script = (socket) => setTimeout(() => good(socket), 400);
    const four = (result: string) => Array(4).fill(result);
    assert.deepEqual(results(await many(scorer, 8)), [...four("scored"), ...four("no answer")]);
    server.script = good;
    assert.equal((await scorer.score(scored())).result, "scored");
  });
});

Deno.test("those who wait when a scorer begins to rest go on at once", async () => {
  await withScorer({ atOnce: 3, deadline: 400 }, async (scorer, server) => {
    server.script = (socket) => setTimeout(() => socket.destroy(), 50);
    const began = performance.now();
    const scores = await many(scorer, 20);
    assert.ok(performance.now() - began < 300);
    assert.match(reasonOf(scores[19]!), /not asked after 3 failures in a row/);
    assert.ok(server.connections <= 5);
  });
});

Deno.test("closing gives up what is under way and what waits", async () => {
  await withScorer({ deadline: 60_000, atOnce: 2 }, async (scorer, server) => {
    const began = performance.now(), open = many(scorer, 4);
    await until(() => server.requests.length === 2, "two messages to be with the scorer");
    await scorer.close();
    assert.deepEqual((await open).map((score) => reasonOf(score).replace(/^.*PORT: /, "")), [
      "it was given up",
      "it was given up",
      "the server is stopping",
      "the server is stopping",
    ]);
    assert.match(reasonOf(await scorer.score(scored())), /stopping/);
    assert.ok(performance.now() - began < 5000);
    await server.left();
  });
});
