/** What senders are told besides failures, when, and how often. */

import assert from "node:assert/strict";
import { bounceMaker } from "../../src/queue/bounce.ts";
import type { Recipient } from "../../src/queue/entry.ts";
import { defaultQueue } from "../../src/queue/queue.ts";
import { settle } from "../support/manual_clock.ts";
import { envelope } from "../support/memory_spool.ts";
import { DAY, HOUR, MINUTE, World } from "./world.ts";

function patient(): World {
  const world = new World();
  world.settings = defaultQueue;
  return world;
}

function to(address: string, notify?: Recipient["notify"]): Recipient {
  return { address, target: { to: "remote", address }, ...notify && { notify } };
}

/** The texts of all notes that have left, and of those in the spool. */
function keeping(world: World): string[] {
  const texts: string[] = [],
    make = bounceMaker(
      { hostname: "mail.ours.test", postmaster: "postmaster@ours.test", giveUpAfter: 5 * DAY },
      (address) => Promise.resolve([{ to: "maildir", path: `/mail/${address}` }]),
      () => world.clock.now(),
    );
  world.start({
    makeBounce: async (...about) => {
      const made = await make(...about);
      if (made !== undefined) texts.push(new TextDecoder().decode(made.message));
      return made;
    },
  });
  return texts;
}

function actionsOf(texts: readonly string[]): string[][] {
  return texts.map((text) => text.match(/^Action: \w+/gm)?.map((field) => field.slice(8)) ?? []);
}

Deno.test("who waits for 4 hours is told of once, with the time until which it is tried, and later of its end", async () => {
  const world = patient(), texts = keeping(world);
  world.answer = (address) => address.endsWith("@ours.test") ? "ok" : "later";
  await world.accept("bob@there.test", "eve@far.test");
  await world.clock.advance(3.9 * HOUR);
  assert.deepEqual(texts, []);
  await world.clock.advance(4.5 * HOUR);
  assert.deepEqual(actionsOf(texts).flat(), ["delayed", "delayed"]);
  assert.match(texts[0] ?? "", /^Subject: Your message is late\r$/m);
  assert.match(texts[0] ?? "", /^Will-Retry-Until: Tue, 06 Jan 2026 00:00:00 \+0000\r$/m);
  assert.match(texts[0] ?? "", /^Status: 4\.7\.1\r$/m);
  await world.clock.advance(4 * DAY);
  assert.equal(actionsOf(texts).flat().length, 2);
  await world.clock.advance(2 * DAY);
  assert.deepEqual(actionsOf(texts).flat().slice(2), ["failed", "failed"]);
  assert.equal(world.spool.size, 0);
});

Deno.test("delay is told to who wants to hear of it, and nobody hears of what got through or was held", async () => {
  const world = patient(), texts = keeping(world);
  let later = true;
  world.answer = (address) => address.endsWith("@ours.test") || !later ? "ok" : "later";
  const entry = await world.spool.put(envelope([
    to("never@a.test", ["NEVER"]),
    to("failure@a.test", ["FAILURE"]),
    to("delay@a.test", ["DELAY"]),
  ]));
  world.queue.accepted(entry);
  await settle();
  const held = await world.accept("held@b.test");
  await world.queue.byHand.hold({ ids: [held] });
  await world.accept("soon@c.test");
  await world.clock.advance(HOUR);
  await world.queue.byHand.retry({ to: "soon@c.test" }).catch(() => 0);
  later = false;
  await world.queue.byHand.retry({ domain: "c.test" });
  await world.clock.advance(MINUTE);
  later = true;
  await world.clock.advance(10 * HOUR);
  assert.deepEqual(texts.flatMap((text) => text.match(/^Final-Recipient: .*(?=\r)/gm) ?? []), [
    "Final-Recipient: rfc822; delay@a.test",
  ]);
});

Deno.test("what waits behind a place that is out of reach is told of too, once, also across restarts", async () => {
  const world = patient();
  world.answer = (address) => address.endsWith("@ours.test") ? "ok" : "away";
  world.start();
  for (let n = 0; n < 15; n++) await world.accept(`n${n}@there.test`);
  for (let hour = 0; hour < 20; hour++) {
    await world.clock.advance(HOUR);
    if (hour % 3 === 2) await world.restart();
  }
  assert.equal(world.sentTo("ann@ours.test"), 15);
});

Deno.test("a crash at any point between a delay and its note repeats no note and loses none", async () => {
  for (let most = 1; most < 7; most++) {
    const world = patient();
    world.answer = (address) => address.endsWith("@ours.test") ? "ok" : "later";
    world.start();
    await world.accept("bob@there.test");
    await world.clock.advance(3 * HOUR + 55 * MINUTE);
    world.spool.most = world.spool.appends.length + most;
    // The sixth attempt is at 4:15.
    await world.clock.advance(25 * MINUTE);
    await world.restart();
    await world.clock.advance(6 * HOUR);
    const told = world.sentTo("ann@ours.test");
    // A note that was handed over the moment before the crash may be handed over again: its outcome was not written.
    assert.ok(told === 1 || told === 2 && most >= 3, `${told} notes with a crash after ${most} appends`);
    const before = told;
    await world.clock.advance(2 * DAY);
    assert.equal(world.sentTo("ann@ours.test"), before);
    await world.clock.advance(4 * DAY);
    assert.equal(world.sentTo("ann@ours.test"), before + 1, `the bounce, with a crash after ${most} appends`);
    assert.equal(world.spool.size, 0);
  }
});

Deno.test("who asked for it hears of success: where it lies, where it was passed on, and that it goes to several", async () => {
  const world = patient(), texts = keeping(world);
  const deliver = world.deliver;
  world.deliver = async (job) =>
    (await deliver(job)).map((outcome) => {
      const { target, address } = job.envelope.recipients[outcome.recipient]!;
      if (target.to === "nowhere") return { ...outcome, success: "expanded" };
      if (target.to === "remote") return { ...outcome, success: address.startsWith("dsn") ? "passed on" : "relayed" };
      return outcome;
    });
  const local: Recipient = {
    address: "zoe@ours.test",
    target: { to: "maildir", path: "/mail/zoe" },
    notify: ["SUCCESS"],
  };
  const team: Recipient = {
    address: "team@ours.test",
    target: { to: "nowhere", because: "expanded" },
    notify: ["SUCCESS"],
  };
  const entry = await world.spool.put(envelope([
    local,
    to("old@a.test", ["SUCCESS", "FAILURE"]),
    to("dsn@b.test", ["SUCCESS"]),
    to("quiet@a.test"),
    team,
  ]));
  world.queue.accepted(entry);
  await world.clock.advance(2 * MINUTE);
  assert.deepEqual(actionsOf(texts).map((actions) => actions.sort()), [["delivered", "expanded", "relayed"]]);
  assert.match(texts[0] ?? "", /^Subject: What became of your message\r$/m);
  assert.doesNotMatch(texts[0] ?? "", /dsn@|quiet@|^Diagnostic-Code/m);
  assert.equal(world.spool.size, 0);
});

Deno.test("a sender who is not believed, and the null sender, hear nothing of anything", async () => {
  for (const more of [{ believed: false }, { sender: "" }] as const) {
    const world = patient(), texts = keeping(world);
    world.answer = (address) => address.startsWith("no") ? "no" : address.startsWith("slow") ? "later" : "ok";
    const entry = await world.spool.put(
      envelope([to("no@a.test"), to("slow@b.test"), to("ok@c.test", ["SUCCESS"])], more),
    );
    world.queue.accepted(entry);
    await world.clock.advance(7 * DAY);
    assert.deepEqual(texts, []);
    assert.equal(world.spool.size, 0);
  }
});
