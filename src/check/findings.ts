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
