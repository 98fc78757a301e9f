import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { Journal } from "../../src/queue/journal.ts";
import { goneRecord, partRecord } from "../../src/queue/kept_message.ts";
import { type Place, sizeOf } from "../../src/queue/segment.ts";
import { FaultyDisk, gate, inFolder, letter, segmentsOf } from "./spooled.ts";

const id = "0123456789ab";

Deno.test("journal: all that is appended while a sync is under way shares the next one", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk(), hold = gate(), reached = gate();
    const journal = new Journal({ folder, log: silent, create: disk.create }, []);
    disk.beforeSync = () => (reached.open(), hold.passed);
    const first = journal.append(goneRecord(id), true);
    await reached.passed;
    const others = Array.from({ length: 50 }, () => journal.append(goneRecord(id), true));
    hold.open();
    await Promise.all([first, ...others]);
    assert.equal(disk.syncs, 2);
    await journal.close();
  });
});

Deno.test("journal: all that is appended in one turn shares one sync, and parts need none", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk();
    const journal = new Journal({ folder, log: silent, create: disk.create }, []);
    await Promise.all(Array.from({ length: 50 }, (_, i) => journal.append(partRecord(id, i, letter(100)), false)));
    assert.equal(disk.syncs, 0);
    await Promise.all(Array.from({ length: 50 }, () => journal.append(goneRecord(id), true)));
    assert.equal(disk.syncs, 1);
    assert.equal(journal.syncs, 1);
    await journal.close();
  });
});

Deno.test("journal: a part is answered when it is written, not when somebody else's sync has ended", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk(), hold = gate();
    const journal = new Journal({ folder, log: silent, create: disk.create }, []);
    disk.beforeSync = () => hold.passed;
    const durable = journal.append(goneRecord(id), true), part = journal.append(partRecord(id, 0, letter(100)), false);
    await part;
    hold.open();
    await durable;
    await journal.close();
  });
});

Deno.test("journal: rolling syncs the full segment first, and records do not overlap", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk();
    const journal = new Journal({ folder, log: silent, segmentSize: 10_000, create: disk.create }, []);
    const places: Place[] = [];
    for (let i = 0; i < 30; i++) places.push(await journal.append(partRecord(id, i, letter(900)), false));
    assert.equal(disk.created, 3);
    assert.equal(disk.syncs, 2);
    assert.ok(journal.segments.slice(0, -1).every(({ length, synced }) => length === synced && length <= 10_000));
    for (const [index, place] of places.entries()) {
      const before = places[index - 1];
      if (before?.segment === place.segment) assert.equal(place.offset, before.offset + sizeOf(before));
    }
    const large = await journal.append(partRecord(id, 0, letter(50_000)), true);
    assert.equal(large.segment.length, (await Deno.stat(large.segment.path)).size);
    assert.equal(segmentsOf(folder).length, 4);
    await journal.close();
  });
});
