import assert from "node:assert/strict";
import { openLog } from "../../src/log.ts";
import { Closing, within } from "../../src/server/closing.ts";

Deno.test("what was opened last is closed first, once, and what cannot be closed keeps nothing else open", async () => {
  const said: string[] = [], closed: string[] = [];
  const closing = new Closing(openLog({ level: "info", format: "text", write: (line) => said.push(line) }));
  for (const name of ["first", "second", "third"]) {
    const added = closing.add(name, async (name) => {
      await Promise.resolve();
      closed.push(name);
      if (name === "second") throw new Error("it is stuck");
    });
    assert.equal(added, name);
  }
  assert.equal(closing.isBegun, false);
  const done = closing.close();
  assert.equal(closing.isBegun, true);
  await done;
  await closing.close();
  assert.deepEqual(closed, ["third", "second", "first"]);
  assert.match(said.join("\n"), /^\S+ error close-failed error="it is stuck"$/);
});

Deno.test("work is waited for, but no longer than that", async () => {
  let isDone = false;
  await within(10_000, Promise.resolve().then(() => void (isDone = true)));
  assert.ok(isDone);
  await within(10, new Promise(() => {}));
  await assert.rejects(within(10_000, Promise.reject(new Error("no"))), /no/);
});
