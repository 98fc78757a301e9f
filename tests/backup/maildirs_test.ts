/** A Maildir is walked while a reader of mail sets flags, moves messages and makes new folders in it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { walkMail } from "../../src/backup/maildirs.ts";
import { pause } from "../support/letters.ts";

const COUNT = 300;

Deno.test("every message that was there is found once, however often it is renamed meanwhile", async () => {
  const root = await Deno.makeTempDir();
  try {
    const folders = ["new", "cur", ".Archive/cur", ".Trash/cur"].map((name) => join(root, name));
    for (const folder of folders) await Deno.mkdir(folder, { recursive: true });
    const places = Array.from({ length: COUNT }, (_, index) => join(folders[0]!, `${index}.x`));
    for (const [index, path] of places.entries()) await Deno.writeTextFile(path, `message ${index}`);
    let goesOn = true, renamed = 0;
    const reader = (async () => {
      while (goesOn) {
        const index = Math.floor(Math.random() * COUNT);
        const next = join(folders[1 + Math.floor(Math.random() * 3)]!, `${index}.x:2,${"FRST".slice(0, renamed % 5)}`);
        if (next === places[index]) continue;
        await Deno.rename(places[index]!, next);
        places[index] = next;
        renamed++;
        if (renamed % 20 === 0) await pause(0);
      }
    })();
    const found: string[] = [];
    for await (const one of walkMail(root)) {
      if ("folder" in one) continue;
      const bytes = new Uint8Array(100), count = await one.file.read(bytes);
      found.push(new TextDecoder().decode(bytes.subarray(0, count ?? 0)));
      if (found.length % 10 === 0) await pause(1);
    }
    goesOn = false;
    await reader;
    assert.ok(renamed > COUNT, `only ${renamed} renames`);
    assert.deepEqual(found.toSorted(), Array.from({ length: COUNT }, (_, index) => `message ${index}`).sort());
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("a message with two names is found under both, and what is half delivered is not", async () => {
  const root = await Deno.makeTempDir();
  try {
    for (const name of ["cur", "tmp", ".Sent/cur"]) await Deno.mkdir(join(root, name), { recursive: true });
    await Deno.writeTextFile(join(root, "cur/1.x"), "one");
    await Deno.writeTextFile(join(root, "tmp/2.x"), "tw");
    await Deno.link(join(root, "cur/1.x"), join(root, ".Sent/cur/1.x"));
    const names: string[] = [];
    for await (const one of walkMail(root)) names.push(one.name);
    assert.deepEqual(names, [".Sent", ".Sent/cur", ".Sent/cur/1.x", "cur", "cur/1.x", "tmp"]);
    for await (const _ of walkMail(join(root, "nothing"))) assert.fail("there is nothing");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("mail that never stops coming does not keep the walk from ending", async () => {
  const root = await Deno.makeTempDir();
  try {
    const deliver = async (index: number, time: number) => {
      await Deno.writeTextFile(join(root, `${index}.x`), `message ${index}`);
      await Deno.utime(join(root, `${index}.x`), time, time);
    };
    await deliver(0, 1_600_000_000);
    let found = 0;
    for await (const one of walkMail(root)) if ("file" in one) await deliver(++found, Date.now() / 1000 + 120);
    assert.ok(found < 5, `it was met ${found} times`);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
