/**
 * Accepted messages a second, beside Postfix in the same run: `deno task bench`. Both take 4 KiB messages for a local
 * Maildir with all checks off and deliver them meanwhile, as they would. What counts is the ratio: machines are noisy.
 * ROUNDS and MESSAGES in the environment change how long it takes.
 */

import { join } from "node:path";
import { run, startPostfix } from "./postfix.ts";

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 3), MESSAGES = Number(Deno.env.get("MESSAGES") ?? 5000);
const SESSIONS = [1, 10, 50];
const POSTFIX_PORT = 24525, OUR_PORT = 24526, STATUS_PORT = 24527;

const folder = await Deno.makeTempDir({ prefix: "maildemon-bench-" });
await Deno.chmod(folder, 0o755);
const postfix = await startPostfix(folder, POSTFIX_PORT);
const ours = await startMaildemon(folder);
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
    const percent = (values: readonly number[]) => `${Math.round(100 * median(values))} %`;
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

/** Waits until nothing is delivered any more, so that no round pays for the one before. */
async function settled(peer: { delivered(): Promise<number> }): Promise<void> {
  for (let last = -1;;) {
    const now = await peer.delivered();
    if (now === last) return;
    last = now;
    await new Promise((done) => setTimeout(done, 500));
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}

async function startMaildemon(folder: string) {
  const store = join(folder, "store"), file = join(folder, "config.toml");
  await Deno.writeTextFile(
    file,
    `hostname = "mail.dev.test"
store = "${store}"
[[domains]]
name = "dev.test"
catch_all = "ann@dev.test"
[[listeners]]
address = "127.0.0.1:${OUR_PORT}"
kind = "mx"
[limits]
max_messages_per_session = 1000000
[checks]
spf = "off"
[status]
listen = "127.0.0.1:${STATUS_PORT}"
[log]
level = "info"
`,
  );
  const main = new URL("../../src/main.ts", import.meta.url).pathname;
  const maildemon = (args: string[], input?: string) => {
    const all = ["run", "--quiet", "-A", ...profile(args), main, "--config", file, ...args];
    const child = new Deno.Command(Deno.execPath(), { args: all, stdin: "piped", stdout: "null", stderr: "null" })
      .spawn();
    const writer = child.stdin.getWriter();
    if (input !== undefined) writer.write(new TextEncoder().encode(input)).catch(() => {});
    writer.close().catch(() => {});
    return child;
  };
  await maildemon(["user", "add", "ann@dev.test"], "benchmark\n").status;
  const server = maildemon(["serve"]);
  for (let tries = 100; tries > 0; tries--) {
    const up = await fetch(`http://127.0.0.1:${STATUS_PORT}/readyz`).then((answer) => answer.text()).catch(() => "");
    if (up !== "") break;
    await new Promise((done) => setTimeout(done, 100));
  }
  return {
    port: OUR_PORT,
    async delivered() {
      const text = await (await fetch(`http://127.0.0.1:${STATUS_PORT}/metrics`)).text();
      return Number(/event="recipient-delivered"} (\d+)/.exec(text)?.[1] ?? 0);
    },
    async stop() {
      server.kill("SIGTERM");
      await server.status;
    },
  };
}

/** PROFILE=FILE writes a V8 profile of the server. */
function profile(args: readonly string[]): string[] {
  const file = Deno.env.get("PROFILE");
  return file !== undefined && args[0] === "serve" ? [`--cpu-prof`, `--cpu-prof-dir=${file}`] : [];
}
