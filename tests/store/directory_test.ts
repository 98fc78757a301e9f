import assert from "node:assert/strict";
import { parseMailbox } from "../../src/smtp/address.ts";
import { placeOf } from "../../src/queue/target.ts";
import type { Resolved } from "../../src/store/directory.ts";
import type { Domain } from "../../src/store/domains.ts";
import { Directory } from "../../src/store/directory.ts";
import { commit, KEY } from "../../src/store/kv.ts";
import { readPeople } from "../../src/store/people_cache.ts";
import type { TemporaryStore } from "./temporary_store.ts";
import { withStore } from "./temporary_store.ts";

const PLAIN: readonly Domain[] = [{ name: "ours.test" }, { name: "second.test" }];

/** Targets as text: a path below the mail folder, or an address. */
async function ask(
  store: TemporaryStore,
  address: string,
  domains = PLAIN,
  now = Date.now,
): Promise<string[] | string> {
  const found = await resolved(store, address, domains, now);
  if (!found.known) return found.reason;
  return found.targets.map((target) => placeOf(target).replace(`${store.folder}/mail/`, "")).sort();
}

function resolved(store: TemporaryStore, address: string, domains = PLAIN, now = Date.now): Promise<Resolved> {
  const mailbox = parseMailbox(address);
  assert(mailbox !== undefined, address);
  return new Directory(readPeople(store.kv), { store: store.folder, now }).resolve(mailbox, domains);
}

Deno.test("a user without delivery has a Maildir, under every spelling, address and tag", async () => {
  await withStore(async (store) => {
    await store.users.add({ address: "Ann@ours.test", addresses: ["info@second.test"] });
    for (
      const address of [
        "ann@ours.test",
        "ANN@OURS.TEST",
        "ann+news@ours.test",
        "info@second.test",
        "Info+x@second.test",
      ]
    ) {
      assert.deepEqual(await ask(store, address), ["ours.test/ann"], address);
    }
    for (const address of ["anna@ours.test", "+ann@ours.test", "info@ours.test", "ann@second.test", "ann@else.test"]) {
      assert.equal(await ask(store, address), "unknown", address);
    }
    const found = await resolved(store, "info@second.test");
    assert.deepEqual(found.known && found.users, ["Ann@ours.test"]);
  });
});

Deno.test("deliver items each get a copy, and each place gets one", async () => {
  await withStore(async (store) => {
    await store.users.add({ address: "bob@ours.test" });
    await store.users.add({
      address: "ann@ours.test",
      deliver: ["maildir", "maildir:team", "maildir:/srv/ann", "forward:Ann@else.test", "forward:bob@ours.test"],
    });
    await store.aliases.add({ address: "all@ours.test", targets: ["ann@ours.test", "bob@ours.test", "ann@ELSE.test"] });
    const all = ["/srv/ann", "Ann@else.test", "ours.test/ann", "ours.test/bob", "team"];
    assert.deepEqual(await ask(store, "ann@ours.test"), all);
    assert.deepEqual(await ask(store, "all@ours.test"), all);
    assert.deepEqual(await ask(store, "all+tag@ours.test"), all);
  });
});

Deno.test("a server of mailboxes gets what comes to any name of a user under the login, once", async () => {
  await withStore(async (store) => {
    const there = ["lmtp:127.0.0.1:24", "lmtp:unix:/run/dovecot/lmtp"];
    await store.users.add({ address: "Ann@ours.test", addresses: ["info@second.test"], deliver: there });
    await store.aliases.add({ address: "all@ours.test", targets: ["ann@ours.test", "info@second.test"] });
    for (const address of ["ann+news@ours.test", "info@second.test", "all@ours.test"]) {
      assert.deepEqual(await ask(store, address), there.map((server) => `${server} Ann@ours.test`), address);
    }
  });
});

Deno.test("default_forward serves users without delivery; one that leads back to the user is a Maildir", async () => {
  await withStore(async (store) => {
    await store.users.add({ address: "ann@ours.test" });
    await store.users.add({ address: "bob@ours.test", deliver: ["maildir"] });
    const forwarding = (defaultForward: string): readonly Domain[] => [{ name: "ours.test", defaultForward }];
    assert.deepEqual(await ask(store, "ann@ours.test", forwarding("x@else.test")), ["x@else.test"]);
    assert.deepEqual(await ask(store, "bob@ours.test", forwarding("x@else.test")), ["ours.test/bob"]);
    assert.deepEqual(await ask(store, "ann@ours.test", forwarding("ann@ours.test")), ["ours.test/ann"]);
    assert.deepEqual(await ask(store, "ann@ours.test", forwarding("bob@ours.test")), ["ours.test/bob"]);
  });
});

Deno.test("an alias is closed when its time is over, and is not left to the catch-all", async () => {
  await withStore(async (store) => {
    const domains: readonly Domain[] = [{ name: "ours.test", catchAll: "ann@ours.test" }];
    await store.users.add({ address: "ann@ours.test" });
    await store.aliases.add({ address: "fair@ours.test", targets: ["x@else.test"], until: 1000 });
    assert.deepEqual(await ask(store, "fair@ours.test", domains, () => 999), ["x@else.test"]);
    assert.equal(await ask(store, "fair@ours.test", domains, () => 1000), "closed");
    assert.equal(await ask(store, "fair+x@ours.test", domains, () => 1000), "closed");
    await store.aliases.remove("fair@ours.test");
    assert.deepEqual(await ask(store, "fair@ours.test", domains), ["ours.test/ann"]);
  });
});

Deno.test("the catch-all takes what nobody has, of its own domain only", async () => {
  await withStore(async (store) => {
    const domains: readonly Domain[] = [{ name: "ours.test", catchAll: "ann@ours.test" }, { name: "second.test" }];
    await store.users.add({ address: "ann@ours.test" });
    await store.users.add({ address: "bob@ours.test" });
    assert.deepEqual(await ask(store, "whoever@ours.test", domains), ["ours.test/ann"]);
    assert.deepEqual(await ask(store, "bob@ours.test", domains), ["ours.test/bob"]);
    assert.equal(await ask(store, "whoever@second.test", domains), "unknown");
    const away: readonly Domain[] = [{ name: "ours.test", catchAll: "x@else.test" }];
    assert.deepEqual(await ask(store, "whoever@ours.test", away), ["x@else.test"]);
    const broken: readonly Domain[] = [{ name: "ours.test", catchAll: "ghost@ours.test" }];
    assert.equal(await ask(store, "whoever@ours.test", broken), "circle");
  });
});

Deno.test("postmaster and abuse exist in each domain, whatever there is", async () => {
  let now = 1000;
  await withStore(async (store) => {
    const { users, aliases } = store;
    assert.deepEqual(await ask(store, "postmaster@ours.test"), ["ours.test/postmaster"]);
    assert.deepEqual(await ask(store, "Abuse@ours.test"), ["ours.test/postmaster"]);
    const caught: readonly Domain[] = [{ name: "ours.test", catchAll: "x@else.test" }];
    assert.deepEqual(await ask(store, "postmaster@ours.test", caught), ["x@else.test"]);

    await users.add({ address: "zoe@ours.test" });
    now += 1000;
    await users.add({ address: "ann@ours.test" });
    assert.deepEqual(await ask(store, "POSTMASTER@ours.test", caught), ["ours.test/zoe"]);
    assert.deepEqual(await ask(store, "abuse@ours.test"), ["ours.test/zoe"]);
    assert.deepEqual(await ask(store, "postmaster@second.test"), ["second.test/postmaster"]);
    await users.set("zoe@ours.test", { enabled: false });
    assert.deepEqual(await ask(store, "postmaster@ours.test"), ["ours.test/ann"]);

    await aliases.add({ address: "postmaster@ours.test", targets: ["admin@else.test"], until: 5000 });
    assert.deepEqual(await ask(store, "postmaster@ours.test", PLAIN, () => 4999), ["admin@else.test"]);
    assert.deepEqual(await ask(store, "abuse@ours.test", PLAIN, () => 4999), ["admin@else.test"]);
    assert.deepEqual(await ask(store, "postmaster@ours.test", PLAIN, () => 5000), ["ours.test/ann"]);
    await aliases.add({ address: "abuse@ours.test", targets: ["abuse@else.test"] });
    assert.deepEqual(await ask(store, "abuse@ours.test"), ["abuse@else.test"]);

    await aliases.add({ address: "postmaster@second.test", targets: ["ann@ours.test"] });
    await users.remove("ann@ours.test");
    assert.deepEqual(await ask(store, "postmaster@second.test"), ["second.test/postmaster"]);
  }, { now: () => now });
});

Deno.test("mail of a disabled user still arrives", async () => {
  await withStore(async (store) => {
    await store.users.add({ address: "ann@ours.test", enabled: false });
    assert.deepEqual(await ask(store, "ann@ours.test"), ["ours.test/ann"]);
  });
});

Deno.test("a circle that slipped into the store is refused, or ends where it begins when there is a way out", async () => {
  await withStore(async (store) => {
    const alias = (address: string, ...targets: string[]) =>
      commit(store.kv.atomic().set(KEY.address(address), { of: "alias", address, targets, created: 0 }));
    await alias("a@ours.test", "b@ours.test");
    await alias("b@ours.test", "c@ours.test", "A@ours.test");
    await alias("c@ours.test", "a@ours.test");
    assert.equal(await ask(store, "a@ours.test"), "circle");
    await alias("c@ours.test", "a@ours.test", "x@else.test");
    for (const address of ["a@ours.test", "b@ours.test", "c@ours.test"]) {
      assert.deepEqual(await ask(store, address), ["x@else.test"], address);
    }
    await alias("postmaster@ours.test", "postmaster@ours.test");
    assert.deepEqual(await ask(store, "postmaster@ours.test"), ["ours.test/postmaster"]);
  });
});

Deno.test("a target that is gone is named, and the others are served; one that is all there was refuses", async () => {
  await withStore(async (store) => {
    await store.users.add({ address: "bob@ours.test" });
    await store.aliases.add({ address: "team@ours.test", targets: ["bob@ours.test", "x@else.test"] });
    await store.aliases.add({ address: "bobby@ours.test", targets: ["bob@ours.test"] });
    await store.users.remove("bob@ours.test");
    const target = { to: "remote", address: "x@else.test" } as const;
    assert.deepEqual(await resolved(store, "team@ours.test"), {
      known: true,
      targets: [target],
      users: [],
      owners: new Map(),
      via: new Map([[target, "team@ours.test"]]),
      missing: ["bob@ours.test"],
    });
    assert.equal(await ask(store, "bobby@ours.test"), "unknown");
  });
});

Deno.test("words of JavaScript are addresses like any other", async () => {
  await withStore(async (store) => {
    for (const word of ["__proto__", "constructor", "toString"]) {
      assert.equal(await ask(store, `${word}@ours.test`), "unknown");
      await store.users.add({ address: `${word}@ours.test` });
      assert.equal((await ask(store, `${word}+${word}@ours.test`)).length, 1);
    }
  });
});

Deno.test("each target knows whose delivery it is; an alias that leads elsewhere is nobody's", async () => {
  await withStore(async (store) => {
    await store.users.add({ address: "ann@ours.test", deliver: ["maildir", "forward:bob@ours.test"] });
    await store.users.add({ address: "bob@ours.test", deliver: ["forward:bob@else.test"] });
    await store.aliases.add({ address: "team@ours.test", targets: ["ann@ours.test", "x@else.test"] });
    const found = await resolved(store, "team@ours.test");
    assert.ok(found.known);
    assert.deepEqual(found.targets.map((target) => found.owners.get(target)?.address), [
      "ann@ours.test",
      "bob@ours.test",
      undefined,
    ]);
  });
});
