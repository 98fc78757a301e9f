import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { agreeOnCounting, type Counting, readCounting, readCounts } from "../../src/store/host_counting.ts";
import { networkKey } from "../../src/store/host_record.ts";
import { KEY } from "../../src/store/kv.ts";
import { seeded } from "../support/every_cut.ts";
import { failing } from "./failing_kv.ts";
import { assertCounted, CLASSIC, hostsAt, live, net, NOON, PREFIX } from "./host_counts.ts";
import { withStore } from "./temporary_store.ts";

const OTHERS: readonly Counting[] = [
  { lengths: { 4: [25, 16], 6: [60, 40] }, inherited: false },
  CLASSIC,
  { lengths: { 4: [32, 31], 6: [64, 63] }, inherited: true },
];

/** What dozens of hosts have done, counted as the prefix rules want it. */
async function withHosts(work: (kv: Deno.Kv) => Promise<void>): Promise<void> {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock);
    await agreeOnCounting(kv, PREFIX, silent);
    await live(kv, hosts, clock, seeded(11), 400);
    await hosts.close();
    await work(kv);
  });
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
    const [counting = PREFIX] = OTHERS;
    let deaths = 0;
    for (;; deaths++) {
      let left = deaths;
      try {
        await agreeOnCounting(failing(kv, () => left-- === 0), counting, silent);
        break;
      } catch {
        // With the old lengths at first, while it had not yet begun.
        if (deaths > 0) await agreeOnCounting(kv, PREFIX, silent);
        await assertCounted(kv, PREFIX);
      }
    }
    assert.ok(deaths >= 4, `died ${deaths} times`);
    await assertCounted(kv, counting);
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
