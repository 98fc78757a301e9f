/**
 * What the checks cost, beside Postfix in the same run: `deno task bench:checks`. Unsigned mail: maildemon with all
 * its checks on, Postfix with none. Signed mail: maildemon as before, Postfix with OpenDKIM and policyd-spf. All ask
 * one name server on this machine. Needs root and Debian's packages; it says which ones are missing.
 * ROUNDS and MESSAGES in the environment change how long it takes, PROFILE=FOLDER writes a V8 profile of the server.
 */

import { join } from "node:path";
import { find } from "../interoperability/programs.ts";
import { startFilters, startNameServer } from "./filters.ts";
import { HELLO, RECIPIENT, SENDER, writeLetters } from "./letters.ts";
import { startMaildemon } from "./maildemon.ts";
import { type Peer, run, startPostfix } from "./postfix.ts";
import { type Root, since, type Spent, spent } from "./processor.ts";
import { MARKS, missingChecks } from "./proof.ts";
import { median, percent, settled } from "./round.ts";

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 3), MESSAGES = Number(Deno.env.get("MESSAGES") ?? 5000);
/** Each peer gets so many of each kind before it counts: what is compiled while it runs takes a thousand a thread. */
const WARM_UP = Math.min(MESSAGES, 2000);
const SESSIONS = 10;
const PLAIN_PORT = 24525, OUR_PORT = 24526, STATUS_PORT = 24527, CHECKED_PORT = 24528;

/** Loopback is a stranger like any other. */
const ALL_CHECKS = `[checks]
spf = "reject-unsigned"
helo = "note"
dkim = "note"
dmarc = "obey"
dnsbl = [{ zone = "dnsbl.test", weight = 4 }]
spam = "builtin"
[reputation]
mode = "enforce"
rules = "prefix"
exempt = []
`;

interface Side {
  readonly peer: Peer;
  /** Whose time counts as its own. */
  readonly processes: readonly Root[];
  readonly rates: number[];
  readonly shares: number[];
  readonly spent: Spent[];
}

demandPrograms();
const folder = await Deno.makeTempDir({ prefix: "maildemon-bench-" });
const stops: (() => Promise<void>)[] = [() => Deno.remove(folder, { recursive: true })];
try {
  await Deno.chmod(folder, 0o755);
  const letters = await writeLetters(folder);
  const names = await startNameServer(letters.zone);
  stops.push(names.stop);
  const more = `[dns]\nservers = ["${names.address}"]\n${ALL_CHECKS}`;
  const ours = await startMaildemon(folder, { port: OUR_PORT, statusPort: STATUS_PORT, more });
  stops.push(ours.stop);
  const plain = await startPostfix(join(folder, "plain"), PLAIN_PORT);
  stops.push(plain.stop);
  const filters = await startFilters(folder, names.address);
  stops.push(filters.stop);
  const checked = await startPostfix(join(folder, "checked"), CHECKED_PORT, filters);
  stops.push(checked.stop);

  const side = (peer: Peer, ...others: Root[]): Side => {
    const processes = [...peer.processes.map((id) => ({ id })), { id: names.process, as: "name server" }, ...others];
    return { peer, processes, rates: [], shares: [], spent: [] };
  };
  const openDkim = { id: filters.process, as: "opendkim" };
  const races = [
    { kind: "unsigned", file: letters.unsigned, ours: side(ours), postfix: side(plain), asked: 1.5 },
    { kind: "signed", file: letters.signed, ours: side(ours), postfix: side(checked, openDkim), asked: 3 },
  ] as const;

  for (const { file, ours, postfix } of races) {
    for (const { peer } of [ours, postfix]) await send(peer, file, WARM_UP);
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const { file, ours, postfix } of races) {
      for (const one of [ours, postfix]) await measure(one, file);
    }
  }

  console.log(`${MESSAGES} messages of 4096 bytes, ${SESSIONS} sessions, ${ROUNDS} rounds, medians`);
  console.log(
    "mail       maildemon/s   Postfix/s   ratio   (rounds)      asked   delivered meanwhile: maildemon, Postfix",
  );
  for (const { kind, ours, postfix, asked } of races) {
    const ratios = ours.rates.map((rate, round) => rate / (postfix.rates[round] ?? NaN));
    const [mine, theirs] = [median(ours.rates), median(postfix.rates)];
    console.log(
      `${kind.padEnd(8)} ${mine.toFixed(0).padStart(13)} ${theirs.toFixed(0).padStart(11)} ` +
        `${(mine / theirs).toFixed(2).padStart(7)}   ` +
        `(${Math.min(...ratios).toFixed(2)} … ${Math.max(...ratios).toFixed(2)}) ${
          `≥ ${asked.toFixed(1)}`.padStart(7)
        }   ` +
        `${percent(ours.shares)}, ${percent(postfix.shares)}`,
    );
  }
  console.log(
    "\nProcessor time for each message while they came in, ms, the name server's included, smtp-source's not.",
  );
  console.log("Postfix's cleanup and virtual end after 100 uses and are then among the ended children.");
  for (const { kind, ours, postfix } of races) for (const one of [ours, postfix]) console.log(timeOf(kind, one));

  for (const { peer } of races.flatMap(({ ours, postfix }) => [ours, postfix])) await settled(peer);
  const missing = (await Promise.all(races.flatMap(({ kind, ours, postfix }) => [
    missingChecks(ours.peer, kind, MARKS.maildemon[kind]),
    missingChecks(postfix.peer, kind, MARKS.postfix[kind]),
  ]))).flat();
  for (const line of missing) console.error(`\n!!! NOT CHECKED, so these figures say nothing: ${line}`);
  if (missing.length === 0) console.log("\nEach message that was delivered bears the marks of all checks.");
  else Deno.exitCode = 1;
} finally {
  for (const stop of stops.toReversed()) await stop();
}

async function measure({ peer, processes, rates, shares, spent: times }: Side, file: string): Promise<void> {
  await settled(peer);
  const delivered = await peer.delivered(), before = await spent(processes), began = performance.now();
  await send(peer, file, MESSAGES);
  const seconds = (performance.now() - began) / 1000;
  times.push(since(before, await spent(processes)));
  rates.push(MESSAGES / seconds);
  shares.push(((await peer.delivered()) - delivered) / MESSAGES);
}

async function send(peer: Peer, file: string, messages: number): Promise<void> {
  const load = ["-s", String(SESSIONS), "-m", String(messages), "-F", file, "-d", "-M", HELLO];
  await run("smtp-source", [...load, "-f", SENDER, "-t", RECIPIENT, `127.0.0.1:${peer.port}`]);
}

/** The greatest first; what is less than a hundredth of the whole is left out. */
function timeOf(kind: string, { peer, spent }: Side): string {
  const sums = new Map<string, number>();
  for (const times of spent) {
    for (const [name, seconds] of times) sums.set(name, (sums.get(name) ?? 0) + 1000 * seconds / (ROUNDS * MESSAGES));
  }
  const all = [...sums.values()].reduce((sum, one) => sum + one, 0);
  const parts = [...sums].filter(([, one]) => one >= all / 100).toSorted(([, one], [, other]) => other - one);
  const list = parts.map(([name, one]) => `${name} ${one.toFixed(2)}`).join(", ");
  return `${kind.padEnd(8)} ${peer.name.padEnd(9)} ${all.toFixed(2).padStart(6)}: ${list}`;
}

function demandPrograms(): void {
  const packages = { postfix: "postfix", "smtp-source": "postfix", opendkim: "opendkim" };
  const more = { "policyd-spf": "postfix-policyd-spf-python", unshare: "util-linux" };
  const missing = Object.entries({ ...packages, ...more }).filter(([program]) => find(program) === undefined);
  const why = missing.map(([program, name]) => `${program} is missing: install the Debian package ${name}.`);
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) why.push("This needs Linux and root.");
  if (why.length === 0) return;
  for (const line of why) console.error(line);
  Deno.exit(1);
}
