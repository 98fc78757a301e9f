/** The whole server asks a real rspamd and a real spamd. Where one is missing its test says so and is skipped. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { openScorer, type ScorerSetting } from "../src/check/scorer.ts";
import { interop, type Program } from "./interoperability/programs.ts";
import { letter, send, until } from "./support/letters.ts";
import { ANN, LocalServer } from "./support/local_server.ts";
import { maildemon } from "./support/running_server.ts";
import { type RunningScorer, startRspamd, startSpamd } from "./support/scorers.ts";
import { GTUBE, ORDINARY, scored } from "./support/scripted_scorer.ts";

interface Filter {
  readonly program: Program;
  readonly start: () => Promise<RunningScorer>;
  readonly setting: (port: number) => ScorerSetting;
}

const FILTERS: readonly Filter[] = [
  { program: "rspamd", start: startRspamd, setting: (port) => ({ by: "rspamd", url: `http://127.0.0.1:${port}` }) },
  { program: "spamd", start: startSpamd, setting: (port) => ({ by: "spamd", host: "127.0.0.1", port }) },
];

/** Nobody's spam reaches a score beyond the limit of Bob. */
const BOB = { address: "bob@ours.test", password: "Rose-9 garden", spamLimit: 9000 };
const FROM = "carol@remote.test";

async function handIn(server: LocalServer, body: string, ...recipients: string[]): Promise<string> {
  const peer = await server.outside(30_000);
  try {
    return await send(peer, FROM, recipients, letter(body, FROM));
  } finally {
    peer.close();
  }
}

function idOf(said: string): string {
  return /^250 2\.0\.0 Queued as (\S+)$/.exec(said)?.[1] ?? assert.fail(said);
}

/** Waits until the story is told. */
async function storyOf(server: LocalServer, what: string): Promise<string> {
  let out = "";
  await until(
    async () => (out = (await maildemon(server.configFile, ["why", what])).out) !== "",
    `the story of ${what}`,
  );
  return out;
}

for (const { program, start, setting } of FILTERS) {
  interop(`server refuses and files by the score of ${program}, and goes on without it`, [program], async () => {
    await using running = await start();
    // Cold it may take longer than a message waits for it.
    const warming = openScorer(setting(running.port), { deadline: 60_000, connect: 10_000 });
    assert.equal((await warming.score(scored(GTUBE))).result, "scored");
    await warming.close();
    await using server = await LocalServer.open({ checks: `spam = "${running.setting}"`, users: [ANN, BOB] });

    // Spam for all who are to get it.
    const refused = await handIn(server, GTUBE, ANN.address);
    assert.match(refused, /^550 5\.7\.1 This looks like spam to us: score [\d.]+, limit 10$/);
    const why = await storyOf(server, ANN.address);
    assert.match(why, /scorer +[\d.]+: .*\bGTUBE\b/);
    assert.ok(why.includes(`checks.spam_limit = 10`), why);
    assert.deepEqual(await server.inbox(), []);

    const ordinary = idOf(await handIn(server, ORDINARY, ANN.address));
    await server.emptyQueue();
    const [arrived = "", ...more] = await server.inbox();
    assert.ok(arrived.endsWith(ORDINARY) && more.length === 0, arrived);
    assert.doesNotMatch(arrived, /^X-Spam:/m);
    assert.match(await storyOf(server, ordinary), /scorer +-?[\d.]+: /);

    // One wants it all the same; the other one finds it in the junk.
    idOf(await handIn(server, GTUBE, ANN.address, BOB.address));
    await server.emptyQueue();
    const [wanted = ""] = await server.inbox("bob"), [junk = ""] = await server.inbox(join("ann", ".Junk"));
    assert.ok(wanted.endsWith(GTUBE) && junk.endsWith(GTUBE));
    assert.doesNotMatch(wanted, /^X-Spam:/m);
    assert.match(junk, /^X-Spam: yes, score=[\d.]+\r$/m);
    assert.equal((await server.inbox()).length, 1);

    await running.stop();
    const unscored = idOf(await handIn(server, GTUBE, ANN.address));
    await server.emptyQueue();
    assert.equal((await server.inbox()).filter((text) => text.endsWith(GTUBE)).length, 1);
    assert.match(await storyOf(server, unscored), new RegExp(`scorer +no answer: ${program} at 127\\.0\\.0\\.1`));
  });
}
