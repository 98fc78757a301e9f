import assert from "node:assert/strict";
import { type Log, silent } from "../../src/log.ts";
import { Journal } from "../../src/queue/journal.ts";
import { messageRecord, partRecord } from "../../src/queue/kept_message.ts";
import type { Spool } from "../../src/queue/spool.ts";
import {
  assertSameBytes,
  damagedIn,
  envelope,
  inFolder,
  letter,
  read,
  segmentsOf,
  store,
  withSpool,
} from "./spooled.ts";

const ids = (spool: Spool) => [...spool.entries()].map(({ id }) => id);

/** Stores the letters and returns their ids and the only segment. */
async function journalOf(folder: string, ...lengths: number[]) {
  const stored = await withSpool(folder, async (spool) => {
    const stored: string[] = [];
    for (const [seed, length] of lengths.entries()) stored.push((await store(spool, letter(length, seed))).id);
    return stored;
  });
  const [name] = segmentsOf(folder), path = `${folder}/${name}`;
  return { stored, path, bytes: await Deno.readFile(path) };
}

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const flipped = bytes.slice();
  flipped[at] = (flipped[at] ?? 0) ^ 0x40;
  return flipped;
}

/** Where the records begin: at each occurrence of the mark, which opens the file. */
function starts(bytes: Uint8Array): number[] {
  const starts: number[] = [];
  for (let at = 0; at < bytes.length; at++) {
    if (bytes.subarray(0, 8).every((byte, i) => bytes[at + i] === byte)) starts.push(at);
  }
  return starts;
}

Deno.test("a journal cut at any byte of its last record keeps all before it, and takes new mail", async () => {
  await inFolder(async (folder) => {
    const { stored, path, bytes } = await journalOf(folder, 300, 200, 100);
    const last = starts(bytes).at(-1) ?? 0;
    assert.ok(last > 0 && last < bytes.length - 100);
    for (let length = last; length <= bytes.length; length++) {
      for (const name of segmentsOf(folder)) await Deno.remove(`${folder}/${name}`);
      await Deno.writeFile(path, bytes.subarray(0, length));
      const whole = length === bytes.length;
      const added = await withSpool(folder, async (spool) => {
        assert.deepEqual(ids(spool), whole ? stored : stored.slice(0, 2), `cut at ${length}`);
        assert.equal(spool.setAside, 0);
        assertSameBytes(await read(spool.content(stored[1] ?? "")), letter(200, 1));
        assert.equal((await Deno.stat(path)).size, whole ? length : last);
        return (await store(spool, letter(10))).id;
      });
      await withSpool(folder, (spool) => {
        assert.deepEqual(ids(spool), [...stored.slice(0, whole ? 3 : 2), added]);
        return Promise.resolve();
      });
    }
    assert.deepEqual(damagedIn(folder), []);
  });
});

Deno.test("a long message cut at any of its records is gone, and those before it are there", async () => {
  await inFolder(async (folder) => {
    const { stored, path, bytes } = await journalOf(folder, 300, 900_000);
    for (const at of starts(bytes).slice(2)) {
      for (const length of [at, at + 20, at + 60]) {
        await Deno.writeFile(path, bytes.subarray(0, length));
        await withSpool(folder, (spool) => {
          assert.deepEqual(ids(spool), stored.slice(0, 1));
          return Promise.resolve();
        });
      }
    }
  });
});

Deno.test("a tail of zeros, of garbage, or of half a record is cut off", async () => {
  await inFolder(async (folder) => {
    const { stored, path, bytes } = await journalOf(folder, 300, 200);
    const tails = [new Uint8Array(100_000), letter(5000), bytes.slice(starts(bytes)[1], (starts(bytes)[2] ?? 0) - 1)];
    for (const tail of tails) {
      await Deno.writeFile(path, bytes);
      await Deno.writeFile(path, tail, { append: true });
      await withSpool(folder, (spool) => {
        assert.deepEqual([ids(spool), spool.setAside, damagedIn(folder)], [stored, 0, []]);
        return Promise.resolve();
      });
      assert.equal((await Deno.stat(path)).size, bytes.length);
    }
  });
});

Deno.test("a flipped bit anywhere in the middle costs at most the one message, which is set aside once", async () => {
  await inFolder(async (folder) => {
    const { stored, path, bytes } = await journalOf(folder, 300, 60, 200);
    const [, , from = 0, to = 0] = starts(bytes);
    for (let at = from; at < to; at++) {
      for (const name of segmentsOf(folder)) await Deno.remove(`${folder}/${name}`);
      await Deno.remove(`${folder}/damaged`, { recursive: true }).catch(() => {});
      await Deno.writeFile(path, flip(bytes, at));
      const events: string[] = [], log: Log = (_level, event) => void events.push(event);
      await withSpool(folder, async (spool) => {
        assert.deepEqual([ids(spool), spool.setAside], [[stored[0], stored[2]], 1], `byte ${at - from}`);
        assertSameBytes(await read(spool.content(stored[2] ?? "")), letter(200, 2));
      }, { log });
      assert.ok(events.includes("journal-damage") || events.includes("message-damaged"), events.join());
      const saved = damagedIn(folder);
      assert.ok(saved.length > 0);
      if (at >= to - 60) assert.deepEqual(saved, [`${stored[1]}.eml`, `${stored[1]}.json`]);
      await withSpool(folder, (spool) => {
        assert.deepEqual([ids(spool), spool.setAside, damagedIn(folder)], [[stored[0], stored[2]], 0, saved]);
        return Promise.resolve();
      });
    }
  });
});

Deno.test("a damaged part in the middle costs its message and no other", async () => {
  await inFolder(async (folder) => {
    const { stored, path, bytes } = await journalOf(folder, 300, 900_000, 200);
    const [, , , part = 0] = starts(bytes);
    for (const at of [part + 3, part + 20, part + 5000]) {
      await Deno.writeFile(path, flip(bytes, at));
      await withSpool(folder, (spool) => {
        assert.deepEqual(ids(spool), [stored[0], stored[2]]);
        assert.ok(spool.setAside >= 1);
        return Promise.resolve();
      });
      assert.ok(damagedIn(folder).includes(`${stored[1]}.json`));
      for (const name of segmentsOf(folder)) if (!path.endsWith(name)) await Deno.remove(`${folder}/${name}`);
    }
  });
});

Deno.test("a copy of a long message that a crash cut short takes nothing from the message, nor from the next copy", async () => {
  await inFolder(async (folder) => {
    const id = "01hf8y4k2abc", meta = { envelope: envelope("a@x.test", "b@x.test"), standings: [] };
    const pieces = [0, 1, 2].map((seed) => letter(1000, seed)),
      whole = new Uint8Array(pieces.flatMap((piece) => [...piece]));
    const journal = new Journal({ folder, log: silent }, []);
    const part = (index: number) => journal.append(partRecord(id, index, pieces[index + 1] ?? letter(0)), false);
    const sealed = () => journal.append(messageRecord(id, meta, 2, pieces[0] ?? letter(0)), true);
    const check = () =>
      withSpool(folder, async (spool) => {
        assert.deepEqual([ids(spool), spool.setAside], [[id], 0]);
        assertSameBytes(await read(spool.content(id)), whole);
      });
    await Promise.all([part(0), part(1), sealed(), part(0)]);
    await check();
    await Promise.all([part(0), part(1), sealed()]);
    await journal.close();
    await check();
  });
});

Deno.test("lost bytes in the middle cost what they hit, and the records behind them are found", async () => {
  await inFolder(async (folder) => {
    const { stored, path, bytes } = await journalOf(folder, 3000, 3000, 3000, 3000);
    const [, , second = 0] = starts(bytes);
    await Deno.writeFile(path, new Uint8Array([...bytes.subarray(0, second + 1000), ...bytes.subarray(second + 1777)]));
    await withSpool(folder, async (spool) => {
      assert.deepEqual(ids(spool), [stored[0], stored[2], stored[3]]);
      for (const i of [2, 3]) assertSameBytes(await read(spool.content(stored[i] ?? "")), letter(3000, i));
    });
  });
});

Deno.test("records inside a message are never taken for the journal's own", async () => {
  await inFolder(async (folder) => {
    const { bytes: evil } = await journalOf(folder, 50);
    await Deno.remove(`${folder}/${segmentsOf(folder)[0]}`);
    const { stored, path, bytes } = await withSpool(folder, async (spool) => {
      const stored = [(await store(spool, letter(40))).id, (await store(spool, evil)).id];
      const path = `${folder}/${segmentsOf(folder)[0]}`;
      return { stored, path, bytes: await Deno.readFile(path) };
    });
    await Deno.writeFile(path, bytes.subarray(0, bytes.length - 1));
    await withSpool(folder, (spool) => {
      assert.deepEqual([ids(spool), damagedIn(folder)], [stored.slice(0, 1), []]);
      return Promise.resolve();
    });
  });
});

Deno.test("the folder may hold empty, blank, shortened and unknown files, and segments of mere garbage", async () => {
  await inFolder(async (folder) => {
    const stored = await withSpool(folder, async (spool) => {
      const stored: string[] = [];
      for (let seed = 0; seed < 6; seed++) stored.push((await store(spool, letter(900, seed))).id);
      return stored;
    }, { segmentSize: 3000 });
    const [, middle, third] = segmentsOf(folder);
    assert.ok(middle && third);
    await Deno.truncate(`${folder}/${middle}`, 0); // Two messages are lost for good: nobody can say which.
    await Deno.writeFile(`${folder}/0000000007-00112233445566ff.segment`, letter(0));
    await Deno.writeFile(`${folder}/0000000008-00112233445566ff.segment`, letter(5000));
    await Deno.writeFile(`${folder}/0000000009-00112233445566ff.segment`, new Uint8Array(5000));
    await Deno.writeFile(`${folder}/README`, letter(20));
    await Deno.mkdir(`${folder}/0000000010-00112233445566ff.segment`);
    const events: string[] = [], log: Log = (_level, event) => void events.push(event);
    const left = await withSpool(folder, async (spool) => {
      const left = ids(spool);
      assert.equal(left.length, 4);
      assert.ok(left.every((id) => stored.includes(id)));
      for (const id of left) assertSameBytes(await read(spool.content(id)), letter(900, stored.indexOf(id)));
      assert.deepEqual(damagedIn(folder), ["0000000008-00112233445566ff.segment.bytes"]);
      return [...left, (await store(spool, letter(10))).id];
    }, { log });
    assert.deepEqual(events.toSorted(), [
      "journal-bytes-missing",
      "journal-damage",
      "journal-unknown-file",
      "journal-unknown-file",
    ]);
    await withSpool(folder, (spool) => {
      assert.deepEqual([ids(spool), spool.setAside], [left, 0]);
      return Promise.resolve();
    });
  });
});

Deno.test("damage in an older segment is set aside at start, or found when its message is read", async () => {
  await inFolder(async (folder) => {
    const stored = await withSpool(folder, async (spool) => {
      const stored: string[] = [];
      for (let seed = 0; seed < 6; seed++) stored.push((await store(spool, letter(900, seed))).id);
      return stored;
    }, { segmentSize: 3000 });
    const path = `${folder}/${segmentsOf(folder)[0]}`, bytes = await Deno.readFile(path);
    const second = starts(bytes)[2];
    assert.ok(second);
    // The body of the first message, and the envelope of the second.
    await Deno.writeFile(path, flip(flip(bytes, second - 10), second + 50));
    await withSpool(folder, async (spool) => {
      assert.deepEqual([ids(spool), spool.setAside], [[stored[0], ...stored.slice(2)], 1]);
      await assert.rejects(read(spool.content(stored[0] ?? "")), { name: "Damaged" });
      for (const id of stored.slice(2)) await read(spool.content(id));
    });
  });
});

Deno.test("ids go on above those of an earlier process, though its clock was a day ahead", async () => {
  await inFolder(async (folder) => {
    const ahead = await withSpool(folder, (spool) => store(spool, letter(5)), { now: () => Date.now() + 86_400_000 });
    const [lost, next] = await withSpool(folder, async (spool) => {
      const lost = spool.draft();
      for (let i = 0; i < 3; i++) await lost.write(letter(256 * 1024));
      return [lost.id, (await store(spool, letter(5))).id];
    });
    assert.ok(ahead.id < lost && lost < next, `${ahead.id} ${lost} ${next}`);
    await withSpool(folder, (spool) => {
      assert.deepEqual(ids(spool), [ahead.id, next]);
      return Promise.resolve();
    });
  });
});

Deno.test("100,000 waiting messages are read back in well under 2 s", async () => {
  await inFolder(async (folder) => {
    await withSpool(folder, async (spool) => {
      for (let i = 0; i < 100_000; i += 1000) {
        await Promise.all(Array.from({ length: 1000 }, (_, k) => store(spool, letter(4500, k))));
      }
    });
    const start = performance.now();
    await withSpool(folder, async (spool) => {
      const took = performance.now() - start;
      console.log(`  read back in ${Math.round(took)} ms`);
      assert.equal(spool.size, 100_000);
      let last = "";
      for (const { id } of spool.entries()) last = id;
      assertSameBytes(await read(spool.content(last)), letter(4500, 999));
      // Generous, because other tests may run beside this one.
      assert.ok(took < 4000, `${took} ms`);
    });
  });
});
