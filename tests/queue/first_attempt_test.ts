/** A sender who waits on the line hears one thing: the refusal, or a promise. */

import assert from "node:assert/strict";
import type { Deliver, Outcome } from "../../src/queue/entry.ts";
import { settle } from "../support/manual_clock.ts";
import { envelope } from "../support/memory_spool.ts";
import { DAY, MINUTE, NO, said, World } from "./world.ts";

async function handIn(world: World, ...to: string[]) {
  const entry = await world.spool.put(envelope(to, { arrived: world.clock.now() }));
  const answer: { heard: string | undefined } = { heard: undefined };
  world.queue.firstAttempt(entry, 45_000).then((reply) => answer.heard = reply?.text ?? "taken");
  await settle();
  return { id: entry.id, answer };
}

/** Attempts that end when the test says so. */
function byHand(world: World) {
  const ends: ((says: keyof typeof said) => void)[] = [];
  const deliver: Deliver = (job) =>
    new Promise((resolve) =>
      ends.push((says) => resolve(job.recipients.map((recipient): Outcome => ({ recipient, ...said[says] }))))
    );
  world.start({ deliver });
  return ends;
}

Deno.test("a first attempt that all refuse is the answer: nothing is left, and nobody is written to", async () => {
  const world = new World().start();
  world.answer = () => "no";
  const { answer } = await handIn(world, "a@there.test", "b@far.test");
  assert.equal(answer.heard, NO.text);
  assert.equal(world.spool.size, 0);
  await world.clock.advance(6 * DAY);
  assert.deepEqual(world.bounces(), []);
  assert.deepEqual(world.sent.sort(), ["a@there.test", "b@far.test"]);
});

Deno.test("a first attempt that some take, or that is put off, is a promise, and failures bounce", async () => {
  for (const other of ["ok", "later", "away"] as const) {
    const world = new World().start();
    world.answer = (address) => address.startsWith("no") ? "no" : address.startsWith("ann") ? "ok" : other;
    const { answer } = await handIn(world, "no@there.test", "other@far.test");
    assert.equal(answer.heard, "taken", other);
    await world.clock.advance(2 * MINUTE);
    assert.equal(world.sentTo("ann@ours.test"), 1, other);
  }
});

Deno.test("whoever is tired of waiting is promised, and hears of a later refusal by a bounce", async () => {
  const world = new World(), ends = byHand(world);
  const { answer, id } = await handIn(world, "a@there.test");
  await world.clock.advance(44_999);
  assert.equal(answer.heard, undefined);
  await world.clock.advance(1);
  assert.equal(answer.heard, "taken");
  ends[0]!("no");
  await settle();
  await world.clock.advance(2 * MINUTE);
  assert.equal(world.queue.byHand.show(id), undefined);
  assert.equal(ends.length, 2, "the bounce is on its way");
});

Deno.test("a refusal that is being written down cannot turn into a promise, however long the disk takes", async () => {
  const world = new World(), ends = byHand(world);
  let write: () => void = () => {};
  const { answer } = await handIn(world, "a@there.test");
  const remove = world.spool.remove.bind(world.spool);
  world.spool.remove = async (id) => {
    await new Promise<void>((resolve) => write = resolve);
    await remove(id);
  };
  ends[0]!("no");
  await settle();
  await world.clock.advance(2 * MINUTE);
  assert.equal(answer.heard, undefined);
  write();
  await settle();
  assert.equal(answer.heard, NO.text);
  await world.clock.advance(6 * DAY);
  assert.equal(ends.length, 1, "no bounce");
});

Deno.test("a refusal that cannot be written down is a promise, and a bounce when the disk is well again", async () => {
  const world = new World(), ends = byHand(world);
  const { answer } = await handIn(world, "a@there.test");
  world.spool.failures = 1;
  ends[0]!("no");
  await settle();
  assert.equal(answer.heard, "taken");
  await world.clock.advance(2 * MINUTE);
  assert.equal(ends.length, 2);
});

Deno.test("a queue that does not run promises at once", async () => {
  const world = new World();
  world.open();
  const { answer } = await handIn(world, "a@there.test");
  assert.equal(answer.heard, "taken");
});

Deno.test("who is refused in one lane is not written to while another is awaited, and not at all when both refuse", async () => {
  const world = new World(), ends = byHand(world);
  const entry = await world.spool.put(envelope(["a@there.test", "b@far.test"], { arrived: world.clock.now() }));
  let heard: string | undefined;
  world.queue.firstAttempt(entry, 5 * MINUTE).then((reply) => heard = reply?.text ?? "taken");
  await settle();
  ends[0]!("no");
  await world.clock.advance(4 * MINUTE);
  assert.deepEqual([heard, world.bounces()], [undefined, []], "a minute would be the time to tell");
  ends[1]!("no");
  await settle();
  assert.equal(heard, NO.text);
  await world.clock.advance(6 * DAY);
  assert.deepEqual([world.spool.size, ends.length], [0, 2]);
});

Deno.test("that it goes to several does not make a message taken that all of them refuse", async () => {
  const world = new World().start();
  world.answer = (address) => address === "team@ours.test" ? "ok" : "no";
  const team = {
    address: "team@ours.test",
    target: { to: "nowhere", because: "expanded" },
    notify: ["SUCCESS"],
  } as const;
  const entry = await world.spool.put(envelope(["a@there.test", "b@far.test", team]));
  const reply = await world.queue.firstAttempt(entry, 45_000);
  assert.equal(reply?.text, NO.text);
  await world.clock.advance(DAY);
  assert.deepEqual([world.spool.size, world.bounces()], [0, []]);
  assert.equal(world.sentTo("ann@ours.test"), 0);
});

Deno.test("what is given up by hand while its sender waits is a promise and a bounce", async () => {
  const world = new World(), ends = byHand(world);
  const entry = await world.spool.put(envelope(["a@there.test", "b@far.test"]));
  let heard: string | undefined;
  world.queue.firstAttempt(entry, 45_000).then((reply) => heard = reply?.text ?? "taken");
  await settle();
  ends[0]!("no");
  await settle();
  await world.queue.byHand.hold({ to: "b@far.test" });
  ends[1]!("later");
  await settle();
  assert.equal(heard, "taken");
  await world.queue.byHand.bounce({ ids: [entry.id] });
  await world.clock.advance(2 * MINUTE);
  assert.equal(ends.length, 3, "one bounce for both is on its way");
});

Deno.test("a queue that stops promises to all that wait", async () => {
  const world = new World();
  byHand(world);
  const { answer, id } = await handIn(world, "a@there.test");
  const stop = world.queue.stop(1000);
  await world.clock.advance(1000);
  await stop;
  assert.equal(answer.heard, "taken");
  assert.equal(world.spool.entry(id)?.standings[0]?.state, "waiting");
});
