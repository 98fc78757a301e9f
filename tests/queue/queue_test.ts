import assert from "node:assert/strict";
import type { Deliver, Job } from "../../src/queue/entry.ts";
import { bounceMaker } from "../../src/queue/bounce.ts";
import { defaultQueue, Queue } from "../../src/queue/queue.ts";
import { Spool, StoreFailed } from "../../src/queue/spool.ts";
import { silent } from "../../src/log.ts";
import { settle, until } from "../support/manual_clock.ts";
import { envelope } from "../support/memory_spool.ts";
import { DAY, HOUR, laneOf, LATER, MINUTE, OK, said, World } from "./world.ts";

Deno.test("a message that is delivered at once is removed with one append", async () => {
  const world = new World().start();
  const id = await world.accept("bob@there.test", "eve@there.test");
  assert.deepEqual(world.sent, ["bob@there.test", "eve@there.test"]);
  assert.equal(world.jobs.length, 1);
  assert.deepEqual(world.spool.appends, [`commit ${id}`, `remove ${id}`]);
  assert.equal(world.clock.timers, 0);
});

Deno.test("a greylisted message is tried again after 5 minutes and delivered once", async () => {
  const world = new World().start();
  world.answer = () => world.sent.length === 1 ? "later" : "ok";
  await world.accept("bob@there.test");
  await world.clock.advance(5 * MINUTE - 1);
  assert.equal(world.sent.length, 1);
  await world.clock.advance(1);
  assert.equal(world.sent.length, 2);
  await world.clock.advance(2 * DAY);
  assert.equal(world.sent.length, 2);
  assert.equal(world.spool.size, 0);
});

Deno.test("a retry never reaches who already has the message", async () => {
  const world = new World().start();
  world.answer = (address) => address === "slow@there.test" && world.sentTo(address) < 3 ? "later" : "ok";
  await world.accept("bob@there.test", "slow@there.test", "ann@elsewhere.test");
  await world.clock.advance(DAY);
  assert.deepEqual([world.sentTo("bob@there.test"), world.sentTo("ann@elsewhere.test")], [1, 1]);
  assert.equal(world.sentTo("slow@there.test"), 3);
  assert.equal(world.spool.size, 0);
});

Deno.test("a refused recipient bounces within a minute though another is still tried", async () => {
  const world = new World().start();
  world.answer = (address) => address === "typo@there.test" ? "no" : address === "slow@far.test" ? "later" : "ok";
  const id = await world.accept("typo@there.test", "slow@far.test", "bob@there.test");
  await world.clock.advance(MINUTE);
  await until(() => world.sentTo("ann@ours.test") === 1);
  assert.equal(world.queue.byHand.show(id)?.recipients[1]?.state, "waiting");
  await world.clock.advance(6 * DAY);
  assert.equal(world.sentTo("ann@ours.test"), 2, "one bounce for each recipient");
  assert.equal(world.sentTo("typo@there.test"), 1);
  assert.equal(world.spool.size, 0);
});

Deno.test("failures of one minute share one bounce", async () => {
  const world = new World().start();
  world.answer = (address) => address.startsWith("no") ? "no" : address.startsWith("slow") ? "later" : "ok";
  await world.accept("no1@a.test", "no2@b.test", "no3@a.test", "slow@c.test");
  await world.clock.advance(HOUR);
  assert.equal(world.sentTo("ann@ours.test"), 1);
});

Deno.test("giving up takes 5 days and 8 attempts, and makes one bounce that names who failed", async () => {
  const world = new World().start();
  world.answer = (address) => address === "bob@there.test" ? "later" : "ok";
  let bounce = "";
  world.deliver = ((send) => async (job: Job) => {
    if (job.envelope.source.by === "bounce") bounce = world.spool.textOf(job.id);
    return await send(job);
  })(world.deliver);
  await world.accept("bob@there.test", "eve@there.test");
  await world.clock.advance(5 * DAY - 5 * HOUR);
  assert.equal(bounce, "");
  await world.clock.advance(DAY);
  assert.match(bounce, /Final-Recipient: rfc822; bob@there\.test\r\nAction: failed\r\nStatus: 4\.4\.7\r\n/);
  assert.doesNotMatch(bounce, /eve@there/);
  assert.equal(world.sentTo("ann@ours.test"), 1);
  assert.equal(world.spool.size, 0);
  assert.ok(world.sentTo("bob@there.test") >= 8);
});

Deno.test("no bounce answers the null sender, a bounce, or NOTIFY=NEVER", async () => {
  const world = new World().start();
  world.answer = () => "no";
  const never = {
    address: "b@there.test",
    target: { to: "remote", address: "b@there.test" },
    notify: ["NEVER"],
  } as const;
  const about = { by: "bounce", about: { id: "0", recipients: [0] } } as const;
  for (
    const each of [
      envelope(["b@there.test"], { sender: "" }),
      envelope(["b@there.test"], { source: about }),
      envelope([never]),
    ]
  ) world.queue.accepted(await world.spool.put(each));
  await world.clock.advance(DAY);
  assert.equal(world.sent.length, 3);
  assert.equal(world.spool.size, 0);
});

Deno.test("a bounce is stored before its original is removed, and leaves after that", async () => {
  const world = new World().start();
  world.answer = (address) => address === "typo@there.test" ? "no" : "ok";
  await world.accept("typo@there.test");
  await until(() => world.spool.size === 0);
  assert.deepEqual(world.spool.appends, ["commit 1", "record 1", "commit 2", "remove 1", "remove 2"]);
});

Deno.test("a crash at any append leaves neither two bounces nor none", async () => {
  // Bounce of the only recipient, then one of two of which the other is still tried.
  for (const to of [["typo@there.test"], ["typo@there.test", "slow@far.test"]]) {
    for (let appends = 1; appends <= 5; appends++) {
      const world = new World().start();
      world.answer = (address) => address === "typo@there.test" ? "no" : address === "slow@far.test" ? "later" : "ok";
      const entry = await world.spool.put(envelope(to));
      const dying = world.spool;
      dying.most = appends;
      world.queue.accepted(entry);
      for (let tries = 0; tries < 20 && dying.appends.length < appends; tries++) await world.clock.advance(MINUTE / 10);
      await settle();
      await world.restart();
      await world.clock.advance(HOUR);
      assert.equal(world.sentTo("ann@ours.test"), 1, `${to} after ${appends}: ${dying.appends}`);
      assert.ok(world.sentTo("typo@there.test") <= 2);
    }
  }
});

Deno.test("a place out of reach is tried once, not by each of its messages, and rests longer each time", async () => {
  const world = new World().start();
  world.answer = () => "away";
  await world.accept("first@down.test");
  for (let n = 0; n < 200; n++) await world.accept(`n${n}@down.test`);
  assert.equal(world.sent.length, 1);
  assert.equal(world.queue.stats().resting, 1);
  assert.ok((world.queue.byHand.list({ to: "n1@down.test" })[0]?.recipients[0]?.rest ?? 0) > 0);
  await world.clock.advance(5 * MINUTE);
  assert.equal(world.sent.length, 2, "one probe");
  await world.clock.advance(10 * MINUTE);
  assert.equal(world.sent.length, 3, "after twice the rest");
  const waiting = world.queue.byHand.list({ to: "n150@down.test" })[0]?.recipients[0];
  assert.deepEqual([waiting?.state, waiting?.attempts], ["waiting", 0]);
  world.answer = () => "ok";
  await world.clock.advance(HOUR + HOUR);
  assert.equal(world.spool.size, 0);
  await world.clock.advance(3 * HOUR);
  assert.deepEqual(world.queue.stats(), { messages: 0, running: 0, lanes: 0, resting: 0 });
  assert.equal(world.clock.timers, 0);
});

Deno.test("what waits behind a place that stays out of reach bounces after 5 days all the same", async () => {
  const world = new World().start();
  world.answer = (address) => address.endsWith("@down.test") ? "away" : "ok";
  for (let n = 0; n < 30; n++) await world.accept(`n${n}@down.test`);
  await world.clock.advance(5 * DAY + 14 * HOUR);
  assert.equal(world.spool.size, 0);
  assert.equal(world.sentTo("ann@ours.test"), 30);
});

Deno.test("a probe that gets through ends the rest for all", async () => {
  const world = new World().start();
  world.answer = () => "away";
  for (let n = 0; n < 50; n++) await world.accept(`n${n}@down.test`);
  world.answer = () => "later";
  await world.clock.advance(5 * MINUTE);
  assert.equal(new Set(world.sent).size, 50);
});

Deno.test("start picks up what is due and says that an earlier attempt may have gone unnoted", async () => {
  const world = new World();
  await world.spool.put(envelope(["bob@there.test"]));
  await world.restart();
  assert.deepEqual(world.sent, ["bob@there.test"]);
  assert.equal(world.jobs[0]?.uncertain, true);
  world.answer = () => "ok";
  await world.accept("eve@there.test");
  assert.equal(world.jobs[1]?.uncertain, false);
});

Deno.test("start keeps to the times that were set", async () => {
  const world = new World().start();
  world.answer = () => world.sent.length < 2 ? "later" : "ok";
  await world.accept("bob@there.test");
  world.queue.stop(0);
  await world.restart();
  assert.equal(world.sent.length, 1);
  await world.clock.advance(5 * MINUTE);
  assert.equal(world.sent.length, 2);
});

for (const days of [-2, 2]) {
  Deno.test(`a clock that jumps ${days} days neither holds mail nor bounces it`, async () => {
    const world = new World().start();
    world.answer = () => "later";
    await world.accept("bob@there.test");
    world.clock.jump(days * DAY);
    await world.clock.advance(5 * MINUTE);
    assert.equal(world.sent.length, 2, "the wait that was running goes on");
    world.clock.jump(2 * days * DAY);
    await world.clock.advance(10 * MINUTE);
    assert.equal(world.sent.length, 3, "6 days after its arrival, but not tried 8 times");
    assert.equal(world.queue.byHand.list({ all: true })[0]?.recipients[0]?.state, "waiting");
  });
}

Deno.test("after a restart with a clock set back nothing waits longer than the longest wait", async () => {
  const world = new World().start();
  world.answer = () => "later";
  await world.accept("bob@there.test");
  world.clock.jump(-2 * DAY);
  await world.restart();
  await world.clock.advance(4.4 * HOUR - 1);
  assert.equal(world.sent.length, 1);
  await world.clock.advance(1);
  assert.equal(world.sent.length, 2);
});

Deno.test("an outcome that cannot be written is kept, nothing is sent meanwhile, and nothing twice", async () => {
  const world = new World().start();
  const first = await world.spool.put(envelope(["bob@there.test"]));
  const second = await world.spool.put(envelope(["eve@far.test"]));
  world.spool.failures = 4;
  world.queue.accepted(first);
  await settle();
  world.queue.accepted(second);
  await world.clock.advance(2_500);
  assert.deepEqual(world.sent, ["bob@there.test"]);
  await world.clock.advance(2_000);
  assert.deepEqual(world.sent, ["bob@there.test", "eve@far.test"]);
  assert.equal(world.spool.size, 0);
  assert.equal(world.events.filter(({ event }) => event === "outcome-not-written").length, 1);
});

Deno.test("what Deliver throws or leaves out counts as later", async () => {
  const world = new World();
  const tries: number[][] = [];
  world.start({
    deliver: ({ recipients }) => {
      tries.push([...recipients]);
      if (tries.length === 1) throw new TypeError("a bug");
      if (tries.length === 2) return Promise.resolve([{ recipient: 0, result: "delivered", reply: OK }]);
      return Promise.resolve(recipients.map((recipient) => ({ recipient, result: "delivered", reply: OK } as const)));
    },
  });
  await world.accept("bob@there.test", "eve@there.test");
  await world.clock.advance(HOUR);
  assert.deepEqual(tries, [[0, 1], [0, 1], [1]]);
  assert.equal(world.spool.size, 0);
  assert.deepEqual(world.events.filter(({ level }) => level === "error").map(({ event }) => event), [
    "delivery-threw",
    "delivery-left-out",
  ]);
});

Deno.test("a message that cannot be read is set aside and stops nothing", async () => {
  const world = new World().start();
  world.spool.damaged.add("1");
  const bad = await world.accept("bob@there.test");
  await world.accept("eve@there.test");
  assert.deepEqual(world.sent, ["eve@there.test"]);
  assert.ok(world.spool.appends.includes(`setAside ${bad}`));
  assert.equal(world.spool.size, 0);
});

Deno.test("hold keeps a message, release and retry send it now, drop forgets it without a bounce", async () => {
  const world = new World().start();
  world.answer = () => "later";
  await world.accept("bob@there.test", "eve@far.test");
  assert.equal(await world.queue.byHand.hold({ domain: "FAR.test" }), 1);
  await world.clock.advance(DAY);
  assert.equal(world.sentTo("eve@far.test"), 1);
  assert.equal(await world.queue.byHand.retry({ all: true }), 1);
  const tries = world.sentTo("bob@there.test");
  await world.clock.advance(0);
  assert.equal(world.sentTo("bob@there.test"), tries + 1);
  assert.equal(world.sentTo("eve@far.test"), 1, "retry does not release");
  assert.equal(await world.queue.byHand.release({ to: "eve@far.test" }), 1);
  await world.clock.advance(0);
  assert.equal(world.sentTo("eve@far.test"), 2);
  assert.equal(await world.queue.byHand.drop({}), 0, "a selection without a condition means nothing");
  assert.equal(await world.queue.byHand.drop({ from: "ann@ours.test" }), 1);
  assert.equal(world.spool.size, 0);
  await world.clock.advance(DAY);
  assert.equal(world.sentTo("ann@ours.test"), 0);
});

Deno.test("retry wakes a place that rests", async () => {
  const world = new World().start();
  world.answer = () => "away";
  await world.accept("a@down.test");
  await world.accept("b@down.test");
  world.answer = () => "ok";
  assert.equal(await world.queue.byHand.retry({ domain: "down.test" }), 2);
  await world.clock.advance(0);
  assert.equal(world.spool.size, 0);
});

Deno.test("a bounce by hand tells the sender", async () => {
  const world = new World().start();
  world.answer = (address) => address === "bob@there.test" ? "later" : "ok";
  const id = await world.accept("bob@there.test");
  assert.equal(await world.queue.byHand.bounce({ ids: [id] }), 1);
  await until(() => world.spool.size === 0);
  assert.equal(world.sentTo("ann@ours.test"), 1);
  assert.equal(world.spool.size, 0);
});

Deno.test("commands work on a queue that is not started", async () => {
  const world = new World();
  world.open();
  const held = await world.spool.put(envelope(["bob@there.test"]));
  const returned = await world.spool.put(envelope(["eve@there.test"]));
  const dropped = await world.spool.put(envelope(["joe@there.test"]));
  await world.queue.byHand.hold({ ids: [held.id] });
  await world.queue.byHand.bounce({ ids: [returned.id] });
  await world.queue.byHand.drop({ ids: [dropped.id] });
  assert.deepEqual(world.sent, []);
  assert.equal(world.spool.size, 2);
  await world.restart();
  await until(() => world.sent.length > 0);
  assert.deepEqual(world.sent, ["ann@ours.test"], "what was owed is told by the next start");
});

Deno.test("a drop while an attempt is under way waits for its end", async () => {
  const world = new World();
  let finish = () => {};
  world.start({
    deliver: () => new Promise((resolve) => finish = () => resolve([{ recipient: 0, result: "later", reply: LATER }])),
  });
  const id = await world.accept("bob@there.test");
  await world.queue.byHand.drop({ ids: [id] });
  assert.equal(world.queue.byHand.show(id)?.recipients[0]?.state, "dropped");
  finish();
  await settle();
  assert.equal(world.spool.size, 0);
});

Deno.test("one lane runs 10 jobs, all lanes together 100, mailboxes 1 while mail comes in and then 16", async () => {
  const world = new World();
  const running = { remote: 0, maildir: 0 }, most = { remote: 0, maildir: 0 };
  let inFlood = 0;
  const byLane = new Map<string, number>();
  let mostOfLane = 0;
  world.start({
    deliver: async ({ envelope: { recipients } }) => {
      const { target } = recipients[0]!, lane = laneOf(target);
      const to = target.to === "remote" ? "remote" : "maildir";
      most[to] = Math.max(most[to], ++running[to]);
      byLane.set(lane, (byLane.get(lane) ?? 0) + 1);
      if (target.to === "remote") mostOfLane = Math.max(mostOfLane, byLane.get(lane)!);
      await new Promise((resolve) => world.clock.after(1000, () => resolve(undefined)));
      running[to]--;
      byLane.set(lane, byLane.get(lane)! - 1);
      return [{ recipient: 0, result: "delivered", reply: OK }];
    },
  });
  for (let n = 0; n < 300; n++) {
    world.queue.accepted(await world.spool.put(envelope([`n@d${Math.min(n % 30, 14)}.test`])));
  }
  for (let n = 0; n < 40; n++) world.queue.accepted(await world.spool.put(envelope([`n${n}@ours.test`])));
  await settle();
  inFlood = most.maildir;
  await world.clock.advance(30_000);
  assert.equal(world.spool.size, 0);
  assert.deepEqual([most.remote, mostOfLane, inFlood, most.maildir], [100, 10, 1, 16]);
});

Deno.test("a lane with many messages does not starve one with a single message", async () => {
  const world = new World();
  world.settings = { ...defaultQueue, lanes: { ...defaultQueue.lanes, concurrency: 5 } };
  world.start({
    deliver: async (job) => {
      world.sent.push(job.envelope.recipients[0]!.address);
      await new Promise((resolve) => world.clock.after(1000, () => resolve(undefined)));
      return [{ recipient: 0, result: "delivered", reply: OK }];
    },
  });
  for (let n = 0; n < 2000; n++) world.queue.accepted(await world.spool.put(envelope([`n${n}@big.test`])));
  world.queue.accepted(await world.spool.put(envelope(["one@small.test"])));
  await world.clock.advance(2000);
  assert.ok(world.sent.includes("one@small.test"));
  assert.ok(world.sent.length <= 16);
  const big = world.sent.filter((address) => address.endsWith("@big.test"));
  assert.deepEqual(big, big.map((_, n) => `n${n}@big.test`), "first come, first served");
});

Deno.test("stop begins nothing new, waits for what runs, and not longer than its deadline", async () => {
  const world = new World();
  const ends: (() => void)[] = [];
  world.start({
    deliver: (job) => {
      world.sent.push(job.envelope.recipients[0]!.address);
      return new Promise((resolve) => ends.push(() => resolve([{ recipient: 0, result: "delivered", reply: OK }])));
    },
  });
  await world.accept("a@there.test");
  await world.accept("b@there.test");
  let stopped = false;
  const stop = world.queue.stop(20_000).then(() => stopped = true);
  await world.accept("c@there.test");
  ends[0]!();
  await world.clock.advance(19_999);
  assert.equal(stopped, false);
  await world.clock.advance(1);
  await stop;
  assert.deepEqual(world.sent, ["a@there.test", "b@there.test"]);
  assert.equal(world.spool.size, 2);
  assert.equal(world.clock.timers, 0);
});

Deno.test("with a spool on disk a bounce that was stored before a crash is neither repeated nor lost", async () => {
  const folder = await Deno.makeTempDir();
  const sent: string[] = [];
  const bounce = bounceMaker(
    { hostname: "mail.ours.test", postmaster: "postmaster@ours.test", giveUpAfter: 5 * DAY },
    (address) => Promise.resolve([{ to: "maildir", path: `/mail/${address}` }]),
  );
  const open = async (refuseRemove: boolean): Promise<[Spool, Queue]> => {
    const spool = await Spool.open({ folder, log: silent });
    // The disk fills up between the bounce and the removal of the original.
    if (refuseRemove) spool.remove = () => Promise.reject(new StoreFailed("No space left on device"));
    const deliver: Deliver = (job) => {
      const recipients = job.recipients.map((recipient) => job.envelope.recipients[recipient]!.address);
      sent.push(...recipients);
      const { by } = job.envelope.source;
      return Promise.resolve(
        job.recipients.map((recipient) => ({ recipient, ...said[by === "bounce" ? "ok" : "no"] })),
      );
    };
    return [spool, new Queue(defaultQueue, { spool, deliver, laneOf, makeBounce: bounce, log: silent })];
  };
  try {
    const [first, before] = await open(true);
    before.start();
    const draft = first.draft();
    await draft.write(new TextEncoder().encode("Subject: hello\r\n\r\nbody\r\n"));
    before.accepted(await draft.commit(envelope(["typo@there.test"]), draft.start));
    await until(() => first.size === 2);
    await before.stop(0);
    await first.close();
    assert.deepEqual(sent, ["typo@there.test"], "a bounce waits until its original is gone");

    const [second, after] = await open(false);
    assert.equal(second.size, 2);
    after.start();
    await until(() => second.size === 0);
    await after.stop(1000);
    await second.close();
    assert.deepEqual(sent, ["typo@there.test", "ann@ours.test"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("100,000 waiting messages slow neither start nor acceptance", async () => {
  const world = new World();
  const due = world.clock.now() + HOUR;
  for (let n = 0; n < 100_000; n++) await world.spool.put(envelope([`n@d${n % 1000}.test`], { arrived: due + n }));
  world.spool = world.spool.reopen();
  let begun = performance.now();
  world.start();
  const start = performance.now() - begun;
  begun = performance.now();
  const id = await world.accept("bob@there.test");
  const accept = performance.now() - begun;
  assert.equal(world.spool.entry(id), undefined);
  assert.deepEqual(world.sent, ["bob@there.test"]);
  assert.ok(start < 1500, `start took ${start} ms`);
  assert.ok(accept < 100, `acceptance took ${accept} ms`);
  await world.queue.stop(0);
});
