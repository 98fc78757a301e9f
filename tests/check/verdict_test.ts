import assert from "node:assert/strict";
import type { Findings } from "../../src/check/findings.ts";
import type { SpfResult } from "../../src/check/spf.ts";
import {
  judgeMessage,
  judgeSender,
  spamRefused,
  type VerdictSettings,
  wantsSignatures,
} from "../../src/check/verdict.ts";
import { formatReply, type Reply } from "../../src/smtp/reply.ts";
import { dmarc, findings, signature, spf } from "./findings_of.ts";

const OFF: VerdictSettings = { spf: "off", dkim: "off", dmarc: "off", helo: "off" };
const DEFAULTS: VerdictSettings = { spf: "reject-unsigned", dkim: "note", dmarc: "obey", helo: "note" };
const RESULTS: readonly SpfResult[] = ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"];

/** Code, status and setting. */
function told(reply: Reply | undefined): string {
  return reply === undefined ? "go on" : `${reply.code} ${reply.enhanced} ${reply.because?.setting}`;
}

function judge(found: Partial<Findings>, settings: Partial<VerdictSettings> = {}): string {
  return told(judgeMessage({ ...OFF, ...settings }, findings(found)));
}

Deno.test("at MAIL SPF decides as its setting says, and temporary trouble is never permanent", () => {
  const refused = "550 5.7.23 checks.spf";
  for (const result of RESULTS) {
    for (const setting of ["off", "note", "reject-unsigned"] as const) {
      assert.equal(told(judgeSender(setting, spf(result))), "go on");
    }
    assert.equal(told(judgeSender("reject-fail", spf(result))), result === "fail" ? refused : "go on");
    const required = result === "pass" ? "go on" : result === "temperror" ? "451 4.4.3 checks.spf" : refused;
    assert.equal(told(judgeSender("require-pass", spf(result))), required);
  }
});

Deno.test("a failing SPF is refused unless a signature of the author's domain holds", () => {
  const settings = { spf: "reject-unsigned" } as const, fails = spf("fail");
  assert.equal(judge({ spf: fails }, settings), "550 5.7.23 checks.spf");
  assert.equal(judge({ spf: fails, signatures: [] }, settings), "550 5.7.23 checks.spf");
  assert.equal(judge({ spf: fails, signatures: [signature("pass")] }, settings), "go on");
  assert.equal(judge({ spf: fails, signatures: [signature("pass", false)] }, settings), "550 5.7.23 checks.spf");
  assert.equal(judge({ spf: fails, signatures: [signature("fail")] }, settings), "550 5.7.23 checks.spf");
  assert.equal(judge({ spf: fails, signatures: [signature("temperror")] }, settings), "451 4.4.3 checks.spf");
  assert.equal(judge({ spf: fails, signatures: [signature("temperror"), signature("pass")] }, settings), "go on");
  assert.equal(
    judge({
      spf: fails,
      signatures: [signature("pass", false)],
      dmarc: dmarc("none", { alignedDomains: ["list.test"] }),
    }, settings),
    "go on",
    "aligned as the tree walk found it",
  );
  for (const result of RESULTS) if (result !== "fail") assert.equal(judge({ spf: spf(result) }, settings), "go on");
  assert.equal(judge({ spf: fails }, { spf: "note" }), "go on");
});

Deno.test("a wrong signature is refused only when that is wanted and no other one holds", () => {
  assert.equal(judge({ signatures: [signature("fail")] }, { dkim: "reject-fail" }), "550 5.7.20 checks.dkim");
  for (const result of ["temperror", "permerror", "neutral", "policy", "pass"] as const) {
    assert.equal(judge({ signatures: [signature(result)] }, { dkim: "reject-fail" }), "go on", result);
  }
  assert.equal(judge({ signatures: [signature("fail"), signature("pass", false)] }, { dkim: "reject-fail" }), "go on");
  assert.equal(judge({ signatures: [] }, { dkim: "reject-fail" }), "go on");
  assert.equal(judge({ signatures: [signature("fail")] }, { dkim: "note" }), "go on");
});

Deno.test("DMARC is obeyed for p=reject alone; what cannot be checked now has to wait; and a message without an author is refused", () => {
  for (const policy of ["none", "quarantine", "reject"] as const) {
    for (const result of ["pass", "fail", "temperror", "permerror", "none"] as const) {
      const said = { fail: "550 5.7.1 checks.dmarc", temperror: "451 4.4.3 checks.dmarc" } as Record<string, string>;
      const expected = policy === "reject" ? said[result] ?? "go on" : "go on";
      assert.equal(judge({ dmarc: dmarc(result, { policy }) }, { dmarc: "obey" }), expected);
      assert.equal(judge({ dmarc: dmarc(result, { policy }) }, { dmarc: "note" }), "go on");
    }
  }
  assert.equal(judge({ dmarc: dmarc("permerror", { from: "" }) }, { dmarc: "obey" }), "550 5.6.0 checks.dmarc");
  assert.equal(judge({ dmarc: dmarc("permerror", { from: "" }) }, { dmarc: "note" }), "go on");
});

Deno.test("the same findings always get the same answer, and every permanent one has a cause", () => {
  const signatures = [undefined, [], [signature("pass")], [signature("fail")], [signature("temperror")]];
  const dmarcs = [undefined, dmarc("fail", { policy: "reject" }), dmarc("pass"), dmarc("temperror")];
  for (const result of RESULTS) {
    for (const signed of signatures) {
      for (const policy of dmarcs) {
        const found = findings({ spf: spf(result), signatures: signed, dmarc: policy });
        const said = judgeMessage(DEFAULTS, found);
        assert.deepEqual(judgeMessage(DEFAULTS, found), said);
        if (said === undefined) continue;
        assert.ok(said.because?.setting !== undefined && said.because.found !== "");
        if (result === "temperror" && policy?.result !== "fail") assert.fail(formatReply(said));
      }
    }
  }
});

Deno.test("signatures are verified when anything may follow from them", () => {
  assert.equal(wantsSignatures(OFF, spf("fail"), false), false);
  assert.equal(wantsSignatures(OFF, undefined, true), true);
  assert.equal(wantsSignatures({ ...OFF, dkim: "note" }, undefined, false), true);
  assert.equal(wantsSignatures({ ...OFF, dmarc: "note" }, undefined, false), true);
  assert.equal(wantsSignatures({ ...OFF, spf: "reject-unsigned" }, spf("fail"), false), true);
  assert.equal(wantsSignatures({ ...OFF, spf: "reject-unsigned" }, spf("pass"), false), false);
});

Deno.test("spam is told its score and the limit", () => {
  const said = spamRefused(21, "21 = spf_softfail 20 + helo_none 1", 5);
  assert.equal(formatReply(said), "550 5.7.1 This looks like spam to us: score 21, limit 5\r\n");
  assert.equal(said.because?.found, "21 = spf_softfail 20 + helo_none 1; the limit is 5");
});
