import assert from "node:assert/strict";
import { Commits } from "../../src/store/commits.ts";
import { otherProcess, withStore } from "./temporary_store.ts";

Deno.test("commits resolve when what was written can be read by others", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    await Promise.all(
      Array.from({ length: 2500 }, async (_, number) => {
        await commits.write({ do: "set", key: ["n", number], value: { number } });
      }),
    );
    let count = 0;
    for await (const { key, value } of kv.list<{ number: number }>({ prefix: ["n"] })) {
      assert.equal(value.number, key[1]);
      count++;
    }
    assert.equal(count, 2500);
    await commits.write({ do: "delete", key: ["n", 7] });
    assert.equal((await kv.get(["n", 7])).value, null);
    await commits.close();
  });
});

Deno.test("commits gather what waits, so 2,000 writers share few commits", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    await Promise.all(
      Array.from({ length: 2000 }, (_, number) => commits.write({ do: "set", key: ["n", number], value: number })),
    );
    const stamps = new Set<string>();
    for await (const { versionstamp } of kv.list({ prefix: ["n"] })) stamps.add(versionstamp);
    assert(stamps.size <= 3, `${stamps.size} commits`);
  });
});

Deno.test("commits stay below 800 KiB each, and a group is never torn apart", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    const value = new Uint8Array(60_000);
    await Promise.all(
      Array.from({ length: 30 }, (_, number) =>
        commits.write(
          { do: "set", key: ["big", number, "a"], value },
          { do: "set", key: ["big", number, "b"], value },
          { do: "sum", key: ["count"], by: 2n },
        )),
    );
    for (let number = 0; number < 30; number++) {
      const [a, b] = await kv.getMany([["big", number, "a"], ["big", number, "b"]]);
      assert(a.versionstamp !== null);
      assert.equal(a.versionstamp, b.versionstamp);
    }
    assert.equal((await kv.get<Deno.KvU64>(["count"])).value?.value, 60n);
  });
});

Deno.test("a value that can never be stored is refused alone", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    const good = commits.write({ do: "set", key: ["good"], value: 1 });
    await assert.rejects(
      commits.write({ do: "set", key: ["long"], value: "x".repeat(70_000) }),
      /65536 is the most one record can hold/,
    );
    const many = Array.from({ length: 1001 }, (_, n) => ({ do: "set", key: ["m", n], value: n } as const));
    await assert.rejects(commits.write(...many), /1001 records .* in one commit: 1000 records/);
    await good;
    assert.equal((await kv.get(["good"])).value, 1);
  });
});

Deno.test("a group whose check does not hold harms only itself, and learns it", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    const first = await commits.write({ do: "set", key: ["a"], value: 1 });
    const guarded = (value: number, versionstamp: string | null) =>
      commits.write(
        { do: "check", key: ["a"], versionstamp },
        { do: "set", key: ["a"], value },
        { do: "sum", key: ["changes"], by: 1n },
      );
    const stamps = await Promise.all([
      commits.write({ do: "set", key: ["before"], value: 1 }),
      guarded(2, null),
      commits.write({ do: "check", key: ["new"], versionstamp: null }, { do: "set", key: ["new"], value: 1 }),
      guarded(3, first ?? null),
      commits.write({ do: "set", key: ["behind"], value: 1 }),
    ]);
    assert.deepEqual(stamps.map((stamp) => stamp !== undefined), [true, false, true, true, true]);
    const found = await kv.getMany([["before"], ["new"], ["a"], ["behind"]]);
    assert.deepEqual(found.map(({ value }) => value), [1, 1, 3, 1]);
    assert.equal(found[2]?.versionstamp, stamps[3], "good for the next check");
    assert.equal((await kv.get<Deno.KvU64>(["changes"])).value?.value, 1n);
    await commits.close();
  });
});

Deno.test("no more than a hundred checks stand in one commit", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    const guarded = (number: number) =>
      commits.write(
        { do: "check", key: ["n", number], versionstamp: null },
        { do: "set", key: ["n", number], value: number },
      );
    const stamps = await Promise.all(Array.from({ length: 250 }, (_, number) => guarded(number)));
    assert.ok(stamps.every((stamp) => stamp !== undefined));
    assert.equal(new Set(stamps).size, 3);
    const many = Array.from({ length: 101 }, (_, n) => ({ do: "check", key: ["m", n], versionstamp: null } as const));
    await assert.rejects(commits.write(...many), /check 101 records in one commit: 100 are the most/);
    assert.notEqual(await commits.write({ do: "set", key: ["after"], value: 1 }), undefined);
    await commits.close();
  });
});

Deno.test("a check that many groups share is one check, and none of them is written when it does not hold", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv), shared = { do: "check", key: ["shared"], versionstamp: null } as const;
    const write = (round: string) =>
      Promise.all(Array.from({ length: 198 }, (_, number) =>
        commits.write(
          shared,
          { do: "check", key: [round, number], versionstamp: null },
          { do: "set", key: [round, number], value: number },
        )));
    const stamps = await write("first");
    assert.ok(stamps.every((stamp) => stamp !== undefined));
    assert.equal(new Set(stamps).size, 2);
    await commits.write({ do: "set", key: ["shared"], value: 1 });
    assert.deepEqual(new Set(await write("second")), new Set([undefined]));
    for await (const { key } of kv.list({ prefix: ["second"] })) assert.fail(`${key.join(" ")} was written`);
    await commits.close();
  });
});

Deno.test("a failed commit is told to each who waits for it, and the next one works", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    await commits.write({ do: "set", key: ["text"], value: "not a number" });
    const results = await Promise.allSettled([
      commits.write({ do: "sum", key: ["text"], by: 1n }),
      commits.write({ do: "set", key: ["beside"], value: 1 }),
    ]);
    assert.deepEqual(results.map(({ status }) => status), ["rejected", "rejected"]);
    await commits.write({ do: "set", key: ["after"], value: 1 });
    assert.equal((await kv.get(["after"])).value, 1);
  });
});

Deno.test("a closed gatherer has written everything and takes nothing more", async () => {
  await withStore(async ({ kv }) => {
    const commits = new Commits(kv);
    const writing = commits.write({ do: "set", key: ["last"], value: 1 });
    await commits.close();
    assert.equal((await kv.get(["last"])).value, 1);
    await writing;
    await assert.rejects(commits.write({ do: "delete", key: ["last"] }), /being closed/);
  });
});

Deno.test("three processes that write to one file at once lose nothing", async () => {
  await withStore(async ({ folder, kv }) => {
    const commits = new Commits(kv);
    await Promise.all([
      otherProcess(folder, "sum", "150"),
      otherProcess(folder, "sum", "150"),
      ...Array.from({ length: 150 }, () => commits.write({ do: "sum", key: ["sum"], by: 1n })),
    ]);
    assert.equal((await kv.get<Deno.KvU64>(["sum"])).value?.value, 450n);
  });
});
