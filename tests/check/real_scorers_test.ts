/** rspamd and SpamAssassin as Debian has them. Where one is missing its tests say so and are skipped. */

import assert from "node:assert/strict";
import type { Score } from "../../src/check/score.ts";
import { openScorer, type ScorerSetting } from "../../src/check/scorer.ts";
import { type RunningScorer, startRspamd, startSpamd } from "../support/scorers.ts";
import { GTUBE, ORDINARY, scored } from "../support/scripted_scorer.ts";
import { interop, type Program } from "../interoperability/programs.ts";

interface Filter {
  readonly program: Program;
  readonly start: () => Promise<RunningScorer>;
  readonly setting: (port: number) => ScorerSetting;
  /** The least that it gives GTUBE, and from where on it calls something spam. */
  readonly gtube: number;
  readonly required: number;
}

const FILTERS: readonly Filter[] = [
  {
    program: "rspamd",
    start: startRspamd,
    setting: (port) => ({ by: "rspamd", url: `http://127.0.0.1:${port}` }),
    gtube: 15,
    required: 15,
  },
  {
    program: "spamd",
    start: startSpamd,
    setting: (port) => ({ by: "spamd", host: "127.0.0.1", port }),
    gtube: 1000,
    required: 5,
  },
];

function there(score: Score): Extract<Score, { result: "scored" }> {
  assert.ok(score.result === "scored", JSON.stringify(score));
  return score;
}

for (const { program, start, setting, gtube, required } of FILTERS) {
  interop(
    `${program} scores spam high and an ordinary message low, and its absence costs nothing`,
    [program],
    async () => {
      await using running = await start();
      // They start slowly beside other tests, and spamd compiles its rules with its first message.
      const scorer = openScorer(setting(running.port), { deadline: 60_000, connect: 10_000 });
      const spam = there(await scorer.score(scored(GTUBE)));
      assert.ok(spam.score >= gtube, JSON.stringify(spam));
      assert.equal(spam.required, required);
      assert.ok(spam.symbols.some(({ name }) => name === "GTUBE"));

      const ham = there(await scorer.score(scored(ORDINARY)));
      assert.ok(ham.score < required, JSON.stringify(ham));
      // What the last line lacks, and what a peer says, must not hold it up.
      const evil = 'x\r\n\r\n"\0';
      there(
        await scorer.score(
          scored(`${ORDINARY}no end`, { helo: evil, sender: evil, recipients: [evil, "é@ours.test"] }),
        ),
      );
      there(await scorer.score(scored(ORDINARY, { sender: "", recipients: Array(500).fill("bob@ours.test") })));
      there(await scorer.score(scored(ORDINARY.repeat(20_000))));

      await running.stop();
      const began = performance.now(), score = await scorer.score(scored());
      assert.equal(score.result, "no answer");
      assert.ok(performance.now() - began < 2000);
      await scorer.close();
    },
  );
}

interop("rspamd knows of peer and envelope what it was told", ["rspamd"], async () => {
  await using running = await startRspamd();
  const scorer = openScorer({ by: "rspamd", url: `http://127.0.0.1:${running.port}` }, {
    deadline: 60_000,
    connect: 10_000,
  });
  const symbols = async (parts: Parameters<typeof scored>[1]) =>
    there(await scorer.score(scored(ORDINARY, parts))).symbols.map(({ name }) => name);
  const plain = await symbols({});
  assert.ok(plain.includes("FROM_EQ_ENVFROM") && plain.includes("TO_MATCH_ENVRCPT_ALL"), plain.join());
  const forged = await symbols({ sender: "eve@other.test", recipients: ["mallory@other.test"] });
  assert.ok(forged.includes("FROM_NEQ_ENVFROM") && forged.includes("FORGED_RECIPIENTS"), forged.join());
  await scorer.close();
});
