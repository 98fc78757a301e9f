import assert from "node:assert/strict";
import type { Generation } from "../../src/server/generation.ts";
import { InForce } from "../../src/server/in_force.ts";

const fail = (error: unknown) => assert.fail(String(error));

/** Says what happens to it, and does nothing else. */
function generation(name: string, told: string[], close: () => Promise<void> = () => Promise.resolve()): Generation {
  return {
    name,
    begin: () => void told.push(`${name} begins`),
    end: () => Promise.resolve(void told.push(`${name} ends`)),
    close: async () => {
      told.push(`${name} is closed`);
      await close();
    },
  } as unknown as Generation;
}

Deno.test("an old version ends at once, and is closed when the last who began with it is done", () => {
  const told: string[] = [], inForce = new InForce(generation("first", told), fail);
  const one = inForce.hold(), other = inForce.hold();
  inForce.replace(generation("second", told));
  assert.deepEqual(told, ["first begins", "first ends", "second begins"]);
  assert.notEqual(inForce.hold().generation, one.generation);
  one.release();
  one.release();
  assert.equal(inForce.size, 2);
  other.release();
  assert.deepEqual(told.slice(3), ["first is closed"]);
  assert.equal(inForce.size, 1);
});

Deno.test("a version that nobody uses is closed when it is replaced, and not before", async () => {
  const told: string[] = [], inForce = new InForce(generation("first", told), fail);
  await assert.rejects(inForce.use(() => Promise.reject(new Error("trouble"))), /trouble/);
  assert.deepEqual(told, ["first begins"]);
  inForce.replace(generation("second", told));
  assert.deepEqual(told, ["first begins", "first ends", "second begins", "first is closed"]);
});

Deno.test("the end closes every version, used or not, and none of them twice", async () => {
  const told: string[] = [], inForce = new InForce(generation("first", told), fail);
  const { release } = inForce.hold();
  inForce.replace(generation("second", told));
  await inForce.close();
  release();
  assert.deepEqual(told.filter((one) => one.endsWith("closed")).sort(), ["first is closed", "second is closed"]);
});

Deno.test("the end waits for a version whose closing is under way: what it stands on must not go first", async () => {
  const told: string[] = [], slow = Promise.withResolvers<void>();
  const inForce = new InForce(generation("first", told, () => slow.promise), fail);
  inForce.replace(generation("second", told));
  const closed = inForce.close().then(() => told.push("all is closed"));
  await new Promise((done) => setTimeout(done, 0));
  assert.deepEqual(told.slice(-2), ["first is closed", "second is closed"]);
  slow.resolve();
  await closed;
  assert.equal(told.at(-1), "all is closed");
});

Deno.test("trouble with closing an old version is told, and disturbs nobody", async () => {
  const failures: unknown[] = [];
  const inForce = new InForce(
    generation("first", [], () => Promise.reject(new Error("stuck"))),
    (error) => failures.push(error),
  );
  inForce.replace(generation("second", []));
  await new Promise((done) => setTimeout(done, 0));
  assert.match(String(failures), /stuck/);
});
