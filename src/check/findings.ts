/** All that was found about one message and the host that brought it. Absent: it was not looked at. */

import type { Signature } from "../worker/verify.ts";
import type { DmarcFinding } from "./dmarc.ts";
import type { Listing } from "./dnsbl.ts";
import type { HeloFinding } from "./helo.ts";
import type { Score } from "./score.ts";
import type { SpfFinding } from "./spf.ts";

export interface Findings {
  readonly helo?: HeloFinding | undefined;
  readonly spf?: SpfFinding | undefined;
  readonly signatures?: readonly Signature[] | undefined;
  readonly dmarc?: DmarcFinding | undefined;
  readonly listings: readonly Listing[];
  /** What the scorer said; absent with the built-in one. */
  readonly score?: Score | undefined;
  /** The wider neighbourhood of the host is bad: its numbers. */
  readonly neighbours?: string | undefined;
}

/** Mail that others have forwarded fails SPF, and is genuine all the same when its author's signature holds. */
export function survives({ signatures = [], dmarc }: Findings): "yes" | "no" | "cannot tell" {
  const aligned = signatures.filter(({ domain, aligned }) => aligned || dmarc?.alignedDomains.includes(domain));
  if (dmarc?.aligned.dkim || aligned.some(({ result }) => result === "pass")) return "yes";
  return aligned.some(({ result }) => result === "temperror") ? "cannot tell" : "no";
}

/** There is a signature that is wrong, and none that is right. */
export function signatureFails({ signatures = [] }: Findings): Signature | undefined {
  if (signatures.some(({ result }) => result === "pass")) return undefined;
  return signatures.find(({ result }) => result === "fail");
}

/** Security rule 16: what failed SPF may have been written by anybody, unless the sender's own domain has signed it. */
export function isBelieved({ spf, signatures = [] }: Findings): boolean {
  return spf?.result !== "fail" ||
    signatures.some(({ result, domain }) => result === "pass" && covers(domain, spf.domain));
}

/** Somebody who may write as an address of this domain has written it. */
export function isAuthentic({ spf, signatures = [], dmarc }: Findings, author: string): boolean {
  if (dmarc?.aligned.spf || dmarc?.aligned.dkim) return true;
  return spf?.result === "pass" && covers(spf.domain, author) ||
    signatures.some(({ result, domain, aligned }) => result === "pass" && (aligned || covers(domain, author)));
}

/**
 * Forwarded, it comes from us, and SPF says nothing for its author any more: only the author's signature does. Where
 * there is none and the author's domain asks for it, such mail is refused or taken for spam.
 */
export function diesForwarded(dmarc: DmarcFinding | undefined): boolean {
  const { result, policy, aligned } = dmarc ?? {};
  if (result !== "pass" && result !== "fail") return false;
  return (policy === "reject" || policy === "quarantine") && !aligned?.dkim;
}

/** A domain speaks for itself and for what is below it; what is below may be somebody else's. */
function covers(domain: string, other: string): boolean {
  return other === domain || other.endsWith(`.${domain}`);
}
