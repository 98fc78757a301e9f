import assert from "node:assert/strict";
import { Refused } from "../../src/store/people.ts";
import { HOSTILE } from "./hostile.ts";
import { withStore } from "./temporary_store.ts";

Deno.test("aliases are listed by address, replaced only when asked to, and gone when removed", async () => {
  await withStore(async ({ users, aliases }) => {
    await users.add({ address: "ann@ours.test" });
    await aliases.add({ address: "Sales@ours.test", targets: ["ann@ours.test", "ANN@ours.test", "x@Else.Test"] });
    await aliases.add({ address: "fair@ours.test", targets: ["ann@ours.test"], until: 1000 });
    assert.deepEqual((await aliases.list()).map(({ address, targets, until }) => ({ address, targets, until })), [
      { address: "fair@ours.test", targets: ["ann@ours.test"], until: 1000 },
      { address: "Sales@ours.test", targets: ["ANN@ours.test", "x@else.test"], until: undefined },
    ]);
    const again = { address: "sales@ours.test", targets: ["y@else.test"] };
    await assert.rejects(aliases.add(again), /is an alias already/);
    await aliases.add({ ...again, replace: true });
    assert.deepEqual((await aliases.list())[1]?.targets, ["y@else.test"]);
    await aliases.remove("SALES@ours.test");
    assert.deepEqual((await aliases.list()).map(({ address }) => address), ["fair@ours.test"]);
    await assert.rejects(aliases.remove("sales@ours.test"), /There is no alias/);
    await assert.rejects(aliases.remove("ann@ours.test"), /not an alias but an address of ann/);
  });
});

Deno.test("what cannot be a target is refused with the reason", async () => {
  await withStore(async ({ users, aliases }) => {
    await users.add({ address: "ann@ours.test", deliver: ["forward:team@ours.test", "maildir"] }).catch(() => {});
    const add = (...targets: string[]) => aliases.add({ address: "team@ours.test", targets });
    const table: readonly [() => Promise<unknown>, RegExp][] = [
      [() => add("|id"), /is a command, and mail is never given to programs/],
      [() => add("|id@else.test"), /is a command/],
      [() => add('"|id"@else.test'), /is a command/],
      [() => add("/etc/passwd"), /is the name of a file/],
      [() => add(":include:/x"), /is a list in a file/],
      [() => add("x@else.test\r\nRCPT"), /control characters/],
      [() => add("x@else.test\u0085"), /control characters/],
      [() => add("nobody"), /is not an address/],
      [() => add("SRS0=abcdefgh=aa=else.test=x@ours.test"), /is a return path of forwarded mail/],
      [() => add("srs1=abcdefgh=else.test==x@else.test"), /is a return path of forwarded mail/],
      [() => add("@ours.test:x@else.test"), /is not an address/],
      [() => add("ghost@ours.test"), /in a domain of ours and leads nowhere/],
      [() => add("team@ours.test"), /in a circle: team@ours.test → team@ours.test/],
      [() => add("TEAM+x@ours.test"), /in a circle/],
      [() => add("ann@ours.test"), /in a circle: team@ours.test → ann@ours.test → team@ours.test/],
      [() => add(), /1 to 100 targets/],
      [() => add(...Array.from({ length: 101 }, (_, n) => `x${n}@else.test`)), /1 to 100 targets/],
      [() => aliases.add({ address: "x@else.test", targets: ["y@else.test"] }), /not in a domain of ours/],
    ];
    for (const [change, reason] of table) {
      await assert.rejects(change(), (error: unknown) => {
        assert(error instanceof Refused, String(error));
        assert.match(error.message, reason);
        return true;
      });
    }
    assert.deepEqual(await aliases.list(), []);
  });
});

Deno.test("circles over several aliases are refused, also when they are closed by a replacement or a user", async () => {
  await withStore(async ({ users, aliases }) => {
    await users.add({ address: "ann@ours.test" });
    await aliases.add({ address: "c@ours.test", targets: ["ann@ours.test"] });
    await aliases.add({ address: "b@ours.test", targets: ["c@ours.test"] });
    await aliases.add({ address: "a@ours.test", targets: ["b@ours.test"] });
    await assert.rejects(
      aliases.add({ address: "c@ours.test", targets: ["x@else.test", "a@ours.test"], replace: true }),
      /c@ours.test → a@ours.test → b@ours.test → c@ours.test/,
    );
    await assert.rejects(
      users.set("ann@ours.test", { deliver: ["maildir", "forward:a@ours.test"] }),
      /ann@ours.test → a@ours.test → b@ours.test → c@ours.test → ann@ours.test/,
    );
  });
});

Deno.test("an alias that leads to more than 1,000 places, or over more than 10 steps, is refused", async () => {
  await withStore(async ({ aliases }) => {
    const hundred = (of: number) => Array.from({ length: 100 }, (_, number) => `x${of}.${number}@else.test`);
    for (let part = 0; part < 11; part++) {
      await aliases.add({ address: `part${part}@ours.test`, targets: hundred(part) });
    }
    const parts = Array.from({ length: 11 }, (_, part) => `part${part}@ours.test`);
    await aliases.add({ address: "most@ours.test", targets: parts.slice(0, 10) });
    await assert.rejects(aliases.add({ address: "all@ours.test", targets: parts }), /more than 1000 places/);

    await aliases.add({ address: "step1@ours.test", targets: ["end@else.test"] });
    for (let step = 2; step <= 10; step++) {
      await aliases.add({ address: `step${step}@ours.test`, targets: [`step${step - 1}@ours.test`] });
    }
    await assert.rejects(
      aliases.add({ address: "step11@ours.test", targets: ["step10@ours.test"] }),
      /over more than 10/,
    );
  });
});

Deno.test("hostile local parts as alias or target are refused, or are words like any other", async () => {
  await withStore(async ({ aliases }) => {
    for (const local of HOSTILE) {
      for (
        const alias of [
          { address: `${local}@ours.test`, targets: ["x@else.test"] },
          { address: "victim@ours.test", targets: [`${local}@else.test`], replace: true },
        ]
      ) {
        try {
          await aliases.add(alias);
          assert.match(local, /^[A-Za-z0-9!#$%&'*+\-=?^_`{}~]+$/, `${JSON.stringify(local)} was taken`);
        } catch (error) {
          assert(error instanceof Refused, `${JSON.stringify(local)}: ${error}`);
        }
      }
    }
    const made = new Set((await aliases.list()).map(({ address }) => address));
    for (const word of ["__proto__", "constructor", "toString"]) assert(made.has(`${word}@ours.test`), word);
  });
});

Deno.test("an alias that is closed is refused, and not left to the catch-all; a disposable one cannot be guessed", async () => {
  await withStore(async ({ users, aliases }) => {
    await users.add({ address: "ann@ours.test" });
    const made = new Set<string>();
    for (let count = 0; count < 20; count++) {
      const wanted = { word: "Shop", domain: "ours.test", targets: ["ann@ours.test"] };
      made.add((await aliases.disposable(wanted)).address);
    }
    assert.equal(made.size, 20);
    const [first = ""] = made;
    assert.match(first, /^shop-[a-z2-9]{6}@ours\.test$/);
    const before = Date.now();
    assert.ok(((await aliases.close(first.toUpperCase())).until ?? 0) >= before);
    assert.ok(((await aliases.list()).find(({ address }) => address === first)?.until ?? 0) >= before);
    await assert.rejects(aliases.close("ann@ours.test"), /not an alias but an address of ann/);
    for (const word of ["", "a b", "..", "|id", "-x", "x".repeat(33)]) {
      await assert.rejects(
        aliases.disposable({ word, domain: "ours.test", targets: ["ann@ours.test"] }),
        Refused,
        word,
      );
    }
  });
});
