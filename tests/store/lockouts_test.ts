import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parseNetwork } from "../../src/smtp/network.ts";
import { KEY } from "../../src/store/kv.ts";
import { Lockouts, type LockoutSettings } from "../../src/store/lockouts.ts";
import { LOCKOUT, otherProcess, type TemporaryStore, withStore } from "./temporary_store.ts";

const HOUR = 3600_000, DAY = 24 * HOUR;
const ANN = "ann@ours.test", BOB = "bob@ours.test";

interface Clock {
  now: number;
}

function withLockouts(
  work: (lockouts: Lockouts, clock: Clock, store: TemporaryStore) => Promise<void>,
  settings: Partial<LockoutSettings> = {},
): Promise<void> {
  return withStore(async (store) => {
    const clock = { now: Date.now() };
    const all = {
      maxFailures: 3,
      maxFailuresPerLogin: 10,
      lockout: DAY,
      exempt: [],
      now: () => clock.now,
      ...settings,
    };
    await work(new Lockouts(store.kv, all), clock, store);
  });
}

async function failTimes(lockouts: Lockouts, times: number, host: string, login = ANN): Promise<void> {
  for (let time = 0; time < times; time++) await lockouts.fail(host, login);
}

/** A lock of the login, of which each network has done its two. */
async function lockLogin(lockouts: Lockouts, login = ANN): Promise<void> {
  for (let host = 1; host <= 5; host++) await failTimes(lockouts, 2, `203.0.113.${host}`, login);
}

Deno.test("three failures lock a network for all logins and no other network", async () => {
  await withLockouts(async (lockouts, { now }) => {
    const first = await lockouts.fail("192.0.2.1", ANN), second = await lockouts.fail("192.0.2.1", BOB);
    assert.deepEqual([first, second], [1, 2].map((failures) => ({ failures, networkLocked: false, locks: [] })));
    assert.equal(await lockouts.lockedOut("192.0.2.1"), undefined);
    assert.equal(await lockouts.lockedOut("192.0.2.1", ANN), undefined);
    const lock = { of: "network", name: "192.0.2.1", failures: 3, since: now, until: now + DAY };
    assert.deepEqual(await lockouts.fail("192.0.2.1", "nobody"), { failures: 3, networkLocked: true, locks: [lock] });
    assert.equal(await lockouts.lockedOut("192.0.2.1"), "network");
    assert.equal(await lockouts.lockedOut("192.0.2.1", "carl@ours.test"), "network");
    assert.equal(await lockouts.lockedOut("192.0.2.2"), undefined);
    assert.equal(await lockouts.lockedOut("192.0.2.2", ANN), undefined);
    assert.deepEqual(await lockouts.list(), [lock]);
  });
});

const SAME: readonly (readonly [name: string, hosts: readonly [string, string, string], other: string])[] = [
  ["an IPv6 /64", ["2001:db8:1:2::1", "2001:db8:1:2:ffff::", "2001:db8:1:2::"], "2001:db8:1:3::1"],
  ["mapped, NAT64 and 6to4", ["::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201:5::9"], "64:ff9b::c000:202"],
];

for (const [name, hosts, other] of SAME) {
  Deno.test(`addresses that are one network count together: ${name}`, async () => {
    await withLockouts(async (lockouts) => {
      for (const host of hosts) await lockouts.fail(host, ANN);
      for (const host of hosts) assert.equal(await lockouts.lockedOut(host), "network", host);
      assert.equal(await lockouts.lockedOut(other), undefined);
    });
  });
}

Deno.test("ten failures from anywhere lock a login in any spelling, whether or not there is such a user", async () => {
  await withLockouts(async (lockouts, { now }) => {
    const long = `${"x".repeat(9000)}@ours.test`;
    for (const login of [ANN, "no address at all", "", "\0", long]) {
      for (let host = 1; host <= 9; host++) await lockouts.fail(`192.0.2.${host}`, login.toUpperCase());
      assert.equal(await lockouts.lockedOut("192.0.2.10", login), undefined);
      const { locks, failures } = await lockouts.fail("192.0.2.10", login);
      const name = login === long ? locks[0]?.name : login;
      assert.deepEqual(locks, [{ of: "login", name, failures: 10, since: now, until: now + DAY }]);
      assert.equal(failures, 1);
      assert.equal(await lockouts.lockedOut("192.0.2.10", login), "login");
      assert.equal(await lockouts.lockedOut("198.51.100.1", login.toUpperCase()), "login");
      assert.equal(await lockouts.lockedOut("192.0.2.10"), undefined);
      for (const lock of await lockouts.list()) assert.ok(lock.name.length <= 100);
      for (let host = 1; host <= 10; host++) await lockouts.lift(`192.0.2.${host}`);
    }
    assert.equal((await lockouts.list()).length, 5);
  });
});

Deno.test("only failures of the last day count, however they are spread", async () => {
  await withLockouts(async (lockouts, clock) => {
    // Two within an hour, then always one more just when the first of them is too old.
    await lockouts.fail("192.0.2.1", "a");
    clock.now += HOUR;
    await lockouts.fail("192.0.2.1", "b");
    for (let round = 0; round < 5; round++) {
      clock.now += 23 * HOUR;
      assert.equal((await lockouts.fail("192.0.2.1", "c")).failures, 2);
      clock.now += HOUR;
      assert.equal((await lockouts.fail("192.0.2.1", "d")).failures, 2);
    }
    clock.now += 23 * HOUR - 1;
    assert.deepEqual((await lockouts.fail("192.0.2.1", "e")).locks.map(({ of }) => of), ["network"]);
  });
});

Deno.test("a lock ends after a day, is not made longer by what is tried meanwhile, and counting begins anew", async () => {
  await withLockouts(async (lockouts, clock) => {
    await lockLogin(lockouts);
    await failTimes(lockouts, 3, "192.0.2.1", BOB);
    const locked = await lockouts.list();
    assert.deepEqual(locked.map(({ of, name }) => [of, name]), [["network", "192.0.2.1"], ["login", ANN]]);
    clock.now += DAY - 1;
    assert.deepEqual(await lockouts.fail("192.0.2.1", ANN), { failures: 3, networkLocked: true, locks: [] });
    assert.deepEqual(await lockouts.list(), locked);
    clock.now += 1;
    assert.deepEqual(await lockouts.list(), []);
    assert.equal(await lockouts.lockedOut("192.0.2.1", ANN), undefined);
    assert.equal((await lockouts.fail("192.0.2.1", ANN)).failures, 1);
    assert.deepEqual(await lockouts.list(), []);
  });
});

Deno.test("a success takes back its own failures and leaves those of the other logins", async () => {
  await withLockouts(async (lockouts) => {
    for (let day = 0; day < 4; day++) {
      await failTimes(lockouts, 2, "192.0.2.1", "Ann@ours.test");
      await lockouts.succeed("192.0.2.1", ANN);
    }
    assert.equal(await lockouts.lockedOut("192.0.2.1"), undefined);
    // Who has an account guesses at others, and signs in to his own in between.
    await lockouts.fail("192.0.2.1", BOB);
    await lockouts.succeed("192.0.2.1", ANN);
    await lockouts.fail("192.0.2.1", BOB);
    await lockouts.succeed("192.0.2.1", ANN);
    assert.deepEqual((await lockouts.fail("192.0.2.1", BOB)).failures, 3);
    await lockouts.succeed("192.0.2.1", BOB);
    assert.equal(await lockouts.lockedOut("192.0.2.1"), "network");
  });
});

Deno.test("who sits beside the owner cannot guess for ever between the owner's logins", async () => {
  await withLockouts(async (lockouts) => {
    let guesses = 0;
    while (await lockouts.lockedOut("192.0.2.1", ANN) === undefined && guesses < 100) {
      await lockouts.fail("192.0.2.1", ANN);
      guesses++;
      await lockouts.succeed("192.0.2.1", ANN);
    }
    // The tenth locks the login, and nothing is taken back any more; two more, and the network is locked.
    assert.equal(guesses, 12);
  });
});

Deno.test("a login that strangers have locked works where it worked in the last thirty days", async () => {
  await withLockouts(async (lockouts, clock) => {
    await lockouts.succeed("2001:db8:1:2::1", ANN);
    clock.now += 29 * DAY;
    await lockLogin(lockouts);
    assert.equal(await lockouts.lockedOut("2001:db8:1:2::7", ANN), undefined);
    assert.equal(await lockouts.lockedOut("2001:db8:1:3::1", ANN), "login");
    clock.now += DAY;
    await lockLogin(lockouts);
    assert.equal(await lockouts.lockedOut("2001:db8:1:2::7", ANN), "login");
    // Each success begins the thirty days anew.
    await lockouts.lift(ANN);
    await lockouts.succeed("2001:db8:1:2::7", ANN);
    await lockLogin(lockouts);
    assert.equal(await lockouts.lockedOut("2001:db8:1:2::7", ANN), undefined);
    await failTimes(lockouts, 3, "2001:db8:1:2::8");
    assert.equal(await lockouts.lockedOut("2001:db8:1:2::7", ANN), "network");
  });
});

Deno.test("exempt networks are never locked, count for the login, and have no way around its lock", async () => {
  await withLockouts(async (lockouts) => {
    await lockouts.succeed("127.0.0.1", ANN);
    for (let time = 0; time < 9; time++) {
      assert.deepEqual(await lockouts.fail("127.0.0.1", ANN), { failures: 0, networkLocked: false, locks: [] });
    }
    assert.deepEqual((await lockouts.fail("127.0.0.1", ANN)).locks.map(({ of }) => of), ["login"]);
    assert.equal(await lockouts.lockedOut("127.0.0.1"), undefined);
    assert.equal(await lockouts.lockedOut("127.0.0.1", BOB), undefined);
    assert.equal(await lockouts.lockedOut("127.0.0.1", ANN), "login");
  }, { exempt: [parseNetwork("127.0.0.0/8")!] });
});

Deno.test("lift opens a network by any of its addresses, and a login, at once and for good", async () => {
  await withLockouts(async (lockouts) => {
    for (const [host, by] of [["192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::/64"]] as const) {
      await failTimes(lockouts, 3, host, "x");
      for (const wrong of ["192.0.2.0/24", "2001:db8::/48", "192.0.2.7", "x@ours.test", ""]) {
        assert.equal(await lockouts.lift(wrong), false, wrong);
      }
      assert.equal(await lockouts.lockedOut(host), "network");
      assert.equal(await lockouts.lift(by), true, by);
      assert.equal(await lockouts.lift(by), false);
      assert.equal(await lockouts.lockedOut(host), undefined);
      assert.equal((await lockouts.fail(host, "y")).failures, 1);
    }
    await lockLogin(lockouts);
    assert.equal(await lockouts.lift("ANN@ours.test"), true);
    assert.equal(await lockouts.lockedOut("198.51.100.1", ANN), undefined);
    assert.deepEqual(await lockouts.list(), []);
  });
});

Deno.test("a clock that is set back leaves no lock that lasts longer than it may", async () => {
  await withLockouts(async (lockouts, clock) => {
    const { now } = clock;
    clock.now += 365 * DAY;
    await lockLogin(lockouts);
    await failTimes(lockouts, 3, "192.0.2.1", BOB);
    clock.now = now;
    for (const lock of await lockouts.list()) assert.deepEqual([lock.since, lock.until], [now, now + DAY]);
    assert.equal(await lockouts.lockedOut("192.0.2.1"), "network");
    assert.equal(await lockouts.lockedOut("198.51.100.1", ANN), "login");
    clock.now += DAY - 1;
    assert.equal(await lockouts.lockedOut("192.0.2.1"), "network");
    clock.now += 1;
    assert.equal(await lockouts.lockedOut("192.0.2.1"), undefined);
    assert.equal(await lockouts.lockedOut("198.51.100.1", ANN), undefined);
    assert.deepEqual(await lockouts.list(), []);
  });
});

Deno.test("limits that were changed hold for what is in the store", async () => {
  await withLockouts(async (lockouts, clock, { kv }) => {
    await failTimes(lockouts, 3, "192.0.2.1");
    await failTimes(lockouts, 2, "192.0.2.2", BOB);
    const settings = { maxFailuresPerLogin: 10, lockout: HOUR, exempt: [], now: () => clock.now };
    const strict = new Lockouts(kv, { ...settings, maxFailures: 1 });
    assert.deepEqual((await strict.list()).map(({ until }) => until), [clock.now + HOUR]);
    assert.equal(await strict.lockedOut("192.0.2.2"), undefined);
    assert.equal((await strict.fail("192.0.2.2", BOB)).networkLocked, true);
    clock.now += HOUR;
    assert.equal(await strict.lockedOut("192.0.2.1"), undefined);
  });
});

Deno.test("processes that count at once count exactly, and one of them locks", async () => {
  await withStore(async ({ folder, kv }) => {
    const lockouts = new Lockouts(kv, { ...LOCKOUT, exempt: [] });
    const hosts = ["192.0.2.1", "192.0.2.2"] as const;
    const here = async (host: string) => {
      const locks: string[] = [];
      for (let time = 0; time < 40; time++) locks.push(...(await lockouts.fail(host, ANN)).locks.map(({ of }) => of));
      return locks;
    };
    const there = async (host: string) => JSON.parse(await otherProcess(folder, "fail", host, ANN, "40")) as string[];
    await Promise.all(hosts.flatMap((host) => [here(host), there(host)]));
    for (const host of hosts) {
      assert.equal((await kv.get<{ failures: unknown[] }>(KEY.strikes("network", host))).value?.failures.length, 80);
    }
    assert.equal(await lockouts.lockedOut("192.0.2.1", ANN), "login");
    const [lock] = await lockouts.list();
    assert.deepEqual([lock?.of, lock?.failures], ["login", LOCKOUT.maxFailuresPerLogin]);

    await lockouts.lift(ANN);
    const locks = (await Promise.all([here("192.0.2.1"), there("192.0.2.1")])).flat();
    assert.deepEqual(locks, ["network"]);
    assert.equal(await lockouts.lockedOut("192.0.2.1"), "network");
    assert.equal(await otherProcess(folder, "fail", "192.0.2.1", BOB, "1"), "[]");
  });
});

Deno.test("records are small, also with the highest limits and the longest names", async () => {
  await withLockouts(async (lockouts, _clock, { folder }) => {
    await failTimes(lockouts, 1000, "2001:db8:1234:5678::1", `${"x".repeat(5000)}@ours.test`);
    assert.deepEqual((await lockouts.list()).map(({ failures }) => failures), [1000, 1000]);
    for (const { bytes } of recordsIn(folder)) assert.ok(bytes < 32_768, `${bytes} bytes`);
  }, { maxFailures: 1000, maxFailuresPerLogin: 1000 });
  await withLockouts(async (lockouts, _clock, { folder }) => {
    await failTimes(lockouts, 3, "2001:db8:1234:5678::1", `${"x".repeat(5000)}@ours.test`);
    for (const { bytes } of recordsIn(folder)) assert.ok(bytes < 200, `${bytes} bytes`);
  });
});

Deno.test("the store forgets failures and locks when they say nothing any more", async () => {
  await withLockouts(async (lockouts, _clock, { folder }) => {
    await lockouts.succeed("192.0.2.9", ANN);
    await failTimes(lockouts, 2, "192.0.2.9");
    await lockouts.succeed("192.0.2.9", ANN);
    await failTimes(lockouts, 3, "192.0.2.1");
    const left = recordsIn(folder).map(({ until }) => Math.ceil((until - Date.now()) / HOUR));
    assert.deepEqual(left.toSorted((a, b) => a - b), [24, 24, 24, 30 * 24]);
  });
});

/** What Deno KV has written for the lock-outs, key and value together, and when it deletes it. */
function recordsIn(folder: string): readonly { readonly bytes: number; readonly until: number }[] {
  const file = new DatabaseSync(join(folder, "kv.sqlite"), { readOnly: true });
  try {
    const rows = file.prepare("SELECT length(k) + length(v) AS bytes, expiration_ms AS until, k FROM kv").all();
    return rows.filter(({ k }) => /strikes|signed-in/.test(new TextDecoder("latin1").decode(k as Uint8Array)))
      .map(({ bytes, until }) => ({ bytes: Number(bytes), until: Number(until) }));
  } finally {
    file.close();
  }
}
