/**
 * Another process stores and removes messages, and deletes segments that are done with. Whoever holds the journal
 * meanwhile sees it as it was at one moment: all that was acknowledged before, and nothing that was gone before.
 */
import assert from "node:assert/strict";
import { HeldJournal } from "../../src/queue/held_journal.ts";
import { until } from "../support/letters.ts";
import { inFolder, letter, segmentsOf, store, withSpool } from "./spooled.ts";

const HOLDS = 40;

Deno.test(`a journal that is held ${HOLDS} times while it is written is whole each time`, async () => {
  await inFolder(async (folder) => {
    const script = new URL("kill_child.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--quiet", "--allow-read", "--allow-write", script, folder],
      stdout: "piped",
    }).spawn();
    const stored = new Set<string>(), leaving = new Set<string>(), gone = new Set<string>();
    const reading = (async () => {
      let rest = "";
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          const id = line.slice(1, 13);
          if (line[0] === "+") stored.add(id);
          else if (line[0] === "?") leaving.add(id);
          else if (line[0] === "-") gone.add(id);
        }
      }
    })();
    const first = new Set<string>();
    let messages = 0;
    try {
      await until(() => stored.size > 200, "messages");
      for (const name of segmentsOf(folder)) first.add(name);
      for (let hold = 0; hold < HOLDS; hold++) {
        const sure = [...stored].filter((id) => !leaving.has(id)), over = [...gone];
        using held = await HeldJournal.open(folder);
        // What it holds stays as it is, whatever comes between.
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
        const { messages: found, unreadable, gaps } = held.read({ bodies: true });
        assert.deepEqual([[...unreadable], gaps], [[], []]);
        messages += found.size;
        for (const id of over) assert.ok(!found.has(id), `${id} was gone`);
        const missing = sure.filter((id) => !found.has(id));
        const heard = stored.size + 50;
        await until(() => stored.size > heard, "more to be said");
        assert.deepEqual(missing.filter((id) => !leaving.has(id)), []);
      }
      const deleted = [...first].filter((name) => !segmentsOf(folder).includes(name));
      assert.ok(deleted.length > 0, "no segment was deleted meanwhile");
      assert.ok(messages > HOLDS);
    } finally {
      child.kill("SIGKILL");
      await reading;
      await child.status;
    }
  });
});

Deno.test("a queue that does not exist is held as an empty one, and is not made", async () => {
  await inFolder(async (folder) => {
    using held = await HeldJournal.open(`${folder}/queue`);
    assert.deepEqual([...held.read({ bodies: true }).messages], []);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("a record that is being written is no fault; an older file that is shorter than it was is one", async () => {
  await inFolder(async (folder) => {
    const ids = await withSpool(folder, async (spool) => [
      (await store(spool, letter(300, 1))).id,
      (await store(spool, letter(300, 2))).id,
    ]);
    const [name = ""] = segmentsOf(folder), path = `${folder}/${name}`, { size } = await Deno.stat(path);
    const seen = async () => {
      using held = await HeldJournal.open(folder);
      const { messages, unreadable, gaps } = held.read({ bodies: true });
      return { messages: [...messages.keys()], unreadable: [...unreadable.keys()], gaps };
    };
    assert.deepEqual(await seen(), { messages: ids, unreadable: [], gaps: [] });
    const whole = await Deno.readFile(path);
    await Deno.truncate(path, size - 10);
    assert.deepEqual(await seen(), { messages: ids.slice(0, 1), unreadable: [], gaps: [] });
    await Deno.writeFile(path, whole);
    // The next file says how long this one was.
    const third = await withSpool(folder, async (spool) => (await store(spool, letter(300, 3))).id);
    assert.deepEqual(await seen(), { messages: [...ids, third], unreadable: [], gaps: [] });
    await Deno.truncate(path, size - 10);
    const { messages, gaps } = await seen();
    assert.deepEqual(messages, [ids[0], third]);
    assert.ok(gaps.some((gap) => gap.name === name && gap.from === size - 10 && gap.to === size), JSON.stringify(gaps));
  });
});
