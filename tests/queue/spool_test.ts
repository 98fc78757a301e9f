import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { Damaged, Spool, SpoolLocked, StoreFailed } from "../../src/queue/spool.ts";
import {
  assertSameBytes,
  damagedIn,
  envelope,
  FaultyDisk,
  gate,
  inFolder,
  letter,
  read,
  segmentsOf,
  store,
  withSpool,
} from "./spooled.ts";

const KIB = 1024, MIB = 1024 * KIB;
const reply = { code: 451, enhanced: "4.7.1", text: "later", host: "mx.remote.test [192.0.2.1]" };

Deno.test("spool gives back messages of every length around the limits, before and after a restart", async () => {
  await inFolder(async (folder) => {
    const lengths = [0, 1, 255, 4500, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 512 * KIB, 700_001, 20 * MIB];
    const ids = await withSpool(folder, async (spool) => {
      const ids: string[] = [];
      for (const [seed, length] of lengths.entries()) {
        const bytes = letter(length, seed), { id, size, recovered } = await store(spool, bytes);
        assert.deepEqual({ size, recovered }, { size: length, recovered: false });
        assertSameBytes(await read(spool.content(id)), bytes);
        ids.push(id);
      }
      return ids;
    });
    await withSpool(folder, async (spool) => {
      assert.equal(spool.size, lengths.length);
      assert.deepEqual([...spool.entries()].map(({ id }) => id), ids);
      for (const [seed, length] of lengths.entries()) {
        assertSameBytes(await read(spool.content(ids[seed] ?? "")), letter(length, seed));
      }
      assert.ok([...spool.entries()].every(({ recovered }) => recovered));
    });
  });
});

Deno.test("spool keeps envelope and standings to the letter over a restart", async () => {
  await inFolder(async (folder) => {
    const told = {
      ...envelope("", "a@x.test", "ü@x.test", "c@x.test"),
      smtputf8: true,
      ret: "HDRS",
      envid: "x",
    } as const;
    const before = await withSpool(folder, async (spool) => {
      const draft = spool.draft();
      draft.write(letter(10));
      const entry = await draft.commit(told, letter(12));
      assert.deepEqual(entry.standings, Array(3).fill({ state: "waiting", attempts: 0, due: 77 }));
      await spool.record(entry.id, new Map([[1, { state: "delivered", attempts: 1, due: 0, reply }]]));
      await Promise.all([
        spool.record(entry.id, new Map([[2, { state: "held", attempts: 1, due: 5 }]])),
        spool.record(entry.id, new Map([[0, { state: "waiting", attempts: 2, due: 9, reply }]])),
        spool.record(entry.id, new Map([[7, { state: "dropped", attempts: 2, due: 9 }]])),
      ]);
      return { ...entry };
    }, { now: () => 77 });
    assert.deepEqual(before.standings.map(({ state }) => state), ["waiting", "delivered", "held"]);
    assert.deepEqual(before.standings[0], { state: "waiting", attempts: 2, due: 9, reply });
    await withSpool(folder, async (spool) => {
      assert.equal(spool.entry(before.id)?.size, 12);
      assert.deepEqual(spool.entry(before.id)?.envelope, told);
      assert.deepEqual(spool.entry(before.id)?.standings, before.standings);
      assertSameBytes(await read(spool.content(before.id)), letter(12));
    });
  });
});

Deno.test("spool forgets what was removed, also over a restart, and then gives no content", async () => {
  await inFolder(async (folder) => {
    const kept = await withSpool(folder, async (spool) => {
      const entries = await Promise.all([1, 2, 3].map((seed) => store(spool, letter(300_000, seed))));
      const [first, second, third] = entries.map(({ id }) => id);
      assert.ok(first && second && third);
      const content = spool.content(second);
      await Promise.all([spool.remove(first), spool.remove(second), spool.remove(second)]);
      assert.equal(spool.entry(first), undefined);
      await assert.rejects(read(content), /not in the queue/);
      assert.throws(() => spool.content(first), /not in the queue/);
      await spool.record(first, new Map());
      await spool.remove(first);
      return third;
    });
    await withSpool(folder, (spool) => {
      assert.deepEqual([...spool.entries()].map(({ id }) => id), [kept]);
      return Promise.resolve();
    });
  });
});

Deno.test("drafts that arrive at the same time do not mix, and those given up leave nothing", async () => {
  await inFolder(async (folder) => {
    const bodies = Array.from({ length: 8 }, (_, seed) => letter(900_000 + seed * 1000, seed));
    const stored = await withSpool(folder, async (spool) => {
      const drafts = bodies.map(() => spool.draft());
      for (let at = 0; at < 910_000; at += 33_333) {
        await Promise.all(drafts.map((draft, i) => draft.write(bodies[i]?.subarray(at, at + 33_333) ?? letter(0))));
      }
      const stored = new Map<string, number>();
      for (const [i, draft] of drafts.entries()) {
        if (i % 3 === 2) {
          draft.discard();
          await assert.rejects(draft.commit(envelope("a@x.test"), draft.start), /already/);
        } else stored.set((await draft.commit(envelope("a@x.test", "b@x.test"), draft.start)).id, i);
        draft.discard();
      }
      return stored;
    });
    await withSpool(folder, async (spool) => {
      assert.equal(spool.size, stored.size);
      for (const [id, i] of stored) assertSameBytes(await read(spool.content(id)), bodies[i] ?? letter(0));
    });
  });
});

Deno.test("draft gives its start and its content while open, and takes a rewritten start", async () => {
  await inFolder(async (folder) => {
    await withSpool(folder, async (spool) => {
      for (const length of [0, 100, 256 * KIB, 256 * KIB + 1, 1_000_000]) {
        const bytes = letter(length), draft = spool.draft();
        for (let at = 0; at < length; at += 70_001) await draft.write(bytes.subarray(at, at + 70_001));
        assert.equal(draft.size, length);
        assertSameBytes(draft.start, bytes.subarray(0, 256 * KIB));
        assertSameBytes(await read(draft.content()), bytes);
        const start = new Uint8Array([...letter(500, 5), ...draft.start]);
        const { id, size } = await draft.commit(envelope("a@x.test", "b@x.test"), start);
        assert.equal(size, length + 500);
        assertSameBytes(await read(spool.content(id)), new Uint8Array([...letter(500, 5), ...bytes]));
      }
    });
  });
});

Deno.test("draft copies what it is given", async () => {
  await inFolder(async (folder) => {
    await withSpool(folder, async (spool) => {
      const draft = spool.draft(), buffer = new Uint8Array(60_000), whole = letter(600_000);
      for (let at = 0; at < whole.length; at += buffer.length) {
        buffer.set(whole.subarray(at, at + buffer.length));
        draft.write(buffer);
        buffer.fill(255);
      }
      const { id } = await draft.commit(envelope("a@x.test", "b@x.test"), draft.start);
      assertSameBytes(await read(spool.content(id)), whole);
    });
  });
});

Deno.test("250 waits for the disk: nothing is there before the sync has ended", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk(), synced = gate(), reached = gate();
    disk.beforeSync = () => (reached.open(), synced.passed);
    await withSpool(folder, async (spool) => {
      let accepted = false;
      const accepting = store(spool, letter(100)).then((entry) => (accepted = true, entry));
      await reached.passed;
      assert.deepEqual([accepted, spool.size], [false, 0]);
      synced.open();
      const { id } = await accepting;
      assert.ok(spool.entry(id));
    }, { create: disk.create });
  });
});

for (const fault of ["write", "half", "sync", "create"] as const) {
  Deno.test(`after a failed ${fault} all who waited hear it, later messages are stored, and a restart shows just those`, async () => {
    await inFolder(async (folder) => {
      const disk = new FaultyDisk(), acknowledged = new Map<string, Uint8Array>();
      const accept = async (spool: Spool, length: number, seed: number) => {
        const { id } = await store(spool, letter(length, seed));
        acknowledged.set(id, letter(length, seed));
        return id;
      };
      await withSpool(folder, async (spool) => {
        if (fault !== "create") { for (let i = 0; i < 5; i++) await accept(spool, 5000, i); }
        const [first] = acknowledged.keys();
        const standing = first && spool.entry(first)?.standings;
        disk.fail = fault;
        const attempts = Array.from({ length: 6 }, (_, i) => accept(spool, i % 2 ? 400_000 : 3000, i));
        if (first) {
          attempts.push(spool.record(first, new Map([[0, { state: "held", attempts: 0, due: 0 }]])).then(() => first));
          attempts.push(spool.remove(first).then(() => first));
        }
        for (const attempt of await Promise.allSettled(attempts)) {
          assert.equal(attempt.status, "rejected");
          assert.ok(attempt.status === "rejected" && attempt.reason instanceof StoreFailed, fault);
        }
        assert.equal(spool.size, acknowledged.size);
        if (first) assert.equal(spool.entry(first)?.standings, standing);
        disk.fail = undefined;
        await Promise.all([accept(spool, 2000, 50), accept(spool, 600_000, 51)]);
        for (const [id, bytes] of acknowledged) assertSameBytes(await read(spool.content(id)), bytes);
      }, { create: disk.create });
      await withSpool(folder, async (spool) => {
        assert.deepEqual([...spool.entries()].map(({ id }) => id).sort(), [...acknowledged.keys()].sort());
        for (const [id, bytes] of acknowledged) assertSameBytes(await read(spool.content(id)), bytes);
        assert.deepEqual([spool.setAside, damagedIn(folder)], [0, []]);
      });
    });
  });
}

Deno.test("a draft whose parts a failed sync took away is refused, though later writes work", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk();
    await withSpool(folder, async (spool) => {
      const draft = spool.draft();
      for (let i = 0; i < 4; i++) await draft.write(letter(256 * KIB, i));
      disk.fail = "sync";
      await assert.rejects(store(spool, letter(10)), StoreFailed);
      disk.fail = undefined;
      await draft.write(letter(256 * KIB));
      await assert.rejects(draft.commit(envelope("a@x.test", "b@x.test"), draft.start), StoreFailed);
      await store(spool, letter(10));
      assert.equal(spool.size, 1);
    }, { create: disk.create });
  });
});

Deno.test("when the file cannot be cut after a failed sync, a restart still does not see what was refused", async () => {
  await inFolder(async (folder) => {
    const disk = new FaultyDisk();
    const kept = await withSpool(folder, async (spool) => {
      const kept = [await store(spool, letter(100, 1))];
      const [name] = segmentsOf(folder), path = `${folder}/${name}`;
      // What was refused comes back behind the cut, as when the cut itself never reached the disk.
      disk.fail = "sync";
      let refused = letter(0);
      disk.beforeSync = async () => void (refused = await Deno.readFile(path));
      await assert.rejects(store(spool, letter(100, 2)), StoreFailed);
      await Deno.writeFile(path, refused);
      disk.fail = undefined;
      disk.beforeSync = () => Promise.resolve();
      kept.push(await store(spool, letter(100, 3)));
      return kept.map(({ id }) => id);
    }, { create: disk.create });
    await withSpool(folder, (spool) => {
      assert.deepEqual([...spool.entries()].map(({ id }) => id), kept);
      assert.deepEqual([spool.setAside, damagedIn(folder)], [0, []]);
      return Promise.resolve();
    });
  });
});

Deno.test("a full disk refuses with StoreFailed and takes mail again when there is room", async (test) => {
  await inFolder(async (folder) => {
    const mount = (...args: string[]) =>
      new Deno.Command(args[0] ?? "", { args: args.slice(1), stderr: "null" }).output();
    const mounted = await mount("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder).catch(() => undefined);
    if (!mounted?.success) return console.log(`skipped: ${test.name}: only root can mount a small disk`);
    try {
      const ids: string[] = [];
      await withSpool(folder, async (spool) => {
        const fill = async () => {
          for (;;) ids.push((await store(spool, letter(90_000))).id);
        };
        await assert.rejects(fill(), (error) => error instanceof StoreFailed && /os error 28/.test(error.message));
        assert.ok(ids.length >= 8, `${ids.length} fitted`);
        await assert.rejects(store(spool, letter(600_000)), StoreFailed);
        await mount("mount", "-o", "remount,size=2m", folder);
        ids.push((await store(spool, letter(90_000))).id);
        for (const id of ids) assertSameBytes(await read(spool.content(id)), letter(90_000));
      });
      await withSpool(folder, (spool) => {
        assert.deepEqual([...spool.entries()].map(({ id }) => id), ids);
        return Promise.resolve();
      });
    } finally {
      await mount("umount", folder);
    }
  });
});

Deno.test("a second owner of the folder is refused and told who has it; after close it is free", async () => {
  await inFolder(async (folder) => {
    await withSpool(folder, async () => {
      const second = Spool.open({ folder, log: silent });
      await assert.rejects(second, (error) => error instanceof SpoolLocked && error.message.includes(`${Deno.pid}`));
    });
    const spool = await Spool.open({ folder, log: silent });
    await spool.close();
    await assert.rejects(store(spool, letter(5)), StoreFailed);
  });
});

Deno.test("reading tells damage: before a short body is handed out, at the end of a long one", async () => {
  await inFolder(async (folder) => {
    await withSpool(folder, async (spool) => {
      const short = await store(spool, letter(5000)), long = await store(spool, letter(900_000));
      const path = `${folder}/${segmentsOf(folder)[0]}`, bytes = await Deno.readFile(path);
      for (const at of [2000, bytes.length - 600_000]) bytes[at] = (bytes[at] ?? 0) ^ 1;
      await Deno.writeFile(path, bytes);
      const pieces = spool.content(short.id).pieces()[Symbol.asyncIterator]();
      await assert.rejects(pieces.next(), Damaged);
      await assert.rejects(read(spool.content(long.id)), Damaged);
      await spool.setAsideNow(long.id, "Wrong checksum");
      assert.deepEqual(damagedIn(folder), [`${long.id}.eml`, `${long.id}.json`]);
      const note = JSON.parse(await Deno.readTextFile(`${folder}/damaged/${long.id}.json`));
      assert.deepEqual([note.reason, note.envelope.sender], ["Wrong checksum", "ann@example.com"]);
      assert.equal((await Deno.stat(`${folder}/damaged/${long.id}.eml`)).size, 900_000);
      assert.equal(spool.entry(long.id), undefined);
      assert.deepEqual([...spool.entries()].map(({ id }) => id), [short.id]);
    });
  });
});
