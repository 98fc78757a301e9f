import assert from "node:assert/strict";
import { replaceFile, writeAll } from "../src/durable_file.ts";
import { inFolder } from "./config/temporary_folder.ts";

Deno.test("a file is replaced whole, with the rights that it should have", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/file`, part = `${folder}/part`;
    // As a run leaves it that was killed.
    await Deno.writeTextFile(part, "half of something longer", { mode: 0o666 });
    for (const [text, mode] of [["old\n", 0o644], ["new\n", 0o600]] as const) {
      await replaceFile(path, part, text, mode);
      assert.equal(await Deno.readTextFile(path), text);
      assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, mode);
    }
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["file"]);
  });
});

Deno.test("what cannot be replaced stays as it was, and nothing lies beside it", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/file`;
    await Deno.mkdir(path);
    await assert.rejects(replaceFile(path, `${folder}/part`, "new", 0o600), /directory/i);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["file"]);
    await assert.rejects(
      replaceFile(`${folder}/missing/file`, `${folder}/missing/part`, "new", 0o600),
      Deno.errors.NotFound,
    );
  });
});

Deno.test("all bytes are written, however few are taken at a time", async () => {
  const taken: number[] = [];
  const slow = {
    write(bytes: Uint8Array) {
      taken.push(...bytes.subarray(0, 3));
      return Promise.resolve(Math.min(bytes.length, 3));
    },
  };
  await writeAll(slow, Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
  assert.deepEqual(taken, [1, 2, 3, 4, 5, 6, 7, 8]);
});
