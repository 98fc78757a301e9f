/** Findings as lines of a story, each with the setting that says what follows from it. */

import type { Step } from "../store/stories.ts";
import type { Findings } from "./findings.ts";
import { spfText, type VerdictSettings } from "./verdict.ts";

export function findingSteps(findings: Findings, settings: VerdictSettings): readonly Step[] {
  const { helo, spf, signatures, dmarc, listings, score } = findings;
  const steps: Step[] = [];
  if (helo && settings.helo !== "off") {
    steps.push({ check: "helo", found: `${helo.result}: ${helo.name}: ${helo.found}`, setting: "checks.helo" });
  }
  if (spf) steps.push({ check: "spf", found: spfText(spf), setting: "checks.spf" });
  if (signatures?.length === 0) steps.push({ check: "dkim", found: "not signed", setting: "checks.dkim" });
  for (const { domain, selector, result, reason, aligned } of signatures ?? []) {
    const whose = `${result}: ${selector}._domainkey.${domain}${aligned ? ", of the author's domain" : ""}`;
    steps.push({ check: "dkim", found: reason === undefined ? whose : `${whose}: ${reason}`, setting: "checks.dkim" });
  }
  if (dmarc) steps.push({ check: "dmarc", found: dmarcText(dmarc), setting: "checks.dmarc" });
  for (const { zone, result, found, weight } of listings) {
    steps.push({ check: "dnsbl", found: `${zone}: ${result}: ${found}; weight ${weight}`, setting: "checks.dnsbl" });
  }
  if (score?.result === "scored") {
    const symbols = score.symbols.slice(0, 10).map(({ name, score }) =>
      score === undefined ? name : `${name} ${score}`
    );
    steps.push({
      check: "scorer",
      found: `${score.score}: ${symbols.join(", ") || "nothing"}`,
      setting: "checks.spam",
    });
  } else if (score) steps.push({ check: "scorer", found: `no answer: ${score.reason}`, setting: "checks.spam" });
  return steps;
}

function dmarcText({ result, from, policy, policyDomain, aligned, reason }: NonNullable<Findings["dmarc"]>): string {
  const asks = policy === undefined ? "" : `, ${policyDomain ?? from} asks for p=${policy}`;
  const by = [aligned.spf ? "SPF" : "", aligned.dkim ? "DKIM" : ""].filter((one) => one !== "").join(" and ");
  return `${result}${from === "" ? "" : ` for ${from}`}${by === "" ? "" : ` by ${by}`}${asks}${
    reason === undefined ? "" : `: ${reason}`
  }`;
}
