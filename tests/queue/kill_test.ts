/**
 * A process that stores mail is killed at random moments, again and again on the same folder. After each kill all that
 * it acknowledged must be there, byte for byte, and nothing that it acknowledged as removed. `KILLS` says how often.
 */
import assert from "node:assert/strict";
import { assertSameBytes, inFolder, letter, read, withSpool } from "./spooled.ts";

const KILLS = Number(Deno.env.get("KILLS") ?? 10);

interface Known {
  readonly seed: number;
  attempts: number;
  /** Its removal was begun: it may be there or not. */
  leaving: boolean;
}

Deno.test(`nothing that was acknowledged is lost in ${KILLS} kills`, async () => {
  await inFolder(async (folder) => {
    const known = new Map<string, Known>(), removed = new Set<string>();
    let stored = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      for (const line of await runAndKill(folder, 20 + Math.random() * 300)) {
        const id = line.slice(1, 13), number = Number(line.slice(14));
        const message = known.get(id);
        if (line[0] === "+") known.set(id, { seed: number, attempts: 0, leaving: false }), stored++;
        else if (line[0] === "~" && message) message.attempts = number;
        else if (line[0] === "?" && message) message.leaving = true;
        else if (line[0] === "-") known.delete(id), removed.add(id);
      }
      await withSpool(folder, async (spool) => {
        assert.equal(spool.setAside, 0);
        for (const { id, standings } of spool.entries()) {
          assert.ok(!removed.has(id), `${id} was removed`);
          const message = known.get(id);
          // Stored and not acknowledged: allowed, the sender will send it again. From now on it must stay.
          if (message === undefined) {
            known.set(id, { seed: -1, attempts: standings[0]?.attempts ?? 0, leaving: false });
            continue;
          }
          // An outcome may be on disk though the process had no time to say so; never the other way round.
          assert.ok([message.attempts, message.seed].includes(standings[0]?.attempts ?? -1), `standing of ${id}`);
          message.attempts = standings[0]?.attempts ?? 0;
          if (message.leaving) message.leaving = false;
        }
        for (const [id, { seed, leaving }] of known) {
          if (spool.entry(id) === undefined) {
            assert.ok(leaving, `${id} was acknowledged and is lost`);
            known.delete(id);
            removed.add(id);
          } else if (seed >= 0) {
            const length = seed % 20 === 0 ? 400_000 : 500 + 7 * seed;
            assertSameBytes(await read(spool.content(id)), letter(length, seed));
          }
        }
      });
    }
    console.log(`  ${KILLS} kills, ${stored} stored, ${removed.size} removed, ${known.size} in the queue`);
    assert.ok(stored > KILLS);
  });
});

/** The lines that the child could print until it was killed, `wait` ms after it was ready. */
async function runAndKill(folder: string, wait: number): Promise<string[]> {
  const script = new URL("kill_child.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--quiet", "--allow-read", "--allow-write", script, folder],
    stdout: "piped",
  }).spawn();
  let text = "", timer: ReturnType<typeof setTimeout> | undefined;
  const decoder = new TextDecoder();
  for await (const bytes of child.stdout) {
    text += decoder.decode(bytes, { stream: true });
    if (timer === undefined && text.startsWith("ready\n")) timer = setTimeout(() => child.kill("SIGKILL"), wait);
  }
  const { signal } = await child.status;
  assert.equal(signal, "SIGKILL");
  // A line without its end was not said.
  return text.split("\n").slice(1, -1);
}
