import assert from "node:assert/strict";
import { banned, called } from "../../src/check/host_history.ts";
import { HostSweep } from "../../src/store/host_sweep.ts";
import { Hosts } from "../../src/store/hosts.ts";
import { KEY } from "../../src/store/kv.ts";
import { until } from "../support/letters.ts";
import { assertCounted, DAY, hostsAt, HOUR, MINUTE, net, NOON, PREFIX } from "./host_counts.ts";
import { withStore } from "./temporary_store.ts";

const HOST = net("192.0.2.7"), NEIGHBOUR = net("192.0.2.8");

/** Works only when it is told to, unless `often` says how often. */
async function withSweep(
  work: (
    all: { kv: Deno.Kv; hosts: Hosts; sweep: HostSweep; clock: { now: number }; lines: string[] },
  ) => Promise<void>,
  times: { readonly often?: number; readonly seldom?: number } = {},
): Promise<void> {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock), lines: string[] = [];
    const sweep = new HostSweep(kv, hosts, {
      expireAfter: 90 * DAY,
      log: (level, event, fields) => lines.push(`${level} ${event} ${JSON.stringify(fields)}`),
      now: () => clock.now,
      ...times,
    });
    try {
      await work({ kv, hosts, sweep, clock, lines });
    } finally {
      await sweep.close();
      await hosts.close();
    }
  });
}

async function bannedNear(hosts: Hosts): Promise<number | undefined> {
  return (await hosts.near(NEIGHBOUR))[0]?.banned;
}

Deno.test("a ban counts among the neighbours until its minute is over, and how often there was one is remembered", async () => {
  await withSweep(async ({ kv, hosts, sweep, clock }) => {
    await hosts.write(HOST, (host, at) => banned(host, at, { reason: "test", inherited: false, until: at + HOUR }));
    await hosts.write(NEIGHBOUR, (host, at) => banned(host, at, { reason: "for ever", inherited: false }));
    clock.now += HOUR - 1;
    await sweep.endBans();
    assert.equal(await bannedNear(hosts), 2);
    clock.now += 1;
    await sweep.endBans();
    assert.equal(await bannedNear(hosts), 1);
    const { ban } = await hosts.get(HOST) ?? {};
    assert.deepEqual([ban?.over, ban?.times, ban?.reason], [true, 1, "test"]);
    await sweep.endBans();
    await assertCounted(kv);
  });
});

Deno.test("a ban that another process has made longer is not ended", async () => {
  await withSweep(async ({ kv, hosts, sweep, clock }) => {
    const other = hostsAt(kv, clock);
    const ban = (until: number) => ({ reason: "test", inherited: false, until });
    await hosts.write(HOST, (host, at) => banned(host, at, ban(at + HOUR)));
    clock.now += HOUR - MINUTE;
    await other.write(HOST, (host, at) => banned(host, at, ban(at + 2 * HOUR)));
    clock.now += HOUR;
    await sweep.endBans();
    assert.equal((await hosts.get(HOST))?.ban?.over, false);
    await other.close();
    await assertCounted(kv);
  });
});

Deno.test("hosts that have not called for so long are forgotten, banned and allowed ones are not", async () => {
  await withSweep(async ({ kv, hosts, sweep, clock, lines }) => {
    const forever = net("192.0.2.1"), allowed = net("192.0.2.2"), over = net("192.0.2.3"), returns = net("192.0.2.4");
    await hosts.write(HOST, called);
    await hosts.write(forever, (host, at) => banned(host, at, { reason: "test", inherited: false }));
    await hosts.write(allowed, (host) => ({ ...host, allowed: true }));
    await hosts.write(over, (host, at) => banned(host, at, { reason: "test", inherited: false, until: at + DAY }));
    await hosts.write(returns, called);
    await hosts.write(net("203.0.113.1"), called);
    clock.now += 90 * DAY;
    await sweep.forgetOld();
    assert.notEqual(await hosts.get(HOST), undefined, "its last day");
    clock.now += MINUTE;
    // Not on disk yet, and seen all the same.
    await hosts.change(returns, called);
    await sweep.forgetOld();
    const known: string[] = [];
    for await (const [host] of hosts.all()) known.push(String(host.bits & 255n));
    assert.deepEqual(known.sort(), ["1", "2", "4"]);
    assert.deepEqual(lines, ['info hosts-forgotten {"hosts":3}']);
    await assertCounted(kv);
    for await (const { value } of kv.list<Deno.KvU64>({ prefix: KEY.nears })) {
      assert.notEqual(value.value, 0n, "a neighbourhood in which nobody is left");
    }
  });
});

Deno.test("two processes that forget at once bring nobody back", async () => {
  await withSweep(async ({ kv, hosts, sweep, clock }) => {
    const others = hostsAt(kv, clock);
    const other = new HostSweep(kv, others, { expireAfter: 90 * DAY, log: () => {}, now: () => clock.now });
    for (let host = 0; host < 40; host++) await hosts.change(net(`192.0.2.${host}`), called);
    await hosts.flush();
    clock.now += 91 * DAY;
    await Promise.all([sweep.forgetOld(), other.forgetOld()]);
    for await (const [host] of hosts.all()) assert.fail(`${host.bits} is known`);
    await assertCounted(kv);
    await other.close();
    await others.close();
  });
});

Deno.test("time does its work by itself, and stops when the sweep is closed", async () => {
  await withSweep(async ({ hosts, sweep, clock }) => {
    await hosts.write(HOST, (host, at) => banned(host, at, { reason: "test", inherited: false, until: at + HOUR }));
    clock.now += HOUR;
    await until(async () => await bannedNear(hosts) === 0, "the ban to end", 3_000);
    clock.now += 91 * DAY;
    await until(async () => await hosts.get(HOST) === undefined, "the host to be forgotten", 3_000);
    await sweep.close();
    await hosts.write(HOST, called);
    clock.now += 91 * DAY;
    await new Promise((done) => setTimeout(done, 60));
    assert.notEqual(await hosts.get(HOST), undefined);
  }, { often: 5, seldom: 20 });
});

Deno.test("a server that never runs for a day forgets old hosts all the same, also while bans are ending", async () => {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock), ending = Promise.withResolvers<void>();
    await hosts.write(HOST, called);
    await hosts.write(
      NEIGHBOUR,
      (host, at) => banned(host, at, { reason: "test", inherited: false, until: at + HOUR }),
    );
    clock.now += 91 * DAY;
    const slow = new Proxy(hosts, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key);
        if (key !== "revise") return typeof value === "function" ? value.bind(target) : value;
        return async (...[host, change]: Parameters<Hosts["revise"]>) => {
          if (host.bits === NEIGHBOUR.bits) await ending.promise;
          return await target.revise(host, change);
        };
      },
    });
    const settings = { expireAfter: 90 * DAY, log: () => {}, now: () => clock.now, often: 20, first: 100 };
    const sweep = new HostSweep(kv, slow, settings);
    await until(async () => await hosts.get(HOST) === undefined, "the host to be forgotten", 3_000);
    assert.notEqual(await hosts.get(NEIGHBOUR), undefined);
    ending.resolve();
    await sweep.close();
    await hosts.close();
  });
});

Deno.test("a store that fails is told in the log, and does not stop the sweep", async () => {
  await withStore(async ({ kv, folder }) => {
    const { lines, sweep, closed } = await (async () => {
      const closed = await Deno.openKv(`${folder}/other.sqlite`), lines: string[] = [];
      closed.close();
      const log = (level: string, event: string) => lines.push(`${level} ${event}`);
      const hosts = new Hosts(kv, { counting: PREFIX, log });
      return { lines, closed: hosts, sweep: new HostSweep(closed, hosts, { expireAfter: DAY, log, often: 5 }) };
    })();
    await until(() => lines.length >= 2, "two complaints", 3_000);
    assert.deepEqual([...new Set(lines)], ["warning hosts-not-swept"]);
    await sweep.close();
    await closed.close();
  });
});
