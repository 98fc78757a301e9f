/** Seen hosts by prefixes, against the real server: who walks, who lives beside whom, and what is remembered. */

import assert from "node:assert/strict";
import { banned } from "../../src/check/host_history.ts";
import { openKv } from "../../src/store/kv.ts";
import { assertCounted, hostsAt, HOUR, net } from "../store/host_counts.ts";
import { expect, until } from "../support/letters.ts";
import { LocalServer, type LocalSettings } from "../support/local_server.ts";
import { callFrom, greetingFor, PROXIED, sayHello } from "../support/proxy_caller.ts";
import { mailFrom, Records, refusedAt, storyOf, whole, ZONE } from "./village.ts";

const SETTINGS: LocalSettings = {
  listeners: PROXIED,
  zone: ZONE,
  limits: "max_connections_per_host = 1000",
  reputation: 'mode = "enforce"',
};

/** Three hosts that are banned by hand before the server starts. */
async function ban(server: LocalServer, hosts: readonly string[]): Promise<void> {
  const kv = await openKv({ store: server.store }), there = hostsAt(kv, { now: Date.now() });
  for (const host of hosts) {
    await there.write(
      net(host),
      (record, at) => banned(record, at, { reason: "test", inherited: false, until: at + HOUR }),
    );
  }
  await there.close();
  kv.close();
}

async function withBanned(
  hosts: readonly string[],
  settings: LocalSettings,
  work: (server: LocalServer) => Promise<void>,
): Promise<void> {
  await using server = await LocalServer.prepare({ ...SETTINGS, ...settings });
  await ban(server, hosts);
  await server.start();
  await work(server);
}

Deno.test("who walks through ten thousand addresses of a /64 is stopped after the strikes, and a good host beside it is not", async () => {
  await using server = await LocalServer.open(SETTINGS);
  const good = "2001:db8:1:7::25", deliver = () => mailFrom(server, good, "carol@good.test");
  const peer = await sayHello(server, good);
  for (let time = 0; time < 5; time++) expect(await deliver(), "250");
  peer.close();

  // Five /64s around it are of one spammer: each new address is no new chance.
  for (let strike = 1; strike <= 3; strike++) {
    for (let host = 1; host <= 5; host++) {
      expect(await mailFrom(server, `2001:db8:1:${host}::${strike}`, "carol@bad.test"), "550 5.7.23");
    }
  }
  let walked = 3, told = 0;
  const walk = async () => {
    while (walked < 10_000) {
      const step = ++walked, host = `2001:db8:1:1::${step.toString(16)}`, said = await greetingFor(server, host, "mx");
      expect(said, `554 5.7.1 ${host} is banned until `);
      told++;
      if (step % 1000 === 0) expect(await deliver(), "250");
    }
  };
  await Promise.all(Array.from({ length: 16 }, walk));
  assert.equal(told, 9997);
  expect(await deliver(), "250");
  // A sixth /64 of the same /56 has done nothing yet.
  assert.match(
    await greetingFor(server, "2001:db8:1:6::1", "mx"),
    /^554 .*: bad neighbours: 5 banned of 6 senders in 2001:db8:1::\/56: 5 \/ \(6 \+ 1\) = 0\.71 > 0\.70\./,
  );
  await using records = await Records.open(server, "prefix");
  const record = await records.until("2001:db8:1:1::", ({ connections }) => connections === 10_000);
  assert.deepEqual([record.ban?.times, record.counters.spfFailures], [1, 3]);
  const inherits = await records.until("2001:db8:1:6::1", ({ connections }) => connections === 1);
  assert.equal(inherits.ban, undefined, "what is inherited is never stored");
  await until(async () => (await server.inbox()).length === 16, "the good mail");
});

Deno.test("who calls from all his addresses at first does not make his bans mean nothing", async () => {
  await using server = await LocalServer.open(SETTINGS);
  const greet = async () => {
    for (let host = 16; host < 56; host++) {
      expect(await greetingFor(server, `2001:db8:1:${host.toString(16)}::1`, "mx"), "220");
    }
  };
  await greet();
  for (let strike = 1; strike <= 3; strike++) {
    for (let host = 1; host <= 3; host++) {
      expect(await mailFrom(server, `2001:db8:1:${host}::1`, "carol@bad.test"), "550 5.7.23");
    }
  }
  for (const host of ["2001:db8:1:10::1", "2001:db8:1:ff::1"]) {
    assert.match(
      (await refusedAt(server, host))[0],
      /^554 .*: bad neighbours: 3 banned of 3 senders in 2001:db8:1::\/56/,
    );
  }
});

Deno.test("an address in IPv6 clothes is the IPv4 address that it carries, and a restart forgets nothing", async () => {
  await using server = await LocalServer.open(SETTINGS);
  const clothes = ["192.0.2.7", "::ffff:192.0.2.7", "2002:c000:207:1::1", "64:ff9b::192.0.2.7"];
  for (const host of clothes) (await sayHello(server, host, `${host.length}.remote.test`)).close();
  // Whatever was noted a moment ago is on disk when the server has stopped.
  const peer = await sayHello(server, clothes[1]!);
  expect(await peer.say("MAIL FROM:<carol@good.test>"), "250");
  expect(await peer.say("RCPT TO:<nobody@ours.test>"), "550");
  expect(await peer.say("NONSENSE"), "500");
  await server.stop();
  peer.close();
  await using records = await Records.open(server, "prefix");
  const record = await records.of("192.0.2.7");
  assert.equal(record?.connections, 5);
  assert.deepEqual(record?.names, ["client.remote.test", "18.remote.test", "16.remote.test"]);
  assert.deepEqual([record?.counters.unknownRecipients, record?.counters.protocolErrors], [1, 1]);

  await server.start();
  for (const host of clothes.slice(1)) expect(await mailFrom(server, host, "carol@bad.test"), "550 5.7.23");
  for (let start = 1; start <= 2; start++) {
    for (const host of clothes) assert.match((await refusedAt(server, host))[0], / is banned until .*: 3 SPF failures/);
    expect(await greetingFor(server, "192.0.2.8", "mx"), "220");
    expect(await greetingFor(server, "2001:db8::c000:207", "mx"), "220");
    await server.stop();
    await server.start();
  }
  const kv = await openKv({ store: server.store });
  await assertCounted(kv);
  kv.close();
});

Deno.test("a host of a bad wider neighbourhood waits for its greeting, must not speak before it, and its mail scores", async () => {
  const hosts = ["2001:db8:1:101::/64", "2001:db8:1:102::/64", "2001:db8:1:203::/64"], caller = "2001:db8:1:301::1";
  const settings = {
    reputation: 'mode = "enforce"\nslow_greeting = "2s"',
    checks: "spam_limit = 5\n[checks.weights]\nneighbours = 20\nhelo_none = 0",
  };
  await withBanned(hosts, settings, async (server) => {
    const began = performance.now(), peer = await callFrom(server, caller, "mx");
    const early = await callFrom(server, caller, "mx");
    await early.send("EHLO client.remote.test\r\n");
    assert.deepEqual(await whole(early), ["554 5.5.1 The server speaks first", "closed"]);
    assert.ok(performance.now() - began < 1900, "who speaks first is sent away at once");
    expect(await peer.lastLine(), "220");
    assert.ok(performance.now() - began >= 1990, `${performance.now() - began} ms`);
    peer.close();

    expect(
      await mailFrom(server, caller, "carol@good.test"),
      "550 5.7.1 This looks like spam to us: score 20, limit 5",
    );
    const [told] = await storyOf(server, caller, 1);
    assert.ok(told?.tells === "decision");
    assert.match(told.steps[0]?.found ?? "", /3 banned of 3 senders in 2001:db8:1::\/48.*the greeting waits 2 s/);
    assert.match(told.steps.find(({ check }) => check === "spam")?.found ?? "", /^20 = neighbours 20; the limit is 5/);
    const next = performance.now();
    expect(await greetingFor(server, "2001:db8:2::1", "mx"), "220");
    assert.ok(performance.now() - next < 1500, "another /48 waits for nothing");
  });
});

Deno.test("a server that only observes takes mail from banned hosts and tells what it would have done, until its time is up", async () => {
  const caller = "192.0.2.9";
  await withBanned(
    ["192.0.2.9", "192.0.2.1", "192.0.2.2", "192.0.2.3"],
    { reputation: 'mode = "auto"' },
    async (server) => {
      // The store is new.
      expect(await mailFrom(server, caller, "carol@good.test"), "250");
      expect(await mailFrom(server, "192.0.2.50", "carol@good.test"), "250");
      const [direct] = await storyOf(server, "192.0.2.9", 1), [inherited] = await storyOf(server, "192.0.2.50", 1);
      for (const [told, found] of [[direct, /^banned: test$/], [inherited, /^4 banned of 4 senders/]] as const) {
        assert.ok(told?.tells === "decision");
        assert.match(told.steps[0]?.found ?? "", found);
        assert.equal(told.steps[0]?.would, "would have been refused");
        assert.equal(told.steps[0]?.setting?.key, "reputation.mode");
      }
      assert.ok(server.log.some((line) => / host-would-be-refused .*host=192\.0\.2\.9 /.test(line)));

      await server.stop();
      const config = await Deno.readTextFile(server.configFile);
      await Deno.writeTextFile(
        server.configFile,
        config.replace("[reputation]\n", '[reputation]\nobserve_for = "0s"\n'),
      );
      await server.start();
      assert.match((await refusedAt(server, caller))[0], /^554 5\.7\.1 192\.0\.2\.9 is banned until .*: test\. /);
    },
  );
});

Deno.test("who is exempt is never judged and leaves no record, who is allowed is never refused", async () => {
  const settings = { reputation: 'mode = "enforce"\nexempt = ["192.0.2.0/25"]' };
  await withBanned(
    ["192.0.2.7", "192.0.2.200", "192.0.2.201", "192.0.2.202", "192.0.2.205"],
    settings,
    async (server) => {
      await using records = await Records.open(server, "prefix");
      const kv = await openKv({ store: server.store }), hosts = hostsAt(kv, { now: Date.now() });
      await hosts.write(net("192.0.2.203"), (host) => ({ ...host, allowed: true }));
      await hosts.close();
      kv.close();
      for (const host of ["192.0.2.7", "64:ff9b::192.0.2.8"]) {
        for (let time = 0; time < 4; time++) expect(await mailFrom(server, host, "carol@bad.test"), "550 5.7.23");
      }
      for (let time = 0; time < 4; time++) {
        expect(
          await mailFrom(server, "192.0.2.203", "carol@bad.test"),
          "550 5.7.23",
        );
      }
      expect(await greetingFor(server, "192.0.2.203", "mx"), "220");
      assert.match((await refusedAt(server, "192.0.2.204"))[0], /bad neighbours: 5 banned of 5 senders/);
      const { ban } = await records.until("192.0.2.203", ({ connections }) => connections === 5);
      assert.equal(ban, undefined);
      assert.equal((await records.of("192.0.2.7"))?.connections, 0);
      assert.equal(await records.of("192.0.2.8"), undefined);
    },
  );
});
