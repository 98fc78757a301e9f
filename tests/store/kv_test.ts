import assert from "node:assert/strict";
import { join } from "node:path";
import { commit, KEY, migrate, type Migration, openKv, SCHEMA, StoreTooNew } from "../../src/store/kv.ts";
import { secret } from "../../src/store/secrets.ts";
import { otherProcess, withStore } from "./temporary_store.ts";

Deno.test("a new store has a schema version and can be read by its owner alone", async () => {
  await withStore(async ({ folder, kv }) => {
    assert.equal((await kv.get(KEY.schema)).value, SCHEMA);
    assert.equal((await Deno.stat(join(folder, "kv.sqlite"))).mode! & 0o777, 0o600);
    for await (const { name } of Deno.readDir(folder)) {
      assert.equal((await Deno.stat(join(folder, name))).mode! & 0o077, 0, `${name} is open to others`);
    }
  });
});

Deno.test("a store written by a newer program is refused with what to do, and not touched", async () => {
  await withStore(async ({ folder, kv }) => {
    await commit(kv.atomic().set(KEY.schema, SCHEMA + 1));
    await assert.rejects(openKv({ store: folder }), (error: unknown) => {
      assert(error instanceof StoreTooNew);
      assert.match(error.message, /newer maildemon wrote it \(schema 2, .* up to 1\).*Run the newer program/);
      return true;
    });
    assert.equal((await kv.get(KEY.schema)).value, SCHEMA + 1);
  });
});

Deno.test("processes that open a new store at once agree on its schema and its secrets", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const secrets = await Promise.all([1, 2, 3, 4].map(() => otherProcess(folder, "secret")));
    assert.match(secrets[0] ?? "", /^[0-9a-f]{64}$/);
    assert.deepEqual([...new Set(secrets)], [secrets[0]]);
    const kv = await openKv({ store: folder });
    assert.equal((await secret(kv, "scram")).toHex(), secrets[0]);
    assert.notEqual((await secret(kv, "other")).toHex(), secrets[0]);
    kv.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("commit gives the versionstamp of what it wrote, and none when a check does not hold", async () => {
  await withStore(async ({ kv }) => {
    const before = await kv.get(["x"]);
    const stamp = await commit(kv.atomic().check(before).set(["x"], 1));
    assert.equal(await commit(kv.atomic().check(before).set(["x"], 2)), undefined);
    const after = await kv.get(["x"]);
    assert.deepEqual([after.value, after.versionstamp], [1, stamp]);
  });
});

Deno.test("steps between schemas are taken once each, in order, in one commit with their number", async () => {
  await withStore(async ({ kv }) => {
    await commit(kv.atomic().set(["old", "ann"], "a").set(["old", "bob"], "b"));
    const taken: number[] = [];
    const first: Migration = () => Promise.reject(new Error("it was taken when the store was made"));
    const moves: Migration = async (kv, change) => {
      taken.push(2);
      for await (const { key, value } of kv.list({ prefix: ["old"] })) change.delete(key).set(["new", key[1]!], value);
    };
    const fails: Migration = (_, change) => {
      taken.push(3);
      change.set(["new", "ann"], "lost");
      return Promise.reject(new Error("made up"));
    };
    await assert.rejects(migrate(kv, "x", [first, moves, fails]), /made up/);
    assert.equal((await kv.get(KEY.schema)).value, 2);
    assert.deepEqual([(await kv.get(["old", "ann"])).value, (await kv.get(["new", "ann"])).value], [null, "a"]);
    const works: Migration = (_, change) => (taken.push(4), change.set(["new", "eve"], "e"), Promise.resolve());
    await Promise.all([1, 2, 3].map(() => migrate(kv, "x", [first, moves, works])));
    assert.equal((await kv.get(KEY.schema)).value, 3);
    assert.equal((await kv.get(["new", "eve"])).value, "e");
    assert.deepEqual(taken.slice(0, 2), [2, 3]);
    await migrate(kv, "x", [first, moves, works]);
    await assert.rejects(migrate(kv, "x", [first, moves]), StoreTooNew);
  });
});
