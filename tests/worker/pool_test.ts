import assert from "node:assert/strict";
import { WORKER_POOL, WorkerPool, type WorkerPoolSettings } from "../../src/worker/pool.ts";

function poolOf(settings: Partial<WorkerPoolSettings> = {}, greeting = "hello") {
  const start = () => new Worker(new URL("./echo_worker.ts", import.meta.url), { type: "module" });
  return new WorkerPool<{ greeting: string }, string, string>(start, { greeting }, { ...WORKER_POOL, ...settings });
}

Deno.test("pool answers each job with what its thread was prepared with", async () => {
  const pool = poolOf();
  const answers = await Promise.all(["a", "b", "c", "d", "e"].map((word) => pool.run(word)));
  assert.deepEqual(answers, ["hello a", "hello b", "hello c", "hello d", "hello e"]);
  await assert.rejects(pool.run("throw"), /told to/);
  assert.equal(await pool.run("f"), "hello f");
  pool.close();
});

Deno.test("pool ends a job that does not end, and goes on with a new thread", async () => {
  const pool = poolOf({ workers: 1, deadline: 100 });
  const spinning = assert.rejects(pool.run("spin"), /more than 100 ms/);
  const next = pool.run("next");
  await spinning;
  assert.equal(await next, "hello next");
  pool.close();
});

Deno.test("pool survives a thread that breaks", async () => {
  const pool = poolOf({ workers: 1 });
  await pool.run("crash");
  // The thread may break before or while it has the next job.
  await pool.run("x").catch(() => {});
  assert.equal(await pool.run("y"), "hello y");
  pool.close();
});

Deno.test("pool says why a thread cannot be prepared", async () => {
  const pool = poolOf({}, "");
  await assert.rejects(pool.run("a"), /no greeting/);
  pool.close();
});

Deno.test("pool lets only so many wait, and none after it is closed", async () => {
  const pool = poolOf({ workers: 1, waiting: 2 });
  const first = [pool.run("a"), pool.run("b")].map((run) => assert.rejects(run, /stopped/));
  await assert.rejects(pool.run("c"), /2 jobs wait/);
  pool.close();
  await Promise.all(first);
  await assert.rejects(pool.run("d"), /stopped/);
});

Deno.test("pool does not let a job wait for ever", async () => {
  const pool = poolOf({ workers: 1, patience: 50, deadline: 2000 });
  // Until its thread is there.
  for (let isDone = false; !isDone;) isDone = await pool.run("a").then(() => true, () => false);
  const spinning = assert.rejects(pool.run("spin"), /stopped/);
  await assert.rejects(pool.run("a"), /No worker was free within 50 ms/);
  pool.close();
  await spinning;
});
