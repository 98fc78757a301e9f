import assert from "node:assert/strict";
import type { Findings } from "../../src/check/findings.ts";
import { formatParts, scoreParts, sumOf, type Weights } from "../../src/check/spam_score.ts";
import { dmarc, findings, signature, spf } from "./findings_of.ts";

const WEIGHTS: Weights = {
  spf_fail: 5,
  spf_softfail: 2,
  helo_mismatch: 3,
  helo_none: 1,
  dkim_fail: 1.5,
  dmarc_fail: 2.5,
  dmarc_quarantine: 6,
  neighbours: 4,
};
const HELO = { name: "x.test", found: "y" };
const LISTED = { zone: "bl.test", weight: 7, result: "listed", found: "127.0.0.2" } as const;

function parts(found: Partial<Findings>, scoring: "builtin" | "scorer" | "off" = "builtin"): string {
  return scoreParts(findings(found), WEIGHTS, scoring, true).map(({ name, weight }) => `${name} ${weight}`).join(", ");
}

Deno.test("each finding adds its weight, and those that say nothing add none", () => {
  assert.equal(parts({}), "");
  assert.equal(parts({ spf: spf("fail") }), "spf_fail 5");
  assert.equal(parts({ spf: spf("softfail") }), "spf_softfail 2");
  for (const result of ["pass", "neutral", "none", "temperror", "permerror"] as const) {
    assert.equal(parts({ spf: spf(result) }), "");
  }
  assert.equal(parts({ helo: { ...HELO, result: "mismatch" } }), "helo_mismatch 3");
  assert.equal(parts({ helo: { ...HELO, result: "none" } }), "helo_none 1");
  for (const result of ["match", "temperror"] as const) assert.equal(parts({ helo: { ...HELO, result } }), "");
  assert.equal(parts({ signatures: [signature("fail")] }), "dkim_fail 1.5");
  assert.equal(parts({ signatures: [signature("fail"), signature("pass", false)] }), "");
  assert.equal(parts({ signatures: [signature("temperror")] }), "");
  assert.equal(parts({ dmarc: dmarc("fail", { policy: "none" }) }), "dmarc_fail 2.5");
  assert.equal(parts({ dmarc: dmarc("fail", { policy: "quarantine" }) }), "dmarc_quarantine 6");
  assert.equal(parts({ dmarc: dmarc("temperror", { policy: "quarantine" }) }), "");
  assert.equal(parts({ neighbours: "3 banned of 3" }), "neighbours 4");
  assert.equal(
    parts({ listings: [LISTED, { ...LISTED, result: "clean" }, { ...LISTED, result: "temperror" }] }),
    "bl.test 7",
  );
});

Deno.test("a scorer's score comes on top of what it cannot know, and off is no score at all", () => {
  const found: Partial<Findings> = {
    spf: spf("fail"),
    helo: { ...HELO, result: "mismatch" },
    signatures: [signature("fail")],
    dmarc: dmarc("fail", { policy: "quarantine" }),
    neighbours: "bad",
    listings: [LISTED],
    score: { result: "scored", score: 3.25, symbols: [], took: 5 },
  };
  assert.equal(parts(found, "scorer"), "dmarc_quarantine 6, neighbours 4, bl.test 7, scorer 3.25");
  assert.equal(parts({ score: { result: "no answer", reason: "gone" } }, "scorer"), "");
  assert.equal(parts(found, "off"), "");
});

Deno.test("a sum looks like what its parts look like", () => {
  const tenths = [0.1, 0.2, 2.3].map((weight) => ({ name: "x", weight }));
  assert.equal(sumOf(tenths), 2.6);
  assert.equal(formatParts(tenths), "2.6 = x 0.1 + x 0.2 + x 2.3");
  assert.equal(formatParts([]), "0");
  assert.equal(sumOf([{ name: "good", weight: -5 }, { name: "bad", weight: 2 }]), -3);
  assert.equal(scoreParts(findings({ spf: spf("fail") }), { ...WEIGHTS, spf_fail: 0 }, "builtin", true).length, 0);
});
