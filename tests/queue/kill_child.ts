/**
 * The victim of kill_test.ts: stores, tries and removes messages until it is killed, and prints what was acknowledged.
 * `+ID SEED` stored, `~ID ATTEMPTS` recorded, `?ID` about to be removed, `-ID` removed.
 */
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { letter, store } from "./spooled.ts";

const [folder = ""] = Deno.args;
const spool = await Spool.open({ folder, log: silent, segmentSize: 2 * 1024 * 1024 });
const utf8 = new TextEncoder();

// Synchronous: what was acknowledged must have left before the process can be killed for the next thing it does.
function say(line: string): void {
  const bytes = utf8.encode(`${line}\n`);
  for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
}

async function session(): Promise<void> {
  for (;;) {
    const seed = Math.floor(Math.random() * 1000);
    const { id } = await store(spool, letter(lengthOf(seed), seed));
    say(`+${id} ${seed}`);
    if (Math.random() < 0.5) {
      await spool.record(id, new Map([[0, { state: "waiting", attempts: seed, due: 0 }]]));
      say(`~${id} ${seed}`);
    }
    if (Math.random() < 0.9) await remove(id);
  }
}

async function remove(id: string): Promise<void> {
  say(`?${id}`);
  await spool.remove(id);
  say(`-${id}`);
}

function lengthOf(seed: number): number {
  return seed % 20 === 0 ? 400_000 : 500 + 7 * seed;
}

say("ready");
const earlier = [...spool.entries()].map(({ id }) => id).filter(() => Math.random() < 0.5);
await Promise.all([...earlier.map(remove), ...Array.from({ length: 20 }, session)]);
