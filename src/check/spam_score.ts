/** How much speaks against a message, as one number: the weights of what was found, and what a scorer adds. Pure. */

import { type Findings, signatureFails } from "./findings.ts";

/** `[checks.weights]`. */
export interface Weights {
  readonly spf_fail: number;
  readonly spf_softfail: number;
  readonly helo_mismatch: number;
  readonly helo_none: number;
  readonly dkim_fail: number;
  readonly dmarc_fail: number;
  readonly dmarc_quarantine: number;
  readonly neighbours: number;
}

/** `builtin`: all weights. `scorer`: only of what no scorer can know or is asked to decide. `off`: no score. */
export type Scoring = "builtin" | "scorer" | "off";

export interface Part {
  readonly name: string;
  readonly weight: number;
}

/** `obeys`: what the author's domain asks for counts. */
export function scoreParts(
  findings: Findings,
  weights: Weights,
  scoring: Scoring,
  obeys: boolean,
): readonly Part[] {
  if (scoring === "off") return [];
  const { helo, spf, dmarc, listings, score, neighbours } = findings;
  const parts: Part[] = [], quarantined = obeys && dmarc?.result === "fail" && dmarc.policy === "quarantine";
  const add = (name: keyof Weights, when: boolean | undefined) => {
    if (when) parts.push({ name, weight: weights[name] });
  };
  if (scoring === "builtin") {
    add("spf_fail", spf?.result === "fail");
    add("spf_softfail", spf?.result === "softfail");
    add("helo_mismatch", helo?.result === "mismatch");
    add("helo_none", helo?.result === "none");
    add("dkim_fail", signatureFails(findings) !== undefined);
    add("dmarc_fail", dmarc?.result === "fail" && !quarantined);
  }
  add("dmarc_quarantine", quarantined);
  add("neighbours", neighbours !== undefined);
  for (const { zone, weight, result } of listings) if (result === "listed") parts.push({ name: zone, weight });
  if (score?.result === "scored") parts.push({ name: "scorer", weight: score.score });
  return parts.filter(({ weight }) => weight !== 0);
}

/** Tenths of hundredths of weights add up to what they look like. */
export function sumOf(parts: readonly Part[]): number {
  return Math.round(parts.reduce((sum, { weight }) => sum + weight, 0) * 100) / 100;
}

/** `7 = spf_softfail 2 + neighbours 3 + dnsbl.test 2`. */
export function formatParts(parts: readonly Part[]): string {
  if (parts.length === 0) return "0";
  return `${sumOf(parts)} = ${parts.map(({ name, weight }) => `${name} ${weight}`).join(" + ")}`;
}
