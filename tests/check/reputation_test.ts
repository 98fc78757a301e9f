import assert from "node:assert/strict";
import { countingOf } from "../../src/check/host_rules.ts";
import { arrivalStep } from "../../src/check/reputation.ts";
import { HostSweep } from "../../src/store/host_sweep.ts";
import { Hosts } from "../../src/store/hosts.ts";
import { openKv } from "../../src/store/kv.ts";
import { DAY, hostsAt, HOUR, net, NOON } from "../store/host_counts.ts";
import { withStore } from "../store/temporary_store.ts";
import { CLASSIC_RULES, PREFIX_RULES } from "./host_rules_of.ts";
import { withWorld, World } from "./reputation_world.ts";

/** /64s of 2001:db8::/48: the number of the /56 and of the /64 in it. */
function at(near: number, host: number): string {
  return `2001:db8:0:${(256 * near + host).toString(16)}::25`;
}

Deno.test("three SPF failures without an aligned signature in a week ban a host for an hour, then two, then four", async () => {
  await withWorld(PREFIX_RULES, async (world) => {
    const { clock } = world;
    for (const [hours, until] of [[1, "13:00"], [2, "16:00"], [4, "21:00"]] as const) {
      await world.forge("192.0.2.1");
      await world.forge("192.0.2.1");
      assert.equal(await world.greeting("192.0.2.1"), "220");
      await world.forge("192.0.2.1");
      clock.now += 30_000;
      assert.equal(
        await world.greeting("192.0.2.1"),
        `554 5.7.1 192.0.2.1 is banned until 2026-11-22T${until}Z: 3 SPF failures, the last one for bank.test. ` +
          "To be released, write to postmaster@ours.test",
      );
      assert.equal(await world.greeting("192.0.2.2"), "220", "a neighbour");
      clock.now += hours * HOUR - 30_001;
      assert.match(await world.greeting("192.0.2.1"), /^554/);
      clock.now += 1;
      assert.equal(await world.greeting("192.0.2.1"), "220");
      clock.now += HOUR;
    }
    assert.deepEqual(
      world.lines.filter((line) => line.includes("host-banned")).map((line) => JSON.parse(line.slice(20)).times),
      [1, 2, 3],
    );
  });
});

Deno.test("strikes that are spread over more than a week ban nobody, and neither does a DKIM failure ever", async () => {
  await withWorld(PREFIX_RULES, async (world) => {
    for (let time = 0; time < 8; time++) {
      await world.forge("192.0.2.1");
      world.clock.now += 4 * DAY;
    }
    const visit = world.visit("192.0.2.1");
    for (let time = 0; time < 20; time++) {
      await visit.shows({ spfFails: false, dkimFails: true, dmarcFails: true });
      await visit.shows({ spfFails: true, dkimFails: false, dmarcFails: false });
    }
    assert.equal(await world.greeting("192.0.2.1"), "220");
    const { counters } = await world.record("192.0.2.1") ?? {};
    assert.deepEqual([counters?.dkimFailures, counters?.dmarcFailures], [20, 20]);
  });
});

Deno.test("a host with a good record is given twice as many strikes, and twice the spam", async () => {
  await withWorld(PREFIX_RULES, async (world) => {
    for (const host of ["192.0.2.1", "192.0.2.2"]) await world.deliver(host, 40);
    for (let strike = 1; strike <= 5; strike++) await world.forge("192.0.2.1");
    assert.equal(await world.greeting("192.0.2.1"), "220");
    await world.forge("192.0.2.1");
    assert.match(await world.greeting("192.0.2.1"), /^554 5\.7\.1 .*: 6 SPF failures/);
    for (const [host, most] of [["192.0.2.2", 4], ["192.0.2.3", 2]] as const) {
      const visit = world.visit(host);
      await visit.arrive();
      for (let spam = 1; spam <= most; spam++) await visit.scored(true, 2);
      assert.equal(await world.greeting(host), "220", host);
      await visit.scored(true, 2);
      assert.match(await world.greeting(host), new RegExp(`: ${most + 1} messages above the spam limit\\.`));
    }
  });
});

Deno.test("what a burst in open sessions shows is one cause, and makes one ban of one hour", async () => {
  for (const rules of [PREFIX_RULES, CLASSIC_RULES]) {
    await withWorld(rules, async (world) => {
      const visits = Array.from({ length: 30 }, () => world.visit("192.0.2.1"));
      for (const visit of visits) await visit.arrive();
      await Promise.all(
        visits.map((visit) => visit.shows({ forged: "bank.test", spfFails: true, dkimFails: true, dmarcFails: true })),
      );
      const { ban, counters } = await world.record("192.0.2.1") ?? {};
      assert.deepEqual([ban?.times, counters?.spfFailures], [1, 30]);
      assert.equal(ban?.until, rules.rules === "classic" ? undefined : NOON + HOUR);
    });
  }
});

Deno.test("a ban is on disk when what led to it has been judged", async () => {
  await withWorld(PREFIX_RULES, async (world, kv) => {
    for (let strike = 1; strike <= 3; strike++) await world.forge("192.0.2.1");
    assert.equal((await hostsAt(kv, world.clock).get(net("192.0.2.1")))?.ban?.times, 1);
  });
});

Deno.test("bans of a /56 refuse who comes from it, are never written down for it, and end with those they rest on", async () => {
  await withWorld(PREFIX_RULES, async (world, kv) => {
    for (const host of [1, 2, 3]) for (let strike = 1; strike <= 3; strike++) await world.forge(at(1, host));
    assert.equal(
      await world.greeting(at(1, 9)),
      "554 5.7.1 2001:db8:0:109::25 is banned: bad neighbours: 3 banned of 3 senders in 2001:db8:0:100::/56: " +
        "3 / (3 + 1) = 0.75 > 0.70. To be released, write to postmaster@ours.test",
    );
    // It has a record like everybody, and no ban in it.
    const refused = await world.record(at(1, 9));
    assert.deepEqual([refused?.connections, refused?.ban], [1, undefined]);
    // However many are refused, they do not speak for each other.
    for (let host = 10; host < 30; host++) assert.match(await world.greeting(at(1, host)), /^554 .* 3 banned of 3 /);
    world.mode = "observe";
    assert.equal(await world.greeting(at(1, 9)), "220");
    const record = await world.record(at(1, 9));
    assert.deepEqual([record?.connections, record?.ban], [2, undefined]);
    world.mode = "enforce";
    assert.match(await world.greeting(at(1, 9)), /^554 .* 3 banned of 3 /, "known, and itself no neighbour");
    world.clock.now += HOUR;
    const sweep = new HostSweep(kv, world.hosts, { expireAfter: DAY, log: () => {}, now: () => world.clock.now });
    await sweep.endBans();
    await sweep.close();
    assert.equal(await world.greeting(at(1, 9)), "220");
  });
});

Deno.test("the wider neighbourhood slows the greeting, and a good record hurries it again", async () => {
  await withWorld(PREFIX_RULES, async (world) => {
    await world.deliver(at(7, 1), 5);
    for (const near of [1, 2, 3]) {
      for (const host of [1, 2]) for (let strike = 1; strike <= 3; strike++) await world.forge(at(near, host));
    }
    const visit = world.visit(at(8, 1)), arrival = await visit.arrive();
    assert.deepEqual([arrival.standing.is, arrival.delay, arrival.refusal], ["slow", 10_000, undefined]);
    assert.equal(
      arrivalStep(arrival, true).found,
      "6 banned of 7 senders in 2001:db8::/48: 6 / (7 + 1) = 0.75 > 0.70; the greeting waits 10 s",
    );
    assert.equal(await world.greeting(at(7, 1)), "220");
    assert.equal(await world.greeting("2001:db8:1::1"), "220", "another /48");
    world.mode = "observe";
    const observed = await world.visit(at(8, 1)).arrive();
    assert.deepEqual([observed.standing.is, observed.delay], ["slow", 0]);
    assert.equal(arrivalStep(observed, false).would, "would have waited");
  });
});

Deno.test("in observe mode all is noted and nobody refused; who is exempt leaves no record; off notes nothing", async () => {
  await withWorld(PREFIX_RULES, async (world) => {
    world.mode = "observe";
    for (let strike = 1; strike <= 4; strike++) await world.forge("192.0.2.1");
    const visit = world.visit("192.0.2.1"), arrival = await visit.arrive();
    assert.deepEqual([arrival.standing.is, arrival.refusal, arrival.delay], ["banned", undefined, 0]);
    assert.deepEqual(arrivalStep(arrival, visit.isEnforced), {
      check: "reputation",
      found: "banned: 3 SPF failures, the last one for bank.test",
      setting: "reputation.mode",
      would: "would have been refused",
    });
    assert.equal((await world.record("192.0.2.1"))?.ban?.times, 1);
    assert.ok(world.lines.some((line) => line.includes("host-would-be-refused")));
    world.mode = "enforce";
    assert.match(await world.greeting("192.0.2.1"), /^554/);
    for (const host of ["127.0.0.1", "198.51.100.7", "::ffff:198.51.100.7", "64:ff9b::c633:6407"]) {
      assert.equal(world.reputation.visit({ id: "1", host }), undefined, host);
    }
    world.mode = "off";
    assert.equal(world.reputation.visit({ id: "1", host: "192.0.2.1" }), undefined);
    assert.equal(world.reputation.visit({ id: "1", host: "no address" }), undefined);
  });
});

Deno.test("a host that is allowed stays so, and its strikes lead to nothing", async () => {
  await withWorld(PREFIX_RULES, async (world) => {
    await world.hosts.write(net("192.0.2.1"), (host) => ({ ...host, allowed: true }));
    for (let strike = 1; strike <= 6; strike++) await world.forge("192.0.2.1");
    const record = await world.record("192.0.2.1");
    assert.deepEqual([record?.ban, record?.counters.spfFailures, record?.allowed], [undefined, 6, true]);
    assert.equal(await world.greeting("192.0.2.1"), "220");
  });
});

Deno.test("counters of a host are halved when it calls", async () => {
  await withWorld(PREFIX_RULES, async (world) => {
    const visit = world.visit("192.0.2.1");
    await visit.arrive();
    for (let time = 0; time < 8; time++) visit.unknownRecipient();
    visit.protocolErrors(4);
    visit.protocolErrors(0);
    world.clock.now += 28 * DAY;
    await world.greeting("192.0.2.1");
    const { counters, connections } = await world.record("192.0.2.1") ?? {};
    assert.deepEqual([counters?.unknownRecipients, counters?.protocolErrors, connections], [2, 1, 2]);
  });
});

Deno.test("a store that fails harms no session: everybody is welcome, and the log says why", async () => {
  await withStore(async ({ folder }) => {
    const kv = await openKv({ store: folder });
    const hosts = new Hosts(kv, { counting: countingOf(CLASSIC_RULES), log: () => {} });
    const world = new World(hosts, CLASSIC_RULES, { now: NOON });
    const visit = world.visit("192.0.2.1");
    await visit.arrive();
    await hosts.flush();
    kv.close();
    const arrival = await world.visit("192.0.2.1").arrive();
    assert.deepEqual([arrival.standing.is, arrival.refusal, arrival.delay], ["welcome", undefined, 0]);
    visit.hello("mail.remote.test");
    visit.misnamed();
    visit.accepted();
    visit.unknownRecipient();
    visit.protocolErrors(1);
    await visit.shows({ forged: "x.test", spfFails: true, dkimFails: true, dmarcFails: true });
    await visit.scored(true, 0);
    await visit.scored(false, 0);
    await new Promise((done) => setTimeout(done, 20));
    assert.ok(world.lines.length >= 3 && world.lines.every((line) => line.startsWith("error reputation-failed ")));
    await hosts.close();
  });
});

Deno.test("under the classic rules who inherits is banned from then on, and counts among the banned", async () => {
  await withWorld(CLASSIC_RULES, async (world, kv) => {
    for (const host of [1, 2, 3]) {
      const visit = world.visit(`2001:db8::${host}`);
      await visit.arrive();
      await visit.shows({ spfFails: true, dkimFails: false, dmarcFails: false });
    }
    const first = await world.greeting("2001:db8::4");
    assert.match(
      first,
      /^554 5\.7\.1 2001:db8::4 is banned: bad neighbours: 3 banned of 3 known hosts in 2001:db8::\/112/,
    );
    const onDisk = await hostsAt(kv, world.clock).get(net("2001:db8::4"));
    assert.deepEqual([onDisk?.ban?.inherited, onDisk?.ban?.until, onDisk?.connections], [true, undefined, 1]);
    assert.equal(await world.greeting("2001:db8::4"), first, "the same reason as before");
    assert.equal((await world.record("2001:db8::4"))?.connections, 2);
    assert.match(await world.greeting("2001:db8::5"), /4 banned of 4 known hosts/);
    assert.equal(await world.greeting("2001:db8::1:5"), "220", "another /112");
  });
});
