import assert from "node:assert/strict";
import type { User } from "../../src/store/people.ts";
import { Refused } from "../../src/store/people.ts";
import { HOSTILE } from "./hostile.ts";
import { otherProcess, withStore } from "./temporary_store.ts";

Deno.test("a user is kept as given, with the defaults, and found by every spelling of every address", async () => {
  await withStore(async ({ users }) => {
    const added = await users.add({
      address: "Ann@Ours.Test",
      addresses: ["INFO@ours.test"],
      password: "correct horse",
    });
    const wanted: User = {
      address: "Ann@ours.test",
      displayName: "",
      addresses: ["INFO@ours.test"],
      deliver: [],
      sendLimit: 500,
      enabled: true,
      created: added.created,
    };
    assert.deepEqual(added, wanted);
    for (const spelling of ["ann@ours.test", "ANN@OURS.TEST", "info@ours.test"]) {
      assert.deepEqual(await users.get(spelling), wanted);
    }
    assert.deepEqual(await users.addressesOf("ann@ours.test"), ["ann@ours.test", "info@ours.test"]);
    assert.deepEqual(await users.list(), [wanted]);
  });
});

Deno.test("an address belongs to one user or one alias", async () => {
  await withStore(async ({ users, aliases }) => {
    await users.add({ address: "ann@ours.test", addresses: ["info@ours.test"] });
    await users.add({ address: "bob@ours.test" });
    await aliases.add({ address: "sales@ours.test", targets: ["ann@ours.test"] });
    await assert.rejects(users.add({ address: "ANN@ours.test" }), /belongs to the user ann@ours.test already/);
    await assert.rejects(users.add({ address: "Info@ours.test" }), /belongs to the user ann@ours.test already/);
    await assert.rejects(users.add({ address: "sales@ours.test" }), /is an alias already: remove that first/);
    await assert.rejects(users.set("bob@ours.test", { addAddresses: ["INFO@ours.test"] }), /belongs to the user ann/);
    await assert.rejects(users.set("bob@ours.test", { addAddresses: ["sales@ours.test"] }), /is an alias already/);
    await assert.rejects(aliases.add({ address: "info@ours.test", targets: ["x@else.test"] }), /belongs to the user/);
    await assert.rejects(
      aliases.add({ address: "ann@ours.test", targets: ["x@else.test"], replace: true }),
      /belongs to the user/,
    );
    await users.set("ann@ours.test", { removeAddresses: ["info@ours.test"] });
    await users.set("bob@ours.test", { addAddresses: ["info@ours.test"] });
    assert.equal((await users.get("info@ours.test")).address, "bob@ours.test");
    await users.remove("bob@ours.test");
    await users.add({ address: "info@ours.test" });
  });
});

Deno.test("two processes that race for the same addresses never both get one", async () => {
  await withStore(async ({ folder, users }) => {
    const [first, second] = await Promise.all(
      ["a", "b"].map(async (name) => JSON.parse(await otherProcess(folder, "race", "40", name)) as number[]),
    );
    assert(first !== undefined && second !== undefined);
    assert.deepEqual([...first, ...second].sort((a, b) => a - b), Array.from({ length: 40 }, (_, number) => number));
    for (const user of await users.list()) {
      assert.equal((await users.get(user.addresses[0] ?? "")).address, user.address);
    }
    assert.equal((await users.list()).length, 40);
  });
});

Deno.test("changes replace what they name and leave the rest", async () => {
  await withStore(async ({ users }) => {
    await users.add({ address: "ann@ours.test", displayName: "Ann", deliver: ["forward:Ann@Else.Test"] });
    const changed = await users.set("ann@ours.test", {
      deliver: ["maildir", "maildir:team/inbox/", "maildir:/var/vmail/ann", "forward:x@else.test", "maildir"],
      sendLimit: 7,
      spamLimit: 5.5,
      enabled: false,
    });
    assert.deepEqual(changed.deliver, [
      "maildir",
      "maildir:team/inbox",
      "maildir:/var/vmail/ann",
      "forward:x@else.test",
    ]);
    assert.equal(changed.displayName, "Ann");
    assert.deepEqual((await users.set("ann@ours.test", { deliver: [] })).deliver, []);
    assert.deepEqual(await users.get("ann@ours.test"), { ...changed, deliver: [] });
  });
});

Deno.test("servers of mailboxes are kept in the form in which they are reached", async () => {
  await withStore(async ({ users }) => {
    const longest = `lmtp:unix:/${"x".repeat(106)}`;
    const { deliver } = await users.add({
      address: "ann@ours.test",
      deliver: ["lmtp:127.0.0.1:024", "lmtp:[FD00::1]:24", "lmtp:Mail.Internal:1", "lmtp:bücher.test:65535", longest],
    });
    assert.deepEqual(deliver, [
      "lmtp:127.0.0.1:24",
      "lmtp:[fd00::1]:24",
      "lmtp:mail.internal:1",
      "lmtp:xn--bcher-kva.test:65535",
      longest,
    ]);
  });
});

Deno.test("what a record must not hold is refused with the reason", async () => {
  await withStore(async ({ users }) => {
    await users.add({ address: "ann@ours.test" });
    const set = (changes: Parameters<typeof users.set>[1]) => users.set("ann@ours.test", changes);
    const table: readonly [() => Promise<unknown>, RegExp][] = [
      [() => users.add({ address: "ann" }), /is not an address/],
      [() => users.add({ address: "eve@else.test" }), /not in a domain of ours \(ours\.test, second\.test\)/],
      [() => users.add({ address: "ann+tag@ours.test" }), /is a tag of the address before it/],
      [() => users.add({ address: "bob@ours.test", password: "short" }), /8 characters are the least/],
      [() => users.add({ address: "bob@ours.test", password: "x".repeat(1025) }), /exceed 1024 bytes/],
      [() => set({ deliver: ["lmtp:127.0.0.1"] }), /must be written like 127\.0\.0\.1:24/],
      [() => set({ deliver: ["lmtp:127.0.0.1:0"] }), /must be written like/],
      [() => set({ deliver: ["lmtp:127.0.0.1:65536"] }), /must be written like/],
      [() => set({ deliver: ["lmtp:::1:24"] }), /must be written like/],
      [() => set({ deliver: ["lmtp:[x]:24"] }), /must be written like/],
      [() => set({ deliver: ["lmtp:a b:24"] }), /must be written like/],
      [() => set({ deliver: ["lmtp::24"] }), /must be written like/],
      [() => set({ deliver: ["lmtp:unix:run/lmtp"] }), /must be written like unix:\/run\/dovecot\/lmtp/],
      [() => set({ deliver: ["lmtp:unix:/run/../etc/x"] }), /absolute path without/],
      [() => set({ deliver: ["lmtp:unix:/run/x\n"] }), /absolute path without/],
      [() => set({ deliver: ["lmtp:unix:/run/dovecot/"] }), /absolute path without/],
      [() => set({ deliver: [`lmtp:unix:/${"x".repeat(107)}`] }), /at most 107 bytes/],
      [() => set({ deliver: ["lmtp:300.0.0.1:24"] }), /must be written like/],
      [() => set({ deliver: ["lmtp:[127.0.0.1]:24"] }), /must be written like/],
      [() => set({ deliver: ["lmtp:[::1:24"] }), /must be written like/],
      [
        () => set({ deliver: ["mbox:/x"] }),
        /write maildir, maildir:PATH, forward:ADDRESS, lmtp:HOST:PORT or lmtp:unix:PATH/,
      ],
      [() => set({ deliver: ["maildir:../../etc"] }), /must not contain/],
      [() => set({ deliver: ["maildir:/x/../etc"] }), /must not contain/],
      [() => set({ deliver: ["maildir:"] }), /must name a folder/],
      [() => set({ deliver: ["maildir:/"] }), /must name a folder/],
      [() => set({ deliver: ["maildir:x\n"] }), /control characters/],
      [() => set({ deliver: ["forward:ann@ours.test"] }), /in a circle: ann@ours.test → ann@ours.test/],
      [() => set({ displayName: "Ann\r\nBcc: x" }), /no control characters/],
      [() => set({ sendLimit: -1 }), /from 0 to 1000000/],
      [() => set({ sendLimit: 1.5 }), /from 0 to 1000000/],
      [() => set({ removeAddresses: ["ann@ours.test"] }), /the login itself cannot be taken away/],
      [() => users.get("bob@ours.test"), /There is no user bob@ours.test/],
      [() => users.remove("bob@ours.test"), /There is no user/],
      [() => users.setPassword("bob@ours.test", "long enough"), /There is no user/],
    ];
    for (const [change, reason] of table) {
      await assert.rejects(change(), (error: unknown) => {
        assert(error instanceof Refused, String(error));
        assert.match(error.message, reason);
        return true;
      });
    }
    assert.equal((await users.list()).length, 1);
  });
});

Deno.test("hostile local parts are refused, or lie in the mail folder like any word", async () => {
  await withStore(async ({ users }) => {
    for (const local of HOSTILE) {
      const address = `${local}@ours.test`, target = `forward:${local}@else.test`;
      for (
        const [how, work] of [["user", () => users.add({ address })], ["forward", async () => {
          await users.add({ address: "victim@ours.test" });
          try {
            return await users.set("victim@ours.test", { deliver: [target] });
          } finally {
            await users.remove("victim@ours.test");
          }
        }]] as const
      ) {
        try {
          const user = await work();
          assert.match(local, /^[A-Za-z0-9!#$%&'*+\-=?^_`{}~]+$/, `${how} ${JSON.stringify(local)} was taken`);
          if (how === "user") assert.equal((await users.get(address)).address, user.address);
        } catch (error) {
          assert(error instanceof Refused, `${how} ${JSON.stringify(local)}: ${error}`);
        }
      }
    }
    assert.equal((await users.get("__proto__@ours.test")).address, "__proto__@ours.test");
  });
});

Deno.test("what a user sends is counted up to the day's limit, and the next day begins at none", async () => {
  let now = Date.parse("2026-03-01T10:00Z");
  await withStore(async ({ users }) => {
    await users.add({ address: "Ann@ours.test", sendLimit: 10 });
    assert.equal(await users.countSent("ann@ours.test", 8), true);
    assert.equal(await users.countSent("ann@ours.test", 3), false);
    assert.equal(await users.countSent("ANN@ours.test", 2), true);
    assert.equal(await users.countSent("ann@ours.test", 1), false);
    now += 24 * 3600_000;
    assert.equal(await users.countSent("ann@ours.test", 10), true);
  }, { now: () => now });
});

Deno.test("two processes and many sessions together never count past the limit", async () => {
  await withStore(async ({ folder, users }) => {
    await users.add({ address: "ann@ours.test", sendLimit: 60 });
    const other = otherProcess(folder, "count", "ann@ours.test", "50");
    const mine = await Promise.all(Array.from({ length: 30 }, () => users.countSent("ann@ours.test", 1)));
    const counted = mine.filter(Boolean).length + Number(await other);
    assert.equal(counted, 60);
  });
});
