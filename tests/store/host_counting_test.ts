import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { agreeOnCounting, type Counting, readCounting, readCounts } from "../../src/store/host_counting.ts";
import { encodeHost, networkKey, newHost } from "../../src/store/host_record.ts";
import { KEY } from "../../src/store/kv.ts";
import { seeded } from "../support/every_cut.ts";
import { until } from "../support/letters.ts";
import { before, failing } from "./failing_kv.ts";
import { assertCounted, CLASSIC, hostsAt, live, net, NOON, PREFIX } from "./host_counts.ts";
import { otherProcess, withStore } from "./temporary_store.ts";

const OTHERS: readonly Counting[] = [
  { lengths: { 4: [25, 16], 6: [60, 40] }, inherited: false, proven: true },
  CLASSIC,
  { lengths: { 4: [32, 31], 6: [64, 63] }, inherited: true, proven: true },
  { ...PREFIX, proven: false },
];

/** What dozens of hosts have done, counted as the prefix rules want it. */
async function withHosts(work: (kv: Deno.Kv, folder: string) => Promise<void>): Promise<void> {
  await withStore(async ({ kv, folder }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock);
    await agreeOnCounting(kv, PREFIX, silent);
    await live(kv, hosts, clock, seeded(11), 400);
    await hosts.close();
    await work(kv, folder);
  });
}

/** So many that they do not go into one commit. */
async function addHosts(kv: Deno.Kv, count: number): Promise<void> {
  const record = newHost(NOON), stored = encodeHost({ ...record, counters: { ...record.counters, accepted: 1 } });
  for (let at = 0; at < count; at += 500) {
    const change = kv.atomic();
    for (let host = at; host < Math.min(at + 500, count); host++) {
      change.set(KEY.host(networkKey(net(`10.${host >> 12}.${(host >> 4) & 255}.${host & 15}`))), stored);
    }
    await change.commit();
  }
}

Deno.test("other lengths are counted anew from the records, and the same ones are not", async () => {
  await withHosts(async (kv) => {
    for (const counting of [...OTHERS, PREFIX]) {
      await agreeOnCounting(kv, counting, silent);
      assert.deepEqual(await readCounting(kv), counting);
      await assertCounted(kv, counting);
    }
    // Not looked at, so that nobody notices what is wrong.
    const key = KEY.near(networkKey(net("192.0.2.0/24")));
    const before = await readCounts(kv, [net("192.0.2.0/24")]);
    await kv.atomic().sum(key, 5n).commit();
    await agreeOnCounting(kv, PREFIX, silent);
    assert.equal((await readCounts(kv, [net("192.0.2.0/24")]))[0]?.known, (before[0]?.known ?? 0) + 5);
  });
});

Deno.test("hosts go on being counted rightly after the lengths were changed", async () => {
  await withHosts(async (kv) => {
    const [counting = PREFIX] = OTHERS, clock = { now: NOON };
    await agreeOnCounting(kv, counting, silent);
    const hosts = hostsAt(kv, clock, counting);
    await live(kv, hosts, clock, seeded(12), 300);
    await hosts.close();
    await assertCounted(kv, counting);
  });
});

Deno.test("a process that dies while it counts leaves a store in which the next one does it", async () => {
  await withHosts(async (kv) => {
    await addHosts(kv, 500);
    await kv.delete(KEY.counting);
    await agreeOnCounting(kv, PREFIX, silent);
    const [counting = PREFIX] = OTHERS, soon = { patience: 30 };
    let deaths = 0;
    for (;; deaths++) {
      let left = deaths;
      try {
        await agreeOnCounting(failing(kv, () => left-- === 0), counting, silent, soon);
        break;
      } catch {
        // With the old lengths at first, while it had not yet begun.
        if (deaths > 0) await agreeOnCounting(kv, PREFIX, silent, soon);
        await assertCounted(kv, PREFIX);
      }
    }
    assert.ok(deaths >= 4, `died ${deaths} times`);
    await assertCounted(kv, counting);
  });
});

Deno.test("servers that start together after a change of the settings count each host once", async () => {
  await withHosts(async (kv, folder) => {
    await addHosts(kv, 3000);
    for (const counting of OTHERS) {
      await Promise.all([1, 2, 3].map(() => agreeOnCounting(kv, counting, silent)));
      await assertCounted(kv, counting);
    }
    const soon = String(Date.now() + 700), kinds = ["classic", "classic", "prefix"];
    await Promise.all(kinds.map((kind) => otherProcess(folder, "agree", kind, soon)));
    const counting = await readCounting(kv);
    assert.ok(counting !== undefined);
    await assertCounted(kv, counting);
  });
});

Deno.test("while one counts the others wait; one that stands still is overtaken, and adds nothing any more", async () => {
  await withHosts(async (kv) => {
    await addHosts(kv, 1000);
    const stopped = Promise.withResolvers<void>(), patience = 300;
    let commits = 0;
    const slow = before(kv, () => {
      const wait = ++commits === 1 ? 0 : 150;
      return commits <= 6 ? new Promise((done) => setTimeout(done, wait)) : stopped.promise;
    });
    const first = agreeOnCounting(slow, CLASSIC, silent, { patience });
    await until(async () => (await kv.get(KEY.counting)).value !== JSON.stringify(PREFIX), "the claim");
    let isOver = false;
    const second = agreeOnCounting(kv, CLASSIC, silent, { patience }).then(() => isOver = true);
    // Longer than its patience, but the other one goes on.
    await new Promise((done) => setTimeout(done, 500));
    assert.equal(isOver, false);
    assert.equal(await readCounting(kv), undefined, "not yet");
    await second;
    assert.ok(commits === 7, `${commits} commits until it stood still`);
    stopped.resolve();
    await first;
    await assertCounted(kv, CLASSIC);
    assert.deepEqual(await readCounting(kv), CLASSIC);
  });
});

Deno.test("a claim that was made long ago, or by a clock that is wrong, keeps nobody waiting", async () => {
  await withHosts(async (kv) => {
    for (const at of [Date.now() - 120_000, Date.now() + 3600_000]) {
      await kv.set(KEY.counting, `counting somebody ${at}`);
      const began = performance.now();
      await agreeOnCounting(kv, PREFIX, silent);
      assert.ok(performance.now() - began < 5000);
      await assertCounted(kv);
    }
  });
});

Deno.test("a host that is wider than a neighbourhood is not in it", async () => {
  await withStore(async ({ kv }) => {
    const hosts = hostsAt(kv, { now: NOON });
    await hosts.write(net("2001:db8::/64"), (host) => host);
    await hosts.close();
    await agreeOnCounting(kv, CLASSIC, silent);
    assert.equal((await readCounts(kv, [net("2001:db8::/112")]))[0]?.known, 0);
    await assertCounted(kv, CLASSIC);
  });
});
