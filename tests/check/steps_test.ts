import assert from "node:assert/strict";
import { findingSteps } from "../../src/check/steps.ts";
import type { VerdictSettings } from "../../src/check/verdict.ts";
import { dmarc, findings, signature, spf } from "./findings_of.ts";

const SETTINGS: VerdictSettings = { spf: "note", dkim: "note", dmarc: "note", helo: "note" };

Deno.test("every finding is a step with its values and the setting that it hangs on, in the order of the mail", () => {
  const steps = findingSteps(
    findings({
      helo: { result: "mismatch", name: "x.test", found: "it is 192.0.2.1" },
      spf: spf("softfail", "helo"),
      signatures: [signature("pass"), { ...signature("fail", false), reason: "wrong body hash" }],
      dmarc: dmarc("fail", { policy: "quarantine", policyDomain: "org.test", reason: "nothing aligned" }),
      listings: [{ zone: "bl.test", weight: 4, result: "listed", found: "127.0.0.2" }],
      score: { result: "scored", score: 3.5, symbols: [{ name: "GTUBE", score: 3 }, { name: "URI" }], took: 5 },
    }),
    SETTINGS,
  );
  assert.deepEqual(steps.map(({ check, found, setting }) => `${setting} | ${check} | ${found}`), [
    "checks.helo | helo | mismatch: x.test: it is 192.0.2.1",
    "checks.spf | spf | softfail for remote.test (helo)",
    "checks.dkim | dkim | pass: one._domainkey.remote.test, of the author's domain: because",
    "checks.dkim | dkim | fail: one._domainkey.list.test: wrong body hash",
    "checks.dmarc | dmarc | fail for remote.test, org.test asks for p=quarantine: nothing aligned",
    "checks.dnsbl | dnsbl | bl.test: listed: 127.0.0.2; weight 4",
    "checks.spam | scorer | 3.5: GTUBE 3, URI",
  ]);
});

Deno.test("what was not looked at is no step, and what is missing is one", () => {
  assert.deepEqual(findingSteps(findings(), SETTINGS), []);
  const helo = { result: "match", name: "x.test", found: "its address" } as const;
  assert.deepEqual(findingSteps(findings({ helo }), { ...SETTINGS, helo: "off" }), []);
  const texts = findingSteps(
    findings({
      signatures: [],
      dmarc: dmarc("pass", { aligned: { spf: true, dkim: true } }),
      score: { result: "no answer", reason: "connection refused" },
    }),
    SETTINGS,
  ).map(({ found }) => found);
  assert.deepEqual(texts, ["not signed", "pass for remote.test by SPF and DKIM", "no answer: connection refused"]);
});
