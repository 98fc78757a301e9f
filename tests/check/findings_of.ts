/** Findings as a test wants them: what it does not name was not looked at. */

import type { DmarcFinding } from "../../src/check/dmarc.ts";
import type { Findings } from "../../src/check/findings.ts";
import type { SpfFinding, SpfResult } from "../../src/check/spf.ts";
import type { Signature, SignatureResult } from "../../src/worker/verify.ts";

export function findings(parts: Partial<Findings> = {}): Findings {
  return { listings: [], ...parts };
}

export function spf(result: SpfResult, identity: SpfFinding["identity"] = "mailfrom"): SpfFinding {
  return { result, domain: "remote.test", identity };
}

export function signature(result: SignatureResult, aligned = true): Signature {
  return { domain: aligned ? "remote.test" : "list.test", selector: "one", result, aligned, reason: "because" };
}

export function dmarc(result: DmarcFinding["result"], parts: Partial<DmarcFinding> = {}): DmarcFinding {
  return { result, from: "remote.test", aligned: { spf: false, dkim: false }, alignedDomains: [], ...parts };
}
