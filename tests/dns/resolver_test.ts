import assert from "node:assert/strict";
import { Resolver, type ResolverSettings } from "../../src/dns/resolver.ts";
import { type Asked, serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";

const ZONE = `
$TTL 60
test.              SOA ns.test. hostmaster.test. 1 3600 600 86400 30
example.test.      MX 10 mx1.example.test.
                   MX 20 mx2.example.test.
                   TXT "v=spf1 mx " "-all"
mx1.example.test.  A 192.0.2.1
                   A 192.0.2.2
                   AAAA 2001:db8::1
null.test.         MX 0 .
_25._tcp.mx1.example.test. TLSA 3 1 1 00ff10
1.2.0.192.in-addr.arpa. PTR mx1.example.test.
www.test.          CNAME mx1.example.test.
chain.test.        CNAME www.test.
nowhere.test.      CNAME missing.test.
bare.test.         CNAME example.test.
loop1.test.        CNAME loop2.test.
loop2.test.        CNAME loop1.test.
servfail.test.     BEHAVE servfail
refused.test.      BEHAVE refused
silent.test.       BEHAVE silent
late.test.         A 192.0.2.9
late.test.         BEHAVE late 80
cut.test.          TXT "by tcp"
cut.test.          BEHAVE truncate
signed.test.       A 192.0.2.7
signed.test.       BEHAVE authentic
wrong-id.test.       BEHAVE wrong-id
wrong-question.test. BEHAVE wrong-question
`;

interface Scene {
  readonly dns: Resolver;
  readonly asked: readonly Asked[];
  /** Milliseconds to add to the clock of the cache. */
  later(milliseconds: number): void;
  replaceZone(text: string): void;
}

async function withZone(
  text: string,
  scene: (scene: Scene) => Promise<void>,
  settings: Partial<ResolverSettings> = {},
) {
  const asked: Asked[] = [];
  const names = await serveZone(parseZone(text), { hear: (question) => asked.push(question) });
  let time = 0;
  const dns = new Resolver({ servers: [names.server], patience: 150, deadline: 400, now: () => time, ...settings });
  try {
    await scene({
      dns,
      asked,
      later: (milliseconds) => time += milliseconds,
      replaceZone: (other) => names.replaceZone(parseZone(other)),
    });
  } finally {
    await dns.close();
    await names.close();
  }
}

Deno.test("resolver answers each type that mail asks for", () =>
  withZone(ZONE, async ({ dns }) => {
    const common = { outcome: "answer", authenticated: false, ttl: 60 };
    const host = { ...common, name: "mx1.example.test" };
    assert.deepEqual(await dns.a("MX1.Example.test."), { ...host, records: ["192.0.2.1", "192.0.2.2"] });
    assert.deepEqual(await dns.aaaa("mx1.example.test"), { ...host, records: ["2001:db8::1"] });
    assert.deepEqual(await dns.mx("example.test"), {
      ...common,
      name: "example.test",
      records: [
        { exchange: "mx1.example.test", preference: 10 },
        { exchange: "mx2.example.test", preference: 20 },
      ],
    });
    assert.deepEqual(await dns.txt("example.test"), { ...common, name: "example.test", records: ["v=spf1 mx -all"] });
    assert.deepEqual(await dns.ptr("192.0.2.1"), {
      ...common,
      name: "1.2.0.192.in-addr.arpa",
      records: ["mx1.example.test"],
    });
    assert.deepEqual(await dns.tlsa("_25._tcp.mx1.example.test"), {
      ...common,
      name: "_25._tcp.mx1.example.test",
      records: [{ usage: 3, selector: 1, matchingType: 1, data: Uint8Array.of(0, 255, 16) }],
    });
    assert.deepEqual(await dns.ask("SOA", "test"), {
      ...common,
      name: "test",
      records: [{
        primary: "ns.test",
        mailbox: "hostmaster.test",
        serial: 1,
        refresh: 3600,
        retry: 600,
        expire: 86400,
        minimum: 30,
      }],
    });
  }));

Deno.test("resolver shows the null MX as an empty exchange", () =>
  withZone(ZONE, async ({ dns }) => {
    const found = await dns.mx("null.test");
    assert.deepEqual(found.outcome === "answer" && found.records, [{ exchange: "", preference: 0 }]);
  }));

Deno.test("resolver tells no such name, no data, server failed and timed out apart", () =>
  withZone(ZONE, async ({ dns }) => {
    const [missing, empty, between, servfail, refused, silent] = await Promise.all([
      dns.a("missing.test"),
      dns.aaaa("example.test"),
      dns.a("_tcp.mx1.example.test"),
      dns.a("servfail.test"),
      dns.a("refused.test"),
      dns.a("silent.test"),
    ]);
    assert.deepEqual(missing, { outcome: "no such name", authenticated: false, ttl: 30 });
    assert.deepEqual(empty, { outcome: "no data", authenticated: false, ttl: 30 });
    assert.equal(between.outcome, "no data");
    assert.equal(servfail.outcome, "server failed");
    assert.match("reason" in servfail ? servfail.reason : "", /^127\.0\.0\.1:\d+: SERVFAIL$/);
    assert.equal(refused.outcome, "server failed");
    assert.match("reason" in refused ? refused.reason : "", /REFUSED/);
    assert.equal(silent.outcome, "timed out");
  }));

Deno.test("resolver follows CNAMEs to the end and names it", () =>
  withZone(ZONE, async ({ dns, asked }) => {
    const found = await dns.a("chain.test");
    assert.equal(found.outcome === "answer" && found.name, "mx1.example.test");
    assert.equal((await dns.a("nowhere.test")).outcome, "no such name");
    assert.equal((await dns.a("bare.test")).outcome, "no data");
    assert.equal(asked.length, 3);
    const link = await dns.ask("CNAME", "chain.test");
    assert.deepEqual(link.outcome === "answer" && link.records, ["www.test"]);
  }));

Deno.test("resolver reports a loop of CNAMEs as server failed", () =>
  withZone(ZONE, async ({ dns }) => {
    const found = await dns.a("loop1.test");
    assert.equal(found.outcome, "server failed");
    assert.match("reason" in found ? found.reason : "", /loop/);
  }));

Deno.test("resolver waits for a late answer and asks only once", () =>
  withZone(ZONE, async ({ dns, asked }) => {
    assert.equal((await dns.a("late.test")).outcome, "answer");
    assert.equal(asked.length, 1);
  }));

Deno.test("resolver goes to TCP when the answer was cut off", () =>
  withZone(ZONE, async ({ dns, asked }) => {
    const found = await dns.txt("cut.test");
    assert.deepEqual(found.outcome === "answer" && found.records, ["by tcp"]);
    assert.deepEqual(asked.map(({ by }) => by), ["udp", "tcp"]);
  }));

Deno.test("resolver takes nothing with a wrong id or for another question", () =>
  withZone(ZONE, async ({ dns }) => {
    const both = await Promise.all([dns.a("wrong-id.test"), dns.a("wrong-question.test")]);
    assert.deepEqual(both.map(({ outcome }) => outcome), ["timed out", "timed out"]);
  }, { patience: 60, deadline: 100 }));

Deno.test("resolver takes a TXT record of 65,000 octets by TCP, and the characters that its strings cut in two", () => {
  const long = `é${"0123456789abcde€".repeat(3600)}`;
  return withZone(`long.test. TXT "${long}"`, async ({ dns, asked }) => {
    const found = await dns.txt("long.test");
    assert.equal(found.outcome === "answer" && found.records[0], long);
    assert.equal(asked[1]?.by, "tcp");
  }, { patience: 2000, deadline: 4000 });
});

Deno.test("resolver hands out the first 100 of 500 mail exchanges", () => {
  const many = Array.from({ length: 500 }, (_, index) => `many.test. MX ${index} mx${index}.many.test.`).join("\n");
  return withZone(many, async ({ dns }) => {
    const found = await dns.mx("many.test");
    assert.equal(found.outcome === "answer" && found.records.length, 100);
    assert.equal(found.outcome === "answer" && found.records[99]?.exchange, "mx99.many.test");
  }, { patience: 2000, deadline: 4000 });
});

Deno.test("resolver believes the AD bit only when told to trust it", async () => {
  await withZone(ZONE, async ({ dns }) => {
    const signed = await dns.a("signed.test");
    assert.equal("authenticated" in signed && signed.authenticated, false);
  });
  await withZone(ZONE, async ({ dns }) => {
    const [signed, unsigned] = await Promise.all([dns.a("signed.test"), dns.a("mx1.example.test")]);
    assert.equal("authenticated" in signed && signed.authenticated, true);
    assert.equal("authenticated" in unsigned && unsigned.authenticated, false);
  }, { trustAd: true });
});

Deno.test("resolver remembers an answer for its TTL, and says how much is left of it", () =>
  withZone(ZONE, async ({ dns, asked, later, replaceZone }) => {
    await dns.a("mx1.example.test");
    replaceZone("mx1.example.test. 5 A 192.0.2.99");
    later(59_000);
    const known = await dns.a("mx1.example.test");
    assert.deepEqual(known.outcome === "answer" && [known.records.length, known.ttl], [2, 1]);
    assert.equal(asked.length, 1);
    later(1000);
    const fresh = await dns.a("mx1.example.test");
    assert.deepEqual(fresh.outcome === "answer" && fresh.records, ["192.0.2.99"]);
    assert.equal(asked.length, 2);
  }));

Deno.test("resolver remembers that there is nothing for the minimum of the SOA", () =>
  withZone(ZONE, async ({ dns, asked, later }) => {
    await dns.a("missing.test");
    later(29_999);
    assert.equal((await dns.a("missing.test")).outcome, "no such name");
    assert.equal(asked.length, 1);
    later(1);
    await dns.a("missing.test");
    assert.equal(asked.length, 2);
  }));

Deno.test("resolver does not remember nothing without SOA, nor a TTL of 0", () =>
  withZone("zero.test. 0 A 192.0.2.1", async ({ dns, asked }) => {
    for (const name of ["zero.test", "zero.test", "other.test", "other.test"]) await dns.a(name);
    assert.equal(asked.length, 4);
  }));

Deno.test("resolver caps what a TTL may ask for", () =>
  withZone("old.test. 4000000 A 192.0.2.1", async ({ dns, asked, later }) => {
    await dns.a("old.test");
    later(3600_000);
    await dns.a("old.test");
    assert.equal(asked.length, 2);
  }));

Deno.test("resolver forgets a failure after three seconds", () =>
  withZone(ZONE, async ({ dns, asked, later, replaceZone }) => {
    await dns.a("servfail.test");
    await dns.a("servfail.test");
    assert.equal(asked.length, 1);
    replaceZone("servfail.test. A 192.0.2.1");
    later(3000);
    assert.equal((await dns.a("servfail.test")).outcome, "answer");
  }));

Deno.test("resolver asks once for many who ask the same at the same time", () =>
  withZone(ZONE, async ({ dns, asked }) => {
    const found = await Promise.all(Array.from({ length: 50 }, () => dns.a("late.test")));
    assert.ok(found.every(({ outcome }) => outcome === "answer"));
    assert.equal(asked.length, 1);
  }));

Deno.test("resolver knows without asking that a name that cannot be does not exist", () =>
  withZone(ZONE, async ({ dns, asked }) => {
    const odd = [
      "",
      ".",
      "a..test",
      ".test",
      `${"x".repeat(64)}.test`,
      `${"x.".repeat(127)}test`,
      "ä.test",
      "a\nb.test",
    ];
    for (const name of odd) assert.equal((await dns.a(name)).outcome, "no such name", name);
    assert.equal((await dns.ptr("no address")).outcome, "no such name");
    for (const name of ["__proto__", "constructor.test", `${"x".repeat(63)}.test`]) await dns.a(name);
    assert.equal(asked.length, 3);
  }));

Deno.test("resolver keeps the budget of one asker, and goes on for the others", () =>
  withZone(ZONE, async ({ dns, asked }) => {
    const budget = new AbortController();
    const [hurried, patient] = [dns.a("late.test", { signal: budget.signal }), dns.a("late.test")];
    budget.abort();
    assert.equal((await hurried).outcome, "timed out");
    assert.equal((await patient).outcome, "answer");
    assert.equal((await dns.a("mx1.example.test", { signal: budget.signal })).outcome, "timed out");
    assert.equal((await dns.a("late.test", { signal: budget.signal })).outcome, "answer");
    assert.equal(asked.length, 1);
  }));

const NO_LEAKS = { sanitizeOps: true, sanitizeResources: true };

Deno.test(
  "resolver that is closed gives up what is under way and asks no more",
  NO_LEAKS,
  () =>
    withZone(ZONE, async ({ dns }) => {
      const open = [dns.a("silent.test"), dns.a("late.test")];
      await dns.close();
      for (const found of await Promise.all(open)) {
        assert.deepEqual(found, { outcome: "server failed", reason: "the resolver is closed" });
      }
      assert.equal((await dns.a("mx1.example.test")).outcome, "server failed");
    }),
);
