import assert from "node:assert/strict";
import { banned, called, count, named, released } from "../../src/check/host_history.ts";
import { Hosts } from "../../src/store/hosts.ts";
import { KEY, openKv } from "../../src/store/kv.ts";
import { networkKey } from "../../src/store/host_record.ts";
import { seeded } from "../support/every_cut.ts";
import {
  assertCounted,
  CLASSIC,
  DAY,
  delivered,
  hostsAt,
  HOUR,
  live,
  nameOf,
  net,
  NOON,
  PREFIX,
} from "./host_counts.ts";
import { failing } from "./failing_kv.ts";
import { otherProcess, withStore } from "./temporary_store.ts";

const HOST = net("192.0.2.7"), BAN = { reason: "test", inherited: false } as const;

Deno.test("a host is unknown until it changes, and is then what the changes made of it, in memory and on disk", async () => {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock);
    assert.equal(await hosts.get(HOST), undefined);
    await hosts.change(HOST, called);
    clock.now += HOUR;
    await hosts.change(HOST, called);
    const after = await hosts.change(HOST, (host) => named(host, "mail.remote.test"));
    assert.deepEqual(await hosts.get(HOST), after);
    assert.equal((await kv.get(KEY.host(networkKey(HOST)))).value, null, "written before its time");
    await hosts.flush();
    const read = await hostsAt(kv, clock).get(HOST);
    assert.deepEqual(read, after);
    assert.deepEqual([read?.first, read?.last, read?.connections, read?.names], [NOON, NOON + HOUR, 2, [
      "mail.remote.test",
    ]]);
    await hosts.close();
  });
});

Deno.test("a thousand changes of one host within a second are few commits", async () => {
  await withStore(async ({ kv }) => {
    const hosts = new Hosts(kv, { counting: PREFIX, log: () => {}, gather: 100 });
    const stamps = new Set<string | null>();
    const looking = setInterval(async () => stamps.add((await kv.get(KEY.host(networkKey(HOST)))).versionstamp), 2);
    const began = performance.now();
    let changes = 0;
    while (performance.now() - began < 500) {
      await hosts.change(HOST, called);
      if (++changes % 20 === 0) await new Promise((done) => setTimeout(done, 1));
    }
    clearInterval(looking);
    await hosts.close();
    stamps.delete(null);
    assert.ok(changes > 1000, `only ${changes} changes`);
    assert.ok(stamps.size >= 2 && stamps.size <= 7, `${stamps.size} commits for ${changes} changes`);
    assert.equal((await hosts.get(HOST))?.connections, changes);
  });
});

Deno.test("a ban is on disk when its promise resolves, with all that was noted before, however much comes meanwhile", async () => {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock);
    for (let time = 0; time < 5; time++) await hosts.change(HOST, called);
    let goesOn = true;
    const others = (async () => {
      for (; goesOn; await new Promise((done) => setImmediate(done))) {
        await hosts.change(HOST, (host) => count(host, "protocolErrors"));
      }
    })();
    await hosts.write(HOST, (host, at) => banned(host, at, BAN));
    const read = await hostsAt(kv, clock).get(HOST);
    goesOn = false;
    await others;
    assert.equal(read?.ban?.reason, "test");
    assert.equal(read?.connections, 5);
    await hosts.close();
  });
});

Deno.test("the counts of the neighbourhoods are those of this moment, written or not", async () => {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock);
    const near = async (text: string) =>
      (await hosts.near(net(text))).map(({ network, known, banned }) => `${nameOf(network)} ${known} ${banned}`);
    await hosts.change(net("2001:db8:0:101::/64"), delivered);
    assert.deepEqual(await near("2001:db8:0:102::/64"), ["2001:db8:0:100::/56 1 0", "2001:db8::/48 1 0"]);
    await hosts.change(net("2001:db8:0:102::/64"), (host, at) => banned(host, at, BAN));
    assert.deepEqual(await near("2001:db8:0:101::/64"), ["2001:db8:0:100::/56 2 1", "2001:db8::/48 2 1"]);
    await hosts.change(net("2001:db8:0:203::/64"), (host, at) => banned(host, at, { ...BAN, inherited: true }));
    assert.deepEqual(await near("2001:db8:0:2ff::/64"), ["2001:db8:0:200::/56 0 0", "2001:db8::/48 2 1"]);
    await hosts.change(net("2001:db8:0:102::/64"), released);
    await hosts.change(net("2001:db8:0:101::/64"), () => undefined);
    assert.deepEqual(await near("2001:db8:0:101::/64"), ["2001:db8:0:100::/56 0 0", "2001:db8::/48 0 0"]);
    assert.deepEqual(await near("192.0.2.1"), ["192.0.2.0/24 0 0", "192.0.0.0/20 0 0"], "families never mix");
    await hosts.close();
    await assertCounted(kv);
  });
});

Deno.test("under the classic counting a ban for the neighbours' sake counts like any other", async () => {
  await withStore(async ({ kv }) => {
    const hosts = hostsAt(kv, { now: NOON }, CLASSIC);
    await hosts.write(net("2001:db8::1"), (host, at) => banned(host, at, { ...BAN, inherited: true }));
    assert.deepEqual(await hosts.near(net("2001:db8::ffff")), [
      { network: net("2001:db8::/112"), known: 1, banned: 1 },
    ]);
    await hosts.close();
  });
});

Deno.test("a count that was taken below zero speaks against nobody", async () => {
  await withStore(async ({ kv }) => {
    await kv.atomic().sum(KEY.near(networkKey(net("192.0.2.0/24"))), BigInt.asUintN(64, -(1n << 32n) - 1n)).commit();
    const [close] = await hostsAt(kv, { now: NOON }).near(HOST);
    assert.deepEqual([close?.known, close?.banned], [0, 0]);
  });
});

Deno.test("who is not known cannot be revised into being", async () => {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock), other = hostsAt(kv, clock);
    assert.equal(await hosts.revise(HOST, called), undefined);
    // Nor who is forgotten by somebody else in this moment.
    await hosts.write(HOST, called);
    await Promise.all([hosts.revise(HOST, () => undefined), other.revise(HOST, called), hosts.revise(HOST, called)]);
    await other.revise(HOST, () => undefined);
    assert.equal(await hosts.get(HOST), undefined);
    await assertCounted(kv);
    await Promise.all([hosts.close(), other.close()]);
  });
});

Deno.test("whatever happens to hosts in whatever order, the counts are those of the records", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    await withStore(async ({ kv }) => {
      const clock = { now: NOON }, counting = seed % 2 === 0 ? CLASSIC : PREFIX;
      const hosts = hostsAt(kv, clock, counting);
      await live(kv, hosts, clock, seeded(seed), 600);
      await assertCounted(kv, counting);
      await hosts.close();
    });
  }
});

Deno.test("two processes that change the same hosts at once lose nothing, and count every neighbour once", async () => {
  await withStore(async ({ folder, kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock, PREFIX, 5);
    const here = async () => {
      for (let time = 0; time < 200; time++) {
        await hosts.change(net(`198.51.100.${time % 8}`), called);
        if (time % 10 === 0) await hosts.write(net(`198.51.100.${time % 8}`), (host, at) => banned(host, at, BAN));
        await new Promise((done) => setTimeout(done, 3));
      }
      await hosts.close();
    };
    await Promise.all([here(), otherProcess(folder, "call", "200", "8"), otherProcess(folder, "live", "7", "400")]);
    let connections = 0;
    for (let host = 0; host < 8; host++) {
      const record = await hosts.get(net(`198.51.100.${host}`));
      connections += record?.connections ?? 0;
      if (host % 2 === 0) assert.equal(record?.ban?.times, 5, `bans of 198.51.100.${host}`);
    }
    assert.equal(connections, 400);
    await assertCounted(kv);
  });
});

Deno.test("what cannot be written is told to who waits for it, is tried again, and is in the log", async () => {
  await withStore(async ({ kv }) => {
    const lines: string[] = [];
    let isBroken = true;
    const hosts = new Hosts(failing(kv, () => isBroken), {
      counting: PREFIX,
      log: (_, event) => lines.push(event),
      gather: 20,
    });
    await assert.rejects(hosts.write(HOST, (host, at) => banned(host, at, BAN)), /no disk/);
    assert.equal((await hosts.get(HOST))?.ban?.reason, "test", "known all the same");
    await new Promise((done) => setTimeout(done, 60));
    assert.ok(lines.includes("hosts-not-written"));
    isBroken = false;
    await new Promise((done) => setTimeout(done, 100));
    assert.equal((await hostsAt(kv, { now: NOON }).get(HOST))?.ban?.times, 1);
    await assertCounted(kv);
    await hosts.close();
  });
});

Deno.test("closing writes what was noted a moment before, and says so when it cannot", async () => {
  await withStore(async ({ kv, folder }) => {
    const hosts = hostsAt(kv, { now: NOON });
    const noting = hosts.change(HOST, called);
    await hosts.close();
    await noting;
    assert.equal((await hostsAt(kv, { now: NOON }).get(HOST))?.connections, 1);

    const lines: string[] = [];
    const closed = await openKv({ store: folder });
    const others = new Hosts(closed, { counting: PREFIX, log: (level, event) => lines.push(`${level} ${event}`) });
    await others.change(HOST, called);
    closed.close();
    await others.close();
    assert.deepEqual(lines, ["error hosts-not-written"]);
  });
});

Deno.test("all gives every host that is on disk", async () => {
  await withStore(async ({ kv }) => {
    const hosts = hostsAt(kv, { now: NOON + DAY }), names: string[] = [];
    for (const text of ["192.0.2.7/32", "2001:db8::/64", "2001:db8::1/128"]) await hosts.change(net(text), called);
    await hosts.flush();
    for await (const [host, { connections }] of hosts.all()) names.push(`${nameOf(host)} ${connections}`);
    assert.deepEqual(names.sort(), ["192.0.2.7/32 1", "2001:db8::/64 1", "2001:db8::1/128 1"]);
    await hosts.close();
  });
});
