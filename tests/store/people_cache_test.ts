import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { parseMailbox } from "../../src/smtp/address.ts";
import { Directory } from "../../src/store/directory.ts";
import { pause } from "../../src/store/kv.ts";
import { Logins } from "../../src/store/logins.ts";
import { PeopleCache } from "../../src/store/people_cache.ts";
import type { TemporaryStore } from "./temporary_store.ts";
import { CHEAP, DOMAINS, otherProcess, withStore } from "./temporary_store.ts";

function withCache(
  work: (store: TemporaryStore, cache: PeopleCache) => Promise<void>,
  interval?: number,
): Promise<void> {
  return withStore(async (store) => {
    const cache = await PeopleCache.open(store.kv, { log: silent, ...interval === undefined ? {} : { interval } });
    try {
      await work(store, cache);
    } finally {
      await cache.close();
    }
  });
}

function mailbox(address: string) {
  const parsed = parseMailbox(address);
  assert(parsed !== undefined, address);
  return parsed;
}

Deno.test("a user added by another process can be written to and sign in within a second", async () => {
  await withCache(async ({ folder }, cache) => {
    const directory = new Directory(cache, { store: folder });
    const logins = new Logins(cache, { cost: CHEAP });
    assert.deepEqual(await directory.resolve(mailbox("new@ours.test"), DOMAINS), { known: false, reason: "unknown" });
    assert.equal((await logins.verifyPassword("new@ours.test", "Correct horse")).result, "wrong");
    await otherProcess(folder, "add", "new@ours.test", "Correct horse");
    const start = performance.now();
    while (!(await directory.resolve(mailbox("new@ours.test"), DOMAINS)).known) {
      assert(performance.now() - start < 1000, "not seen within a second");
      await pause(20);
    }
    assert.equal((await logins.verifyPassword("new@ours.test", "Correct horse")).result, "right");
    assert(performance.now() - start < 1000, "could not sign in within a second");
  });
});

Deno.test("what is remembered costs the store nothing and is the truth again after a refresh", async () => {
  await withCache(async ({ users, kv }, cache) => {
    await users.add({ address: "ann@ours.test" });
    await cache.refresh();
    const ann = mailbox("ann@ours.test");
    assert.equal(await cache.user(ann), await cache.user(mailbox("ANN@ours.test")));
    await kv.delete(["user", "ours.test", "ann"]);
    assert.equal((await cache.user(ann))?.address, "ann@ours.test");
    await cache.refresh();
    assert.equal((await cache.user(ann))?.address, "ann@ours.test", "the version has not moved");
    await users.add({ address: "bob@ours.test" });
    await cache.refresh();
    assert.equal(await cache.user(ann), undefined);
  }, 60_000);
});

Deno.test("a user may send as the own addresses, in any case and with tags, and as nobody else", async () => {
  await withCache(async ({ users }, cache) => {
    await users.add({ address: "Ann@ours.test", addresses: ["info@second.test"] });
    await users.add({ address: "bob@ours.test" });
    await cache.refresh();
    assert.deepEqual(await cache.addressesOf("ann@ours.test"), ["ann@ours.test", "info@second.test"]);
    assert.deepEqual(await cache.addressesOf("eve@ours.test"), []);
    assert.deepEqual(await cache.addressesOf("no address"), []);
    const may = (address: string) => cache.maySendAs("ANN@ours.test", mailbox(address));
    for (
      const own of ["ann@ours.test", "ANN@OURS.TEST", "ann+x@ours.test", "Info@second.test", "info+a+b@second.test"]
    ) {
      assert.equal(await may(own), true, own);
    }
    for (const other of ["bob@ours.test", "info@ours.test", "ann@second.test", "+ann@ours.test", "anna@ours.test"]) {
      assert.equal(await may(other), false, other);
    }
    assert.equal(await cache.maySendAs("eve@ours.test", mailbox("eve@ours.test")), false);
  });
});

Deno.test("a dictionary attack does not fill the memory, and a closed cache leaves no timer", async () => {
  await withCache(async ({ users }, cache) => {
    await users.add({ address: "ann@ours.test" });
    await cache.refresh();
    for (let batch = 0; batch < 21; batch++) {
      await Promise.all(Array.from({ length: 1000 }, (_, n) => cache.owner(`x${batch}.${n}@ours.test`)));
    }
    assert.deepEqual(await cache.owner("ann@ours.test"), { of: "user", login: "ann@ours.test" });
  });
});

Deno.test("a store that cannot be read is logged, and mail goes on with what is remembered", async () => {
  await withStore(async ({ users, kv, folder }) => {
    await users.add({ address: "ann@ours.test" });
    const lines: string[] = [];
    let tell = () => {};
    const told = new Promise<void>((resolve) => tell = resolve);
    const broken = new Proxy(kv, {
      get: (real, name) =>
        name === "get" && lines.length >= 0 && failing
          ? () => Promise.reject(new Error("disk gone"))
          : Reflect.get(real, name).bind(real),
    });
    let failing = false;
    const cache = await PeopleCache.open(broken, {
      interval: 5,
      log: (level, event, fields) => {
        lines.push(`${level} ${event} ${fields?.error}`);
        tell();
      },
    });
    const directory = new Directory(cache, { store: folder });
    assert.equal((await directory.resolve(mailbox("ann@ours.test"), DOMAINS)).known, true);
    failing = true;
    await told;
    assert.equal(lines[0], "warning people-unreadable Error: disk gone");
    assert.equal((await directory.resolve(mailbox("ann@ours.test"), DOMAINS)).known, true);
    await assert.rejects(directory.resolve(mailbox("bob@ours.test"), DOMAINS), /disk gone/);
    failing = false;
    await cache.refresh();
    assert.equal((await directory.resolve(mailbox("bob@ours.test"), DOMAINS)).known, false);
    await cache.close();
  });
});

Deno.test("a user who is disabled or removed may not send any more, whatever session has begun before", async () => {
  await withCache(async ({ users }, cache) => {
    await users.add({ address: "ann@ours.test" });
    await users.add({ address: "bob@ours.test" });
    const may = async (address: string) => {
      await cache.refresh();
      return await cache.maySendAs(address, mailbox(address));
    };
    assert.deepEqual([await may("ann@ours.test"), await may("bob@ours.test")], [true, true]);
    await users.set("ann@ours.test", { enabled: false });
    await users.remove("bob@ours.test");
    assert.deepEqual([await may("ann@ours.test"), await may("bob@ours.test")], [false, false]);
    await users.set("ann@ours.test", { enabled: true });
    assert.equal(await may("ann@ours.test"), true);
  });
});
