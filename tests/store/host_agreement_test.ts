import assert from "node:assert/strict";
import { banned, called } from "../../src/check/host_history.ts";
import { silent } from "../../src/log.ts";
import { agreeOnCounting } from "../../src/store/host_counting.ts";
import { networkKey } from "../../src/store/host_record.ts";
import { Hosts } from "../../src/store/hosts.ts";
import { KEY } from "../../src/store/kv.ts";
import { seeded } from "../support/every_cut.ts";
import { assertCounted, CLASSIC, delivered, hostsAt, live, nameOf, net, NOON, PREFIX } from "./host_counts.ts";
import { withStore } from "./temporary_store.ts";

const HOST = net("192.0.2.7"), BAN = { reason: "test", inherited: false } as const;

Deno.test("a process whose store is counted in another way counts in that way too, and says once what is wrong", async () => {
  await withStore(async ({ kv }) => {
    const lines: string[] = [];
    const hosts = new Hosts(kv, {
      counting: PREFIX,
      log: (level, event, fields) => lines.push(`${level} ${event} ${JSON.stringify(fields)}`),
      gather: 3600_000,
    });
    await agreeOnCounting(kv, PREFIX, silent);
    await hosts.write(HOST, delivered);
    await hosts.write(net("2001:db8::/64"), called);
    assert.deepEqual(lines, []);
    await hosts.change(net("2001:db8::9"), called);
    await agreeOnCounting(kv, CLASSIC, silent);
    const near = (text: string) =>
      hosts.near(net(text)).then((found) => found.map((one) => `${nameOf(one.network)} ${one.known} ${one.banned}`));
    assert.deepEqual(await near("2001:db8::3"), ["2001:db8::/112 1 0"], "noted before, and not yet written");
    // What counts for nothing in its own way counts now.
    await Promise.all(Array.from({ length: 150 }, (_, host) => hosts.write(net(`192.0.2.${host}`), called)));
    await hosts.write(net("192.0.2.8"), (host, at) => banned(host, at, { ...BAN, inherited: true }));
    await hosts.write(net("2001:db8::1"), called);
    await assertCounted(kv, CLASSIC);
    assert.deepEqual(await near("192.0.2.250"), ["192.0.2.0/24 150 1"]);
    await hosts.change(net("2001:db8::2"), called);
    assert.deepEqual(await near("2001:db8::3"), ["2001:db8::/112 3 0"]);
    await agreeOnCounting(kv, { ...CLASSIC, lengths: { 4: [16], 6: [112] } }, silent);
    // It has nothing to write, and sees it all the same.
    assert.deepEqual(await near("192.0.2.250"), ["192.0.0.0/16 150 1"]);
    await hosts.close();
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /^warning hosts-counted-otherwise .*different settings in \[reputation\]: restart/);
  });
});

Deno.test("hosts that change while all are counted anew are counted once, in the way of the last one who counted", async () => {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock, PREFIX, 5);
    await agreeOnCounting(kv, PREFIX, silent);
    const living = live(kv, hosts, clock, seeded(5), 1500);
    for (let time = 0; time < 12; time++) {
      await new Promise((done) => setTimeout(done, 20));
      await agreeOnCounting(kv, time % 2 === 0 ? CLASSIC : PREFIX, silent);
    }
    await agreeOnCounting(kv, CLASSIC, silent);
    await living;
    await hosts.close();
    await assertCounted(kv, CLASSIC);
  });
});

Deno.test("while another process counts a change waits, and half of the counts speak against nobody", async () => {
  await withStore(async ({ kv }) => {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock);
    for (const host of ["192.0.2.1", "192.0.2.2"]) await hosts.write(net(host), (one, at) => banned(one, at, BAN));
    await kv.set(KEY.counting, `counting somebody ${Date.now()}`);
    assert.deepEqual((await hosts.near(HOST)).map(({ known, banned }) => [known, banned]), [[0, 0], [0, 0]]);
    let isWritten = false;
    const writing = hosts.write(HOST, (one, at) => banned(one, at, BAN)).then(() => isWritten = true);
    await new Promise((done) => setTimeout(done, 200));
    assert.equal(isWritten, false);
    assert.equal((await kv.get(KEY.host(networkKey(HOST)))).value, null);
    await agreeOnCounting(kv, PREFIX, silent, { patience: 50 });
    await writing;
    assert.deepEqual((await hosts.near(HOST)).map(({ known, banned }) => [known, banned]), [[3, 3], [3, 3]]);
    await hosts.close();
    await assertCounted(kv);
  });
});

Deno.test("what is written after a process died while it counted is counted by the next one that starts", async () => {
  await withStore(async ({ kv }) => {
    await kv.set(KEY.counting, `counting somebody ${Date.now() - 120_000}`);
    const lines: string[] = [], hosts = new Hosts(kv, { counting: PREFIX, log: (_, event) => lines.push(event) });
    const began = performance.now();
    await hosts.write(HOST, (one, at) => banned(one, at, BAN));
    assert.ok(performance.now() - began < 2000, "nobody is waited for");
    await hosts.close();
    assert.deepEqual(lines, ["hosts-counted-otherwise"]);
    await agreeOnCounting(kv, PREFIX, silent);
    await assertCounted(kv);
  });
});
