import assert from "node:assert/strict";
import { host } from "../../src/cli/host.ts";
import { openKv } from "../../src/store/kv.ts";
import { Lockouts } from "../../src/store/lockouts.ts";
import { type Answered, type Site, type Typing, withSite } from "./typed.ts";

function hostCommand({ type }: Site, ...line: string[]): Promise<Answered> {
  return type(["host", ...line], { commands: [host] });
}

function typing(confirm: boolean): Typing {
  return { commands: [host], confirm };
}

Deno.test("host ban, show, list, unban: a host goes in and out of a ban, and its times are remembered", async () => {
  await withSite(async (site) => {
    assert.equal((await hostCommand(site, "list")).error, "No host has called yet.\n");
    const banned = await hostCommand(site, "ban", "2001:db8::7", "--for", "7d", "--reason", "floods us\u001b[31m");
    assert.match(banned.out, /^Banned 2001:db8::\/64 until \d{4}-\d\d-\d\d \d\d:\d\dZ\.\n$/);
    // Its neighbour of the same /64 is the same host.
    const { out } = await hostCommand(site, "show", "2001:db8::8");
    assert.match(out, /^host +2001:db8::\/64$/m);
    assert.match(out, /^ban +floods us\\x1b\[31m; since .* until .*; number 1$/m);
    assert.match(out, /^neighbours +2001:db8::\/56: 1 counted, 1 banned$/m);
    assert.match(out, /^decision now +refused: banned: floods us/m);
    const json = JSON.parse((await hostCommand(site, "show", "[2001:db8::8]", "--json")).out);
    assert.equal(json.record.ban.times, 1);
    assert.deepEqual(json.neighbours[0], { network: "2001:db8::/56", known: 1, banned: 1 });
    assert.equal(json.decision.is, "banned");
    assert.match((await hostCommand(site, "list", "--banned")).out, /2001:db8::\/64 .*banned until/);

    assert.equal((await hostCommand(site, "unban", "2001:db8::9")).code, 0);
    assert.match((await hostCommand(site, "show", "2001:db8::7")).out, /^ban +floods us.* is over; number 1$/m);
    assert.match(
      (await hostCommand(site, "show", "2001:db8::7")).out,
      /^neighbours +2001:db8::\/56: 0 counted, 0 banned$/m,
    );
    const again = await hostCommand(site, "unban", "2001:db8::9");
    assert.deepEqual([again.code, again.error], [1, "2001:db8::/64 is not banned.\n"]);
    assert.equal((await hostCommand(site, "list", "--banned")).error, "No host is banned.\n");
    await hostCommand(site, "ban", "2001:db8::7");
    assert.match((await hostCommand(site, "show", "2001:db8::7")).out, /until it is lifted; number 2$/m);
  });
});

Deno.test("host allow lets a host in whose neighbours speak against it; unban says that it is they", async () => {
  await withSite(async (site) => {
    for (const ip of ["192.0.2.1", "192.0.2.2", "192.0.2.3"]) await hostCommand(site, "ban", ip);
    const { out } = await hostCommand(site, "show", "192.0.2.9");
    assert.match(out, /^record +none/m);
    assert.match(
      out,
      /^decision now +refused for its neighbours: 3 banned of 3 senders in 192\.0\.2\.0\/24: 3 \/ \(3 \+ 1\) = 0\.75 > 0\.70 \(observe: nobody is refused\)$/m,
    );
    const unbanned = await hostCommand(site, "unban", "192.0.2.9");
    assert.equal(unbanned.code, 1);
    assert.match(unbanned.error, /itself is not banned, its neighbours are: "host allow 192\.0\.2\.9"/);
    await hostCommand(site, "allow", "192.0.2.9");
    assert.match((await hostCommand(site, "show", "192.0.2.9")).out, /^decision now +welcome: allowed by hand/m);
    await hostCommand(site, "allow", "192.0.2.9", "--undo");
    assert.match((await hostCommand(site, "show", "192.0.2.9")).out, /^decision now +refused for its neighbours/m);
  }, '[reputation]\nmode = "auto"');
});

Deno.test("host forget asks before it forgets, and takes the host out of the counts", async () => {
  await withSite(async (site) => {
    await hostCommand(site, "ban", "192.0.2.1");
    const asked = await site.type(["host", "forget", "192.0.2.1"], typing(false));
    assert.equal(asked.code, 1);
    assert.match((await hostCommand(site, "show", "192.0.2.1")).out, /192\.0\.2\.0\/24: 1 counted, 1 banned/);
    assert.equal((await site.type(["host", "forget", "192.0.2.1"], typing(true))).out, "Forgot 192.0.2.1.\n");
    assert.match((await hostCommand(site, "show", "192.0.2.1")).out, /192\.0\.2\.0\/24: 0 counted, 0 banned/);
    assert.equal((await hostCommand(site, "forget", "192.0.2.1", "--yes")).code, 1);
  });
});

Deno.test("host export prints one line of JSON for each host", async () => {
  await withSite(async (site) => {
    await hostCommand(site, "ban", "192.0.2.1");
    await hostCommand(site, "ban", "2001:db8::1");
    const lines = (await hostCommand(site, "export")).out.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ host }) => host), ["192.0.2.1", "2001:db8::/64"]);
    assert.equal(lines[0].ban.reason, "by hand");
  });
});

Deno.test("an address in another's clothes is the same host", async () => {
  await withSite(async (site) => {
    await hostCommand(site, "ban", "192.0.2.7");
    for (const ip of ["::ffff:192.0.2.7", "64:ff9b::c000:207", "2002:c000:207::1"]) {
      assert.match((await hostCommand(site, "show", ip)).out, /^host +192\.0\.2\.7$/m, ip);
    }
  });
});

Deno.test("host list --locked shows who is locked out, and unban lifts it by network and by login", async () => {
  await withSite(async (site) => {
    const kv = await openKv({ store: `${site.folder}/store` });
    const lockouts = new Lockouts(kv, { maxFailures: 2, maxFailuresPerLogin: 3, lockout: 3600_000, exempt: [] });
    for (const ip of ["192.0.2.1", "192.0.2.1", "192.0.2.2"]) await lockouts.fail(ip, "ann@ours.test");
    kv.close();
    const { out } = await hostCommand(site, "list", "--locked");
    assert.match(out, /^network +192\.0\.2\.1 +2 /m);
    assert.match(out, /^login +ann@ours\.test +3 /m);
    assert.equal((await hostCommand(site, "unban", "192.0.2.1")).out, "192.0.2.1 may sign in again.\n");
    assert.equal((await hostCommand(site, "unban", "ann@ours.test")).out, "ann@ours.test may sign in again.\n");
    assert.equal((await hostCommand(site, "list", "--locked")).error, "Nobody is locked out.\n");
    assert.deepEqual(await hostCommand(site, "unban", "ann@ours.test").then(({ code }) => code), 1);
  }, '[auth]\nmax_failures = 2\nmax_failures_per_login = 3\nlockout = "1h"');
});

Deno.test("what is no address and no duration is wrong usage, with what to write", async () => {
  await withSite(async (site) => {
    for (const line of [["show", "example.com"], ["ban", "300.1.1.1"], ["ban", "192.0.2.1", "--for", "soon"]]) {
      const { code, error } = await hostCommand(site, ...line);
      assert.equal(code, 2, line.join(" "));
      assert.match(error, /write it like 192\.0\.2\.7|such as 12h or 7d/);
    }
  });
});
