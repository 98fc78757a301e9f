import assert from "node:assert/strict";
import { checkSpf, evaluateSpf, type SpfFinding } from "../../src/check/spf.ts";
import { SpfMemory } from "../../src/check/spf_memory.ts";
import type { Dns, DnsRecord } from "../../src/dns/records.ts";
import { alias, framed, replyTo } from "../support/dns_scripted.ts";
import { holdsNobodyUp } from "../support/longest_block.ts";
import { txt, withRecords, withScript } from "../support/name_servers.ts";

const HOST = "192.0.2.1";

function check(dns: Dns, domain: string, host = HOST): Promise<SpfFinding> {
  return checkSpf({ host, hello: "client.test", sender: `carol@${domain}` }, dns, "mx.our.test");
}

const exchange = (name: string, index: number): DnsRecord => {
  return { name, ttl: 60, type: "MX", data: { preference: index, exchange: `mx${index}.${name}` } };
};

Deno.test("SPF is asked of the domain in MAIL FROM, or of the name in HELO when that is empty", () =>
  withRecords([txt("a.test", `v=spf1 ip4:${HOST} -all`), txt("client.test", "v=spf1 ~all")], async (dns) => {
    assert.deepEqual(await check(dns, "a.test"), { result: "pass", domain: "a.test", identity: "mailfrom" });
    assert.deepEqual(await check(dns, "a.test", `::ffff:${HOST}`), await check(dns, "a.test"));
    const nobody = await checkSpf({ host: HOST, hello: "client.test", sender: "" }, dns, "mx.our.test");
    assert.deepEqual(nobody, { result: "softfail", domain: "client.test", identity: "helo" });
    const literal = await checkSpf({ host: HOST, hello: `[${HOST}]`, sender: "" }, dns, "mx.our.test");
    assert.deepEqual(literal, { result: "none", domain: `[${HOST}]`, identity: "helo" });
  }));

Deno.test("what a domain says to who fails is one printable line of 200 signs at most", () =>
  withRecords([
    txt("a.test", "v=spf1 -all exp=why.a.test"),
    txt("why.a.test", `%{i} is not ours ${"x".repeat(1000)}`),
    txt("b.test", "v=spf1 -all exp=why.b.test"),
    txt("why.b.test", "one\r\nX-Header: two"),
    txt("c.test", "v=spf1 -all exp=why.c.test"),
    txt("why.c.test", "x".repeat(5000)),
  ], async (dns) => {
    const { result, explanation = "" } = await check(dns, "a.test");
    assert.equal(result, "fail");
    assert.match(explanation, /^192\.0\.2\.1 is not ours x+$/);
    assert.equal(explanation.length, 200);
    for (const name of ["b.test", "c.test"]) {
      assert.deepEqual(await check(dns, name), { result: "fail", domain: name, identity: "mailfrom" });
    }
  }));

Deno.test("SPF asks no more than ten questions, and takes no more than two empty answers", () =>
  withRecords([
    txt("ten.test", `v=spf1 ${"a:one.test ".repeat(10)} +all`),
    txt("eleven.test", `v=spf1 ${"a:one.test ".repeat(11)} +all`),
    { name: "one.test", ttl: 60, type: "A", data: "192.0.2.99" },
    txt("two.test", "v=spf1 a:x1.test a:x2.test +all"),
    txt("three.test", "v=spf1 a:x1.test a:x2.test a:x3.test +all"),
    txt("self.test", "v=spf1 include:self.test +all"),
  ], async (dns) => {
    const results = ["ten.test", "eleven.test", "two.test", "three.test", "self.test"]
      .map(async (name) => (await check(dns, name)).result);
    assert.deepEqual(await Promise.all(results), ["pass", "permerror", "pass", "permerror", "permerror"]);
  }));

Deno.test("a record that is too long is a permanent error, never half a record", () =>
  withRecords([
    txt("long.test", `v=spf1 ${`ip4:${HOST} `.repeat(300)} -all`),
    txt("huge.test", `v=spf1 +all ${"x".repeat(60_000)}`),
    txt("through.test", "v=spf1 include:long.test +all"),
    // What is no SPF record may be as long as it wants.
    txt("other.test", "x".repeat(60_000)),
    txt("other.test", `v=spf1 ip4:${HOST} -all`),
  ], async (dns, asked) => {
    for (const name of ["long.test", "huge.test", "through.test"]) {
      assert.equal((await check(dns, name)).result, "permerror", name);
    }
    assert.equal((await check(dns, "other.test")).result, "pass");
    assert.ok(asked.some(({ name, by }) => name === "other.test" && by === "tcp"));
  }));

Deno.test("500 mail exchanges are a permanent error", () =>
  withRecords([
    txt("many.test", "v=spf1 mx +all"),
    ...Array.from({ length: 500 }, (_, index) => exchange("many.test", index)),
  ], async (dns) => {
    assert.equal((await check(dns, "many.test")).result, "permerror");
  }));

Deno.test("a name server that answers with another id, another question or in circles is temporary trouble", async () => {
  const pass = (name: string) => [txt(name, "v=spf1 +all")];
  const records = [txt("a.test", "v=spf1 +all")];
  for (const does of ["wrong-id", "wrong-question", "servfail", "refused", "silent"] as const) {
    await withRecords(records, async (dns) => {
      assert.equal((await check(dns, "a.test")).result, "temperror", does);
    }, { "a.test": { does } });
  }
  await withScript({
    udp: (query) => [replyTo(query, { answers: [alias("a.test", "b.test"), alias("b.test", "a.test")] })],
  }, async (dns) => assert.equal((await check(dns, "a.test")).result, "temperror"));
  // Each answer leads to one more name.
  let count = 0;
  await withScript({
    udp: (query) => [replyTo(query, { answers: [alias(query.question.name, `n${count++}.test`)] })],
  }, async (dns) => assert.equal((await check(dns, "a.test")).result, "temperror"));
  assert.ok(count > 5 && count < 20, String(count));
  // Cut off by UDP, and by TCP an answer to another question.
  await withScript({
    udp: (query) => [replyTo(query, { truncated: true })],
    tcp: (query) => ({ pieces: [framed(replyTo(query, { id: query.id ^ 1, answers: pass(query.question.name) }))] }),
  }, async (dns) => assert.equal((await check(dns, "a.test")).result, "temperror"));
});

Deno.test("when the time for its look-ups is over, SPF is a temporary error and asks no more", async () => {
  // RFC 7208 §5.5 takes trouble with PTR for a name that does not match, which would make this a fail.
  const records = [txt("a.test", "v=spf1 ptr a:b.test a:c.test -all"), txt("b.test", "v=spf1 ptr -all")];
  await withRecords(records, async (dns, asked) => {
    const claim = { host: HOST, hello: "client.test", sender: "carol@a.test" };
    const began = performance.now();
    assert.deepEqual(await evaluateSpf(claim, dns, "mx.our.test", 120), {
      finding: { result: "temperror", domain: "a.test", identity: "mailfrom" },
      ttl: 0,
    });
    assert.ok(performance.now() - began < 400, "it did not wait for the resolver");
    const other = await evaluateSpf({ ...claim, host: "192.0.2.2", sender: "carol@b.test" }, dns, "mx.our.test", 120);
    assert.equal(other.finding.result, "temperror");
    await new Promise((done) => setTimeout(done, 600));
    assert.deepEqual([...new Set(asked.map(({ name }) => name))], [
      "a.test",
      "1.2.0.192.in-addr.arpa",
      "b.test",
      "2.2.0.192.in-addr.arpa",
    ]);
  }, { "*.2.0.192.in-addr.arpa": { does: "silent" } });
});

Deno.test("no SPF record holds up the others for 100 ms", () => {
  const networks = (length: number) => {
    let text = "v=spf1";
    for (let at = 0; text.length < length; at++) text += ` ip6:1::${at.toString(16)}`;
    return text;
  };
  const included = Array.from({ length: 9 }, (_, index) => `i${index}.test`);
  return withRecords([
    txt("top.test", `v=spf1 ${included.map((name) => `include:${name}`).join(" ")} -all`),
    ...included.map((name) => txt(name, networks(4000))),
    txt("macros.test", `v=spf1 exists:${"%{l1r-}".repeat(500)}.test -all`),
    txt("slashes.test", `v=spf1 a:${"/0".repeat(1900)} -all`),
  ], async (dns) => {
    for (
      const [name, result] of [["top.test", "fail"], ["macros.test", "fail"], ["slashes.test", "permerror"]] as const
    ) {
      // The second time all answers are there already: nothing waits for a name server.
      await check(dns, name, "2001:db8::1");
      const found = await holdsNobodyUp(name, () => check(dns, name, "2001:db8::1"));
      assert.equal(found.result, result, name);
    }
  });
});

// ── what is remembered ───────────────────────────────────────────────────────────────────────────────────────────

const CLAIM = { host: HOST, hello: "client.test", sender: "carol@a.test" };

/** A DNS that counts what it is asked and answers with these records, for this many seconds. */
function counting(
  records: Readonly<Record<string, readonly [text: string, ttl: number]>>,
): { dns: Dns; count: () => number } {
  let count = 0;
  const never = () => Promise.reject(new Error("only TXT is asked"));
  const dns: Dns = {
    ...{ a: never, aaaa: never, mx: never, ptr: never, tlsa: never, ask: never },
    txt: (name) => {
      count++;
      const found = records[name];
      if (found === undefined) return Promise.resolve({ outcome: "server failed", reason: "SERVFAIL" });
      const [text, ttl] = found;
      return Promise.resolve({ outcome: "answer", records: [text], name, authenticated: false, ttl });
    },
  };
  return { dns, count: () => count };
}

Deno.test("a finding is remembered for the shortest time for which its answers hold, and no longer", async () => {
  let now = 1000;
  const { dns, count } = counting({
    "a.test": ["v=spf1 include:b.test -all", 60],
    "b.test": ["v=spf1 ip4:192.0.2.1", 30],
  });
  const memory = new SpfMemory(dns, "mx.our.test", { now: () => now });
  const found = await memory.check(CLAIM);
  assert.deepEqual([found.result, count()], ["pass", 2]);
  now += 28_999;
  assert.deepEqual([await memory.check(CLAIM), count()], [found, 2]);
  now += 1001;
  assert.deepEqual([await memory.check(CLAIM), count()], [found, 4]);
});

Deno.test("a finding is remembered for this host, this name and this sender only", async () => {
  const { dns, count } = counting({ "a.test": ["v=spf1 ip4:192.0.2.1 -all", 60] });
  const memory = new SpfMemory(dns, "mx.our.test", { now: () => 0 });
  assert.equal((await memory.check(CLAIM)).result, "pass");
  assert.equal((await memory.check({ ...CLAIM, host: "192.0.2.2" })).result, "fail");
  await memory.check({ ...CLAIM, hello: "other.test" });
  await memory.check({ ...CLAIM, sender: "Carol@a.test" });
  assert.equal(count(), 4);
});

Deno.test("temporary trouble is never remembered, and neither is what holds for no time", async () => {
  const { dns, count } = counting({ "a.test": ["v=spf1 include:gone.test -all", 60], "b.test": ["v=spf1 -all", 0] });
  const memory = new SpfMemory(dns, "mx.our.test");
  for (const sender of ["carol@a.test", "carol@b.test"]) {
    await memory.check({ ...CLAIM, sender });
    await memory.check({ ...CLAIM, sender });
  }
  assert.deepEqual([memory.size, count()], [0, 6]);
});

Deno.test("an explanation that could not be looked up is not forgotten for good", async () => {
  const { dns } = counting({ "a.test": ["v=spf1 -all exp=gone.test", 60] });
  const memory = new SpfMemory(dns, "mx.our.test");
  assert.equal((await memory.check(CLAIM)).result, "fail");
  assert.equal(memory.size, 0);
});

Deno.test("so many findings are remembered, and the longest unused go first", async () => {
  const { dns, count } = counting({ "a.test": ["v=spf1 -all", 60] });
  const memory = new SpfMemory(dns, "mx.our.test", { remembered: 3 });
  for (const local of ["a", "b", "c", "a", "d"]) await memory.check({ ...CLAIM, sender: `${local}@a.test` });
  assert.deepEqual([memory.size, count()], [3, 4]);
  await memory.check({ ...CLAIM, sender: "a@a.test" });
  assert.equal(count(), 4);
  await memory.check({ ...CLAIM, sender: "b@a.test" });
  assert.equal(count(), 5);
});
