import assert from "node:assert/strict";
import {
  authenticationResults,
  foreignResults,
  receivedSpf,
  type Results,
} from "../../src/check/authentication_results.ts";
import { readHeader, valueOf } from "../../src/smtp/headers.ts";
import { holdsNobodyUp } from "../support/longest_block.ts";

const BY = "mx.our.test";
const SPF = { result: "pass", domain: "remote.test", identity: "mailfrom" } as const;
const SIGNATURE = {
  domain: "remote.test",
  selector: "one",
  algorithm: "rsa-sha256",
  result: "pass",
  aligned: true,
} as const;
const DMARC = {
  ...{ result: "fail", from: "bank.test", policy: "reject", policyDomain: "bank.test" } as const,
  ...{ aligned: { spf: false, dkim: false }, alignedDomains: [] },
};
/** What a peer may say to break out of its place. */
const EVIL = 'x"; dkim=pass\r\nX-Evil: 1\r\n\r\n(\u{1f480}\0\\';

Deno.test("what was found stands in one field, each result on its own line", () => {
  const all: Results = {
    by: BY,
    helo: { result: "fail", name: "client.test" },
    spf: SPF,
    signatures: [SIGNATURE, { ...SIGNATURE, selector: "two", result: "fail", reason: "bad signature" }],
    dmarc: DMARC,
  };
  assert.equal(
    authenticationResults(all),
    "Authentication-Results: mx.our.test;\r\n" +
      "\tx-helo=fail smtp.helo=client.test;\r\n" +
      "\tspf=pass smtp.mailfrom=remote.test;\r\n" +
      "\tdkim=pass header.d=remote.test header.s=one header.a=rsa-sha256;\r\n" +
      '\tdkim=fail reason="bad signature" header.d=remote.test header.s=two\r\n' +
      "\theader.a=rsa-sha256;\r\n" +
      "\tdmarc=fail header.from=bank.test policy.dmarc=reject\r\n",
  );
  assert.equal(authenticationResults({ by: BY }), "Authentication-Results: mx.our.test; none\r\n");
  assert.equal(
    authenticationResults({ by: BY, signatures: [] }),
    "Authentication-Results: mx.our.test;\r\n\tdkim=none\r\n",
  );
});

Deno.test("Received-SPF tells who was asked about whom", () => {
  const claim = { host: "2001:db8::1", hello: "client.test", sender: "carol@remote.test" };
  assert.equal(
    receivedSpf(SPF, claim, BY),
    "Received-SPF: pass (mx.our.test: host is a permitted sender of remote.test)\r\n" +
      '\tclient-ip="2001:db8::1"; envelope-from="carol@remote.test";\r\n' +
      "\thelo=client.test; receiver=mx.our.test; identity=mailfrom;\r\n",
  );
  const bounce = receivedSpf({ result: "none", domain: "client.test", identity: "helo" }, { ...claim, sender: "" }, BY);
  assert.match(bounce, /^Received-SPF: none /);
  assert.doesNotMatch(bounce, /envelope-from/);
});

Deno.test("nothing that a peer says breaks out of its place", () => {
  const fields = [
    authenticationResults({
      by: BY,
      helo: { result: EVIL, name: EVIL },
      spf: { ...SPF, domain: EVIL },
      signatures: [{
        ...SIGNATURE,
        result: "fail",
        domain: EVIL,
        selector: EVIL.repeat(100),
        algorithm: EVIL,
        reason: EVIL,
      }],
      dmarc: { ...DMARC, from: EVIL, reason: EVIL },
    }),
    receivedSpf({ ...SPF, domain: EVIL }, { host: EVIL, hello: EVIL, sender: EVIL.repeat(100) }, BY),
  ];
  for (const text of fields) {
    const bytes = new TextEncoder().encode(`${text}\r\n`);
    const header = readHeader(bytes, { maxHeader: 10_000, maxFields: 10, maxFolds: 100 });
    assert.ok(typeof header === "object" && header.closed && header.fields.length === 1, text);
    assert.ok(text.split("\r\n").every((line) => /^[\t -~]*$/.test(line) && line.length <= 998), text);
    // Outside of quoted strings and comments nothing of it is left.
    const bare = text.replace(/"(?:[^"\\]|\\.)*"/g, "").replace(/\([^()]*\)/g, "");
    assert.doesNotMatch(bare, /dkim=pass|X-Evil|["\\()]/, bare);
  }
});

const OURS = [
  "mx.our.test; spf=pass",
  "MX.Our.TEST; spf=pass",
  "mx.our.test.; spf=pass",
  "mx.our.test 1; spf=pass",
  "mx.our.test/1; spf=pass",
  "mx.our.test",
  '"mx.our.test"; spf=pass',
  '"mx.o\\ur.test" 1; none',
  "(a (nested \\) one)) (and another) mx.our.test (c); spf=pass",
  "\r\n\tmx.our.test;\r\n\tspf=pass",
  "(folded\r\n comment)\r\n mx.our.test ; none",
  "mx.our.test(c); none",
  "mx\uff0eour\uff0etest; none",
  // Nobody can say whose these are.
  "",
  "; spf=pass",
  "(never closed mx.our.test; spf=pass",
  '"mx.our.test; spf=pass',
];
const OTHERS = [
  "mx.other.test; spf=pass",
  "our.test; spf=pass",
  "sub.mx.our.test; spf=pass",
  "mx.our.test.example; spf=pass",
  "(mx.our.test) mx.other.test; spf=pass",
  'mx.other.test; spf=pass reason="mx.our.test"',
  "xmx.our.test; none",
];

Deno.test("results that bear our name are found in every notation, those of others stay", () => {
  for (const [values, expected] of [[OURS, 1], [OTHERS, 0]] as const) {
    for (const value of values) {
      for (const name of ["Authentication-Results", "AUTHENTICATION-results "]) {
        const start = new TextEncoder().encode(
          `From: a@b.test\r\n${name}: ${value}\r\nX: mx.our.test; spf=pass\r\n\r\n`,
        );
        const header = readHeader(start, { maxHeader: 10_000, maxFields: 10, maxFolds: 100 });
        assert.ok(typeof header === "object" && header.fields.length === 3, value);
        const found = foreignResults(start, header, "mx.our.test");
        assert.deepEqual(found.map(({ name }) => name), Array(expected).fill("authentication-results"), value);
      }
    }
  }
});

Deno.test("what we write ourselves is found again", () => {
  for (const by of ["mx.our.test", "mail.xn--mnchen-3ya.test"]) {
    const start = new TextEncoder().encode(`${authenticationResults({ by, spf: SPF })}\r\n`);
    const header = readHeader(start, { maxHeader: 10_000, maxFields: 10, maxFolds: 100 });
    assert.ok(typeof header === "object");
    assert.equal(foreignResults(start, header, by).map((field) => valueOf(start, field)).length, 1);
  }
});

Deno.test("no field of results holds up the others", async () => {
  const values = [
    "(".repeat(250_000),
    '"'.repeat(250_000),
    "a".repeat(250_000),
    "(a)".repeat(80_000),
    "\\".repeat(250_000),
  ];
  for (const value of values) {
    const start = new TextEncoder().encode(`Authentication-Results: ${value}\r\n\r\n`);
    const header = readHeader(start, { maxHeader: 300_000, maxFields: 10, maxFolds: 100 });
    assert.ok(typeof header === "object");
    await holdsNobodyUp(value.slice(0, 5), () => Promise.resolve(foreignResults(start, header, "mx.our.test")));
  }
});
