/** What a restart makes of a note that was stored, and of clocks that jump: with the real spool, and with a killed one. */

import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { bounceMaker } from "../../src/queue/bounce.ts";
import type { Deliver } from "../../src/queue/entry.ts";
import { defaultQueue, Queue } from "../../src/queue/queue.ts";
import { Spool, StoreFailed } from "../../src/queue/spool.ts";
import { ManualClock, settle, until } from "../support/manual_clock.ts";
import { envelope } from "../support/memory_spool.ts";
import { DAY, HOUR, laneOf, MINUTE, said, World } from "./world.ts";
import { inFolder } from "./spooled.ts";

/** One process after another on the same folder; `notes` are the subjects of what reached the sender. */
class Place {
  readonly notes: string[] = [];
  clock = new ManualClock();
  spool!: Spool;
  queue!: Queue;

  constructor(readonly folder: string) {}

  async open(): Promise<void> {
    const clock = this.clock = new ManualClock(this.clock.now());
    this.spool = await Spool.open({ folder: this.folder, log: silent, now: clock.now });
    const deliver: Deliver = async ({ content, envelope: { source }, recipients }) => {
      const isNote = source.by === "bounce";
      if (isNote) {
        let text = "";
        for await (const piece of content.pieces()) text += new TextDecoder().decode(piece);
        this.notes.push(/^Subject: (.*)\r$/m.exec(text)?.[1] ?? "");
      }
      return recipients.map((recipient) => ({ recipient, ...said[isNote ? "ok" : "later"] }));
    };
    const makeBounce = bounceMaker(
      { hostname: "mail.ours.test", postmaster: "postmaster@ours.test", giveUpAfter: 5 * DAY },
      (address) => Promise.resolve([{ to: "maildir", path: `/mail/${address}` }]),
      clock.now,
    );
    this.queue = new Queue(defaultQueue, {
      spool: this.spool,
      deliver,
      laneOf,
      makeBounce,
      log: silent,
      clock,
      random: () => 0.5,
    });
  }

  async accept(): Promise<string> {
    const draft = this.spool.draft();
    await draft.write(new TextEncoder().encode("Subject: hello\r\n\r\nbody\r\n"));
    const entry = await draft.commit(envelope(["bob@there.test"], { arrived: this.clock.now() }), draft.start);
    this.queue.accepted(entry);
    await until(() => this.attempts(entry.id) > 0);
    return entry.id;
  }

  attempts(id: string): number {
    return this.spool.entry(id)?.standings[0]?.attempts ?? 0;
  }

  /** Time passes; what lies on disk takes some turns more than the clock of a test knows of. */
  async advance(by: number): Promise<void> {
    for (let left = by; left > 0; left -= 5 * MINUTE) {
      await this.clock.advance(Math.min(left, 5 * MINUTE));
      await new Promise((resolve) => setTimeout(resolve, 2));
      await settle();
    }
  }

  async close(): Promise<void> {
    const stopped = this.queue.stop(0);
    await this.clock.advance(0);
    await stopped;
    await this.spool.close();
  }
}

/** A place where a note about a delay is stored and its original does not know of it: then the process ended. */
async function interrupted(folder: string): Promise<{ readonly place: Place; readonly id: string }> {
  const place = new Place(folder);
  await place.open();
  place.queue.start();
  const id = await place.accept();
  await place.advance(3.9 * HOUR);
  const record = place.spool.record.bind(place.spool);
  place.spool.record = (which, standings) =>
    standings.get(0)?.warning === 0 ? Promise.reject(new StoreFailed("killed")) : record(which, standings);
  await place.advance(10 * MINUTE);
  await until(() => place.spool.size === 2);
  await place.close();
  assert.deepEqual(place.notes, [], "a note waits until its original knows of it");
  return { place, id };
}

Deno.test("a note about a delay that was stored before a crash leaves once, and none follows it", async () => {
  await inFolder(async (folder) => {
    const { place, id } = await interrupted(folder);
    await place.open();
    place.queue.start();
    await until(() => place.notes.length === 1 && place.spool.size === 1);
    assert.equal(place.spool.entry(id)?.standings[0]?.warning, 0);
    await place.close();
    await place.open();
    place.queue.start();
    await place.advance(6 * HOUR);
    assert.deepEqual(place.notes, ["Your message is late"]);
    await place.close();
  });
});

Deno.test("what was given up since the note about its delay was stored bounces all the same, once", async () => {
  await inFolder(async (folder) => {
    const { place, id } = await interrupted(folder);
    // The commands work on the journal while the server is stopped.
    await place.open();
    assert.equal(await place.queue.byHand.bounce({ ids: [id] }), 1);
    await place.close();
    for (let start = 0; start < 3; start++) {
      await place.open();
      place.queue.start();
      await place.advance(MINUTE);
      await until(() => place.spool.size === 0);
      await place.close();
    }
    assert.deepEqual(place.notes.toSorted(), ["Your message could not be delivered", "Your message is late"]);
  });
});

Deno.test("what was held and released since then is not written about a second time", async () => {
  await inFolder(async (folder) => {
    const { place, id } = await interrupted(folder);
    await place.open();
    await place.queue.byHand.hold({ ids: [id] });
    await place.queue.byHand.release({ ids: [id] });
    await place.close();
    await place.open();
    place.queue.start();
    await until(() => place.notes.length === 1);
    await place.advance(6 * HOUR);
    assert.deepEqual(place.notes, ["Your message is late"]);
    await place.close();
  });
});

for (const days of [-2, 2]) {
  Deno.test(`a clock that jumps ${days} days makes no second note about a delay, and none is left out`, async () => {
    const world = new World();
    world.settings = defaultQueue;
    world.answer = (address) => address.endsWith("@ours.test") ? "ok" : "later";
    world.start();
    await world.accept("bob@there.test");
    await world.clock.advance(HOUR);
    world.clock.jump(days * DAY);
    await world.clock.advance(5 * HOUR);
    await world.restart();
    world.clock.jump(-days * DAY);
    await world.clock.advance(12 * HOUR);
    world.clock.jump(days * DAY);
    await world.clock.advance(12 * HOUR);
    assert.equal(world.sentTo("ann@ours.test"), 1);
  });
}
