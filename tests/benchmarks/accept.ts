/**
 * Accepted messages a second, beside Postfix in the same run: `deno task bench`. Both take 4 KiB messages for a local
 * Maildir with all checks off and deliver them meanwhile, as they would. What counts is the ratio: machines are noisy.
 * ROUNDS and MESSAGES in the environment change how long it takes.
 */

import { startMaildemon } from "./maildemon.ts";
import { run, startPostfix } from "./postfix.ts";
import { median, percent, settled } from "./round.ts";

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 3), MESSAGES = Number(Deno.env.get("MESSAGES") ?? 5000);
const SESSIONS = [1, 10, 50];
const POSTFIX_PORT = 24525, OUR_PORT = 24526, STATUS_PORT = 24527;

const NO_CHECKS = `[checks]
spf = "off"
helo = "off"
dkim = "off"
dmarc = "off"
spam = "off"
[reputation]
mode = "off"
`;

const folder = await Deno.makeTempDir({ prefix: "maildemon-bench-" });
await Deno.chmod(folder, 0o755);
const postfix = await startPostfix(folder, POSTFIX_PORT);
const ours = await startMaildemon(folder, {
  port: OUR_PORT,
  statusPort: STATUS_PORT,
  more: NO_CHECKS,
});
try {
  console.log(`${MESSAGES} messages of 4096 bytes, ${ROUNDS} rounds, medians`);
  console.log("sessions   maildemon/s   Postfix/s   ratio   in the Maildir at the end: maildemon, Postfix");
  for (const sessions of SESSIONS) {
    const rates = { ours: [] as number[], postfix: [] as number[] };
    const share = { ours: [] as number[], postfix: [] as number[] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const [who, peer] of [["ours", ours], ["postfix", postfix]] as const) {
        await settled(peer);
        const before = await peer.delivered(), began = performance.now();
        await run("smtp-source", source(sessions, peer.port));
        rates[who].push(MESSAGES / ((performance.now() - began) / 1000));
        share[who].push(((await peer.delivered()) - before) / MESSAGES);
      }
    }
    const [mine, theirs] = [median(rates.ours), median(rates.postfix)];
    console.log(
      `${String(sessions).padStart(8)} ${mine.toFixed(0).padStart(13)} ${theirs.toFixed(0).padStart(11)} ` +
        `${(mine / theirs).toFixed(2).padStart(7)}   ${percent(share.ours)}, ${percent(share.postfix)}`,
    );
  }
} finally {
  await ours.stop();
  await postfix.stop();
  await Deno.remove(folder, { recursive: true });
}

function source(sessions: number, port: number): string[] {
  const load = ["-s", String(sessions), "-m", String(MESSAGES), "-l", "4096", "-d"];
  return [...load, "-f", "carol@remote.test", "-t", "ann@dev.test", `127.0.0.1:${port}`];
}
