import assert from "node:assert/strict";
import { type Spool, StoreFailed } from "../../src/queue/spool.ts";
import {
  assertSameBytes,
  envelope,
  FaultyDisk,
  inFolder,
  letter,
  read,
  segmentsOf,
  store,
  withSpool,
} from "./spooled.ts";

const SMALL = { segmentSize: 20_000 };
const lengthOf = (i: number) => i === 32 ? 300_000 : 4500;
const ids = (spool: Spool) => [...spool.entries()].map(({ id }) => id);

/** Waits until the segments in the folder have no more than so many bytes together. */
async function shrunk(folder: string, most: number): Promise<void> {
  const held = () => segmentsOf(folder).reduce((sum, name) => sum + Deno.statSync(`${folder}/${name}`).size, 0);
  for (const deadline = performance.now() + 5000; held() > most;) {
    assert.ok(performance.now() < deadline, `${held()} bytes are left, ${most} expected`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

Deno.test("segments whose messages are all gone are deleted, oldest first", async () => {
  await inFolder(async (folder) => {
    await withSpool(folder, async (spool) => {
      const stored = [];
      for (let i = 0; i < 40; i++) stored.push((await store(spool, letter(4500, i))).id);
      assert.ok(segmentsOf(folder).length >= 10);
      const before = segmentsOf(folder);
      // All but those of the oldest segment: it has to stay, and so do the goings behind it.
      await Promise.all(stored.slice(1).map((id) => spool.remove(id)));
      await spool.remove(stored[0] ?? "");
      await shrunk(folder, 20_000);
      assert.ok(!before.slice(0, -1).includes(segmentsOf(folder)[0] ?? ""));
    }, SMALL);
    await withSpool(folder, (spool) => Promise.resolve(assert.equal(spool.size, 0)), SMALL);
  });
});

Deno.test("laggards are copied forward with their standings, and nothing rises from the dead", async () => {
  await inFolder(async (folder) => {
    const laggards = new Map<string, number>();
    await withSpool(folder, async (spool) => {
      for (let i = 0; i < 200; i++) {
        const length = lengthOf(i), { id } = await store(spool, letter(length, i));
        if (i % 25 === 7) {
          laggards.set(id, i);
          await spool.record(id, new Map([[0, { state: "waiting", attempts: i, due: i }]]));
        } else await spool.remove(id);
      }
      await shrunk(folder, 2 * (301_000 + 7 * 5000) + 60_000);
      for (const [id, i] of laggards) {
        assertSameBytes(await read(spool.content(id)), letter(lengthOf(i), i));
      }
    }, SMALL);
    await withSpool(folder, async (spool) => {
      assert.deepEqual(ids(spool), [...laggards.keys()]);
      for (const [id, i] of laggards) {
        assert.deepEqual(spool.entry(id)?.standings, [{ state: "waiting", attempts: i, due: i }]);
        assertSameBytes(await read(spool.content(id)), letter(lengthOf(i), i));
      }
    }, SMALL);
  });
});

Deno.test("one old message among much traffic does not keep the disk", async () => {
  await inFolder(async (folder) => {
    const old = await withSpool(folder, async (spool) => {
      const old = await store(spool, letter(4500, 1));
      for (let i = 0; i < 300; i++) await spool.remove((await store(spool, letter(4500))).id);
      await shrunk(folder, 70_000);
      assertSameBytes(await read(spool.content(old.id)), letter(4500, 1));
      return old.id;
    }, SMALL);
    await withSpool(folder, (spool) => Promise.resolve(assert.deepEqual(ids(spool), [old])), SMALL);
  });
});

Deno.test("removals and outcomes during copying are never undone by a copy", async () => {
  await inFolder(async (folder) => {
    const left = new Map<string, number>();
    await withSpool(folder, async (spool) => {
      let waiting: string[] = [];
      for (let round = 0; round < 60; round++) {
        const stored = await Promise.all(Array.from({ length: 10 }, (_, i) => store(spool, letter(3000, i))));
        waiting.push(...stored.slice(0, 2).map(({ id }) => id));
        const [removed, tried] = [
          waiting.filter((_, i) => i % 7 === round % 7),
          waiting.filter((_, i) => i % 5 === round % 5),
        ];
        await Promise.all([
          ...stored.slice(2).map(({ id }) => spool.remove(id)),
          ...tried.map((id) => spool.record(id, new Map([[0, { state: "waiting", attempts: round, due: 1 }]]))),
          ...removed.map((id) => spool.remove(id)),
        ]);
        waiting = waiting.filter((id) => !removed.includes(id));
      }
      for (const { id, standings } of spool.entries()) left.set(id, standings[0]?.attempts ?? -1);
      assert.deepEqual(ids(spool), waiting);
    }, SMALL);
    await withSpool(folder, async (spool) => {
      assert.deepEqual(new Map([...spool.entries()].map((entry) => [entry.id, entry.standings[0]?.attempts])), left);
      for (const id of left.keys()) assert.equal((await read(spool.content(id))).length, 3000);
    }, SMALL);
  });
});

Deno.test("a segment stays while somebody reads from it or an open draft has parts in it", async () => {
  await inFolder(async (folder) => {
    await withSpool(folder, async (spool) => {
      const draft = spool.draft(), whole = letter(600_000, 4);
      for (let at = 0; at < whole.length; at += 60_000) await draft.write(whole.subarray(at, at + 60_000));
      const long = await store(spool, letter(1_000_000, 3)), pieces: Uint8Array[] = [];
      let removed = false;
      for await (const piece of spool.content(long.id).pieces()) {
        pieces.push(piece);
        if (!removed) {
          removed = true;
          await spool.remove(long.id);
          for (let i = 0; i < 20; i++) await spool.remove((await store(spool, letter(4500))).id);
        }
      }
      assertSameBytes(
        new Uint8Array(await new Blob(pieces.map((piece) => piece.slice())).arrayBuffer()),
        letter(1_000_000, 3),
      );
      const { id } = await draft.commit(envelope("a@x.test", "b@x.test"), draft.start);
      assertSameBytes(await read(spool.content(id)), whole);
      await spool.remove(id);
      await shrunk(folder, 20_000);
    }, SMALL);
  });
});

Deno.test("a disk that fails while laggards are copied loses none of them", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk();
    const old = await withSpool(folder, async (spool) => {
      const old = [await store(spool, letter(4500, 1)), await store(spool, letter(300_000, 2))].map(({ id }) => id);
      for (let i = 0; i < 400; i++) {
        disk.fail = i % 10 === 9 ? "sync" : undefined;
        const stored = await store(spool, letter(4500)).catch((error) => assert.ok(error instanceof StoreFailed));
        if (stored) await spool.remove(stored.id).catch((error) => assert.ok(error instanceof StoreFailed));
      }
      disk.fail = undefined;
      for (const id of old) await read(spool.content(id));
      return ids(spool);
    }, { ...SMALL, create: disk.create });
    await withSpool(folder, async (spool) => {
      assert.deepEqual(ids(spool), old);
      assertSameBytes(await read(spool.content(old[0] ?? "")), letter(4500, 1));
      assertSameBytes(await read(spool.content(old[1] ?? "")), letter(300_000, 2));
    }, SMALL);
  });
});
