import assert from "node:assert/strict";
import { checkDmarc, type DmarcFinding } from "../../src/check/dmarc.ts";
import type { SpfFinding } from "../../src/check/spf.ts";
import type { Dns } from "../../src/dns/records.ts";
import type { Behaviour } from "../../src/sandbox/zone.ts";
import type { Signature } from "../../src/worker/verify.ts";
import { holdsNobodyUp } from "../support/longest_block.ts";
import { txt, withRecords } from "../support/name_servers.ts";

interface Facts {
  readonly from?: string;
  readonly spf?: string;
  readonly dkim?: string;
  /** With these nothing can be said now. */
  readonly spfLater?: string;
  readonly dkimLater?: string;
}

const bytes = (text: string) => new TextEncoder().encode(text);

function check(dns: Dns, { from, spf, dkim, spfLater, dkimLater }: Facts, budget?: number): Promise<DmarcFinding> {
  const spfOf = (domain: string, result: SpfFinding["result"]) => ({ result, domain, identity: "mailfrom" } as const);
  const signature = (domain: string, result: Signature["result"]) => ({
    domain,
    selector: "s",
    result,
    aligned: false,
  });
  return checkDmarc(
    {
      start: bytes(`From: ${from ?? "Ann <ann@a.test>"}\r\nTo: x@y.test\r\n\r\n`),
      spf: spf !== undefined ? spfOf(spf, "pass") : spfLater !== undefined ? spfOf(spfLater, "temperror") : undefined,
      signatures: [
        ...(dkim === undefined ? [] : [signature(dkim, "pass")]),
        ...(dkimLater === undefined ? [] : [signature(dkimLater, "temperror")]),
        signature("a.test", "fail"),
      ],
    },
    dns,
    budget,
  );
}

/** `policy` with the domain it is from: `reject of a.test`. */
type Expected = readonly [result: DmarcFinding["result"], policy?: string];

interface Row {
  readonly what: string;
  /** `_dmarc.` of these names; several records at one name as a list. */
  readonly records: Readonly<Record<string, string | readonly string[]>>;
  /** Names that exist: they have an address. */
  readonly hosts?: readonly string[];
  readonly facts: Facts;
  readonly expected: Expected;
  readonly behaviours?: Readonly<Record<string, Behaviour>>;
}

const REJECT = "v=DMARC1; p=reject", FAILING: Behaviour = { does: "servfail" };
const from = (domain: string) => `x@${domain}`;

const TABLE: readonly Row[] = [
  // Alignment.
  { what: "no record", records: {}, facts: { spf: "a.test" }, expected: ["none"] },
  { what: "nothing passes", records: { "a.test": REJECT }, facts: {}, expected: ["fail", "reject of a.test"] },
  {
    what: "SPF of the same domain",
    records: { "a.test": REJECT },
    facts: { spf: "a.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "a signature of the same domain",
    records: { "a.test": REJECT },
    facts: { dkim: "A.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "SPF and signature of strangers",
    records: { "a.test": REJECT },
    facts: { spf: "b.test", dkim: "c.test" },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "a domain that only ends alike",
    records: { "a.test": REJECT },
    facts: { dkim: "bada.test" },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "a domain below",
    records: { "a.test": REJECT },
    facts: { dkim: "m.a.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "a domain above",
    records: { "a.test": REJECT },
    facts: { from: from("m.a.test"), dkim: "a.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "a domain beside, below the same",
    records: { "a.test": REJECT },
    facts: { from: from("m.a.test"), spf: "n.a.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "adkim=s and a domain below",
    records: { "a.test": `${REJECT}; adkim=s` },
    facts: { dkim: "m.a.test" },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "adkim=s and the same domain",
    records: { "a.test": `${REJECT}; adkim=s` },
    facts: { dkim: "a.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "aspf=s and a domain below",
    records: { "a.test": `${REJECT}; aspf=s` },
    facts: { spf: "m.a.test" },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "aspf=s says nothing about signatures",
    records: { "a.test": `${REJECT}; aspf=s` },
    facts: { dkim: "m.a.test" },
    expected: ["pass", "reject of a.test"],
  },
  // Where organizations begin.
  {
    what: "a public suffix with psd=y",
    records: { "a.test": REJECT, "test": "v=DMARC1; p=none; psd=y" },
    facts: { dkim: "b.test" },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "a record of the suffix for a domain without one",
    records: { "test": `${REJECT}; psd=y` },
    facts: { dkim: "m.a.test" },
    expected: ["pass", "reject of test"],
  },
  {
    what: "a record of the suffix, and strangers below it",
    records: { "test": `${REJECT}; psd=y` },
    facts: { dkim: "b.test" },
    expected: ["fail", "reject of test"],
  },
  {
    what: "psd=n makes a subdomain its own organization",
    records: { "m.a.test": `${REJECT}; psd=n`, "a.test": "v=DMARC1; p=none" },
    facts: { from: from("m.a.test"), dkim: "a.test" },
    expected: ["fail", "reject of m.a.test"],
  },
  {
    what: "psd=u is as if it were not there",
    records: { "m.a.test": `${REJECT}; psd=u`, "a.test": "v=DMARC1; p=none" },
    facts: { from: from("m.a.test"), dkim: "a.test" },
    expected: ["pass", "reject of m.a.test"],
  },
  {
    what: "the author's domain is itself the suffix",
    records: { "test": `${REJECT}; psd=y` },
    facts: { from: from("test"), spf: "test" },
    expected: ["pass", "reject of test"],
  },
  // Which policy.
  {
    what: "sp for what is below",
    records: { "a.test": `${REJECT}; sp=quarantine` },
    facts: { from: from("m.a.test") },
    expected: ["fail", "quarantine of a.test"],
  },
  {
    what: "sp not for the domain itself",
    records: { "a.test": `${REJECT}; sp=none` },
    facts: {},
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "np for what does not exist",
    records: { "a.test": "v=DMARC1; p=none; sp=none; np=reject" },
    facts: { from: from("x.a.test") },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "np not for what exists",
    records: { "a.test": "v=DMARC1; p=none; sp=quarantine; np=reject" },
    hosts: ["m.a.test"],
    facts: { from: from("m.a.test") },
    expected: ["fail", "quarantine of a.test"],
  },
  {
    what: "sp for what does not exist when there is no np",
    records: { "a.test": "v=DMARC1; p=none; sp=reject" },
    facts: { from: from("x.a.test") },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "t=y lowers reject",
    records: { "a.test": `${REJECT}; t=y` },
    facts: {},
    expected: ["fail", "quarantine of a.test"],
  },
  {
    what: "t=y lowers quarantine",
    records: { "a.test": "v=DMARC1; p=quarantine; t=y" },
    facts: {},
    expected: ["fail", "none of a.test"],
  },
  {
    what: "t=n lowers nothing",
    records: { "a.test": `${REJECT}; t=n` },
    facts: {},
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "tags that were removed: pct, rf, ri",
    records: { "a.test": `${REJECT}; pct=0; rf=afrf; ri=1` },
    facts: {},
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "no p but somewhere to report to",
    records: { "a.test": "v=DMARC1; rua=mailto:x@a.test" },
    facts: {},
    expected: ["fail", "none of a.test"],
  },
  {
    what: "no p and nowhere to report to",
    records: { "a.test": "v=DMARC1; sp=reject" },
    facts: {},
    expected: ["none"],
  },
  { what: "a tag twice", records: { "a.test": `${REJECT}; p=none` }, facts: {}, expected: ["none"] },
  {
    what: "words of another case",
    records: { "a.test": "V=DMARC1; p=REJECT; adkim=S" },
    facts: { dkim: "m.a.test" },
    expected: ["fail", "reject of a.test"],
  },
  { what: "a version of another case", records: { "a.test": "v=dmarc1; p=reject" }, facts: {}, expected: ["none"] },
  // Several records; deep names.
  {
    what: "two records count as none",
    records: { "a.test": [REJECT, "v=DMARC1; p=none"] },
    facts: {},
    expected: ["none"],
  },
  {
    what: "two records below send us above",
    records: { "m.a.test": [REJECT, REJECT], "a.test": "v=DMARC1; p=quarantine" },
    facts: { from: from("m.a.test") },
    expected: ["fail", "quarantine of a.test"],
  },
  {
    what: "what is no policy stands beside",
    records: { "a.test": [REJECT, "v=spf1 -all", "x".repeat(5000)] },
    facts: {},
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "more than eight labels",
    records: { "a.test": REJECT },
    facts: { from: from("1.2.3.4.5.6.7.8.9.a.test"), dkim: "a.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "a record that the walk jumps over",
    records: { "9.8.7.6.5.4.3.2.a.test": REJECT },
    facts: { from: from("x.9.8.7.6.5.4.3.2.a.test") },
    expected: ["none"],
  },
  { what: "an address literal", records: {}, facts: { from: "x@[192.0.2.1]", spf: "a.test" }, expected: ["none"] },
  // Trouble.
  ...["m.n.a.test", "n.a.test", "a.test", "test"].map((level): Row => ({
    what: `SERVFAIL at ${level}`,
    records: { "a.test": REJECT },
    facts: { from: from("m.n.a.test"), dkim: "a.test" },
    expected: ["temperror"],
    behaviours: { [`_dmarc.${level}`]: FAILING },
  })),
  {
    what: "SERVFAIL above, and the very same domain passes",
    records: { "a.test": REJECT },
    facts: { dkim: "a.test" },
    expected: ["pass", "reject of a.test"],
    behaviours: { "_dmarc.test": FAILING },
  },
  {
    what: "SERVFAIL above, and a domain below passes",
    records: { "a.test": REJECT },
    facts: { dkim: "m.a.test" },
    expected: ["temperror", "reject of a.test"],
    behaviours: { "_dmarc.test": FAILING },
  },
  {
    what: "SERVFAIL above, and nothing passes",
    records: { "a.test": REJECT },
    facts: {},
    expected: ["fail", "reject of a.test"],
    behaviours: { "_dmarc.test": FAILING },
  },
  {
    what: "silence instead of a record",
    records: {},
    facts: { dkim: "a.test" },
    expected: ["temperror"],
    behaviours: { "_dmarc.a.test": { does: "silent" } },
  },
  {
    what: "np, and nobody can say whether the name exists",
    records: { "a.test": "v=DMARC1; p=none; np=reject" },
    facts: { from: from("x.a.test") },
    expected: ["temperror", "none of a.test"],
    behaviours: { "x.a.test": FAILING },
  },
  {
    what: "an aligned signature that could not be verified now",
    records: { "a.test": REJECT },
    facts: { dkimLater: "m.a.test" },
    expected: ["temperror", "reject of a.test"],
  },
  {
    what: "a stranger's signature that could not be verified now",
    records: { "a.test": REJECT },
    facts: { dkimLater: "b.test" },
    expected: ["fail", "reject of a.test"],
  },
  {
    what: "aligned SPF that could not be looked up now",
    records: { "a.test": REJECT },
    facts: { spfLater: "a.test" },
    expected: ["temperror", "reject of a.test"],
  },
  {
    what: "one passes and the other could not be looked up",
    records: { "a.test": REJECT },
    facts: { dkim: "a.test", spfLater: "a.test" },
    expected: ["pass", "reject of a.test"],
  },
  {
    what: "a record of 5,000 signs",
    records: { "a.test": `${REJECT}; n=${"x".repeat(5000)}` },
    facts: { dkim: "a.test" },
    expected: ["permerror"],
  },
  {
    what: "a record of 60,000 signs above",
    records: { "a.test": `${REJECT}; n=${"x".repeat(60_000)}` },
    facts: { from: from("m.a.test"), dkim: "a.test" },
    expected: ["permerror"],
  },
];

Deno.test("DMARC walks the tree as RFC 9989 says", async () => {
  for (const { what, records, hosts = [], facts, expected, behaviours } of TABLE) {
    const lines = Object.entries(records).flatMap(([name, texts]) =>
      [texts].flat().map((text) => txt(`_dmarc.${name}`, text))
    );
    const addresses = hosts.map((name) => ({ name, ttl: 60, type: "A", data: "192.0.2.1" } as const));
    await withRecords([...lines, ...addresses], async (dns, asked) => {
      const found = await check(dns, facts);
      const policy = found.policy === undefined ? [] : [`${found.policy} of ${found.policyDomain}`];
      assert.deepEqual([found.result, ...policy], expected, `${what}: ${JSON.stringify(found)}`);
      assert.equal(found.result === "pass", found.aligned.spf || found.aligned.dkim, what);
      // RFC 9989 §4.10: eight for each domain, of which there are two here at the most.
      const walked = new Set(asked.filter(({ name }) => name.startsWith("_dmarc.")).map(({ name }) => name));
      assert.ok(walked.size <= 8, `${what}: ${[...walked]}`);
    }, behaviours);
  }
});

Deno.test("a finding tells organization, policy and what is aligned", () =>
  withRecords([txt("_dmarc.a.test", `${REJECT}; sp=quarantine; t=y`)], async (dns) => {
    assert.deepEqual(await check(dns, { from: from("m.a.test"), dkim: "n.a.test", spf: "b.test" }), {
      result: "pass",
      from: "m.a.test",
      policy: "none",
      policyDomain: "a.test",
      organization: "a.test",
      aligned: { spf: false, dkim: true },
      alignedDomains: ["n.a.test"],
    });
  }));

Deno.test("where not exactly one author is named, nothing is asked and nothing passes", () =>
  withRecords([txt("_dmarc.a.test", "v=DMARC1; p=none")], async (dns, asked) => {
    const spf = { result: "pass", domain: "a.test", identity: "mailfrom" } as const;
    const passed = { domain: "a.test", selector: "s", result: "pass", aligned: true } as const;
    const headers: Readonly<Record<string, string>> = {
      "there is no From": "To: x@a.test\r\n",
      "there is more than one From": "From: x@a.test\r\nFROM: x@a.test\r\n",
      "From holds more than one address": "From: x@a.test, y@b.test\r\n",
      "From cannot be read": "From: x@a.test y@b.test\r\n",
      "From holds no address": "From: nobody:;\r\n",
      "From is longer than 8192 octets": `From: ${"a,".repeat(80_000)}\r\n`,
      "the header holds a line that is no field": "From: x@a.test\r\nnothing\r\nFrom: y@b.test\r\n",
      "the header is bare line end": "From: x@a.test\nFrom: y@b.test\r\n",
      "the header is folded too often": `From: x@a.test\r\n${" a\r\n".repeat(40_000)}`,
      "the header is too many fields": `From: x@a.test\r\n${"X: a\r\n".repeat(1000)}`,
      "the header is too large": `From: x@a.test\r\nX: ${"(".repeat(1e6)}\r\n`,
    };
    for (const [reason, header] of Object.entries(headers)) {
      const start = bytes(`${header}\r\nHello.\r\n`);
      const done = await holdsNobodyUp(reason, () => checkDmarc({ start, spf, signatures: [passed] }, dns));
      const aligned = { spf: false, dkim: false };
      assert.deepEqual(done, { result: "permerror", from: "", aligned, alignedDomains: [], reason }, reason);
    }
    assert.equal(asked.length, 0);
  }));

Deno.test("when the time for its look-ups is over, DMARC is a temporary error", () =>
  withRecords([], async (dns) => {
    const began = performance.now();
    assert.equal((await check(dns, { dkim: "a.test" }, 30)).result, "temperror");
    assert.ok(performance.now() - began < 400, "it did not wait for the resolver");
  }, { "_dmarc.a.test": { does: "silent" } }));
