/** Why an SPF record cannot be used, in words. The verdict is that of the evaluator; this only says where to look. */

import type { Dns } from "../dns/records.ts";
import { parseNetwork } from "../smtp/network.ts";
import { recordsIn } from "./finding.ts";

/** RFC 7208 §4.6.4. */
const MAX_LOOK_UPS = 10;

export interface SpfTrouble {
  readonly fault: "spf-syntax" | "spf-look-ups" | "spf-void";
  readonly found: string;
}

/** `record`: of `domain`, which an evaluator has found to be a permanent error. */
export async function troubleOf(domain: string, record: string, dns: Dns): Promise<SpfTrouble> {
  const walked = { lookUps: 0, trouble: undefined };
  await walk(domain, record, walked, dns);
  if (walked.trouble !== undefined) return { fault: "spf-syntax", found: walked.trouble };
  if (walked.lookUps > MAX_LOOK_UPS) {
    const least = walked.lookUps > 2 * MAX_LOOK_UPS ? "more than 20" : String(walked.lookUps);
    return {
      fault: "spf-look-ups",
      found: `needs ${least} look-ups, and ${MAX_LOOK_UPS} are allowed (RFC 7208 §4.6.4)`,
    };
  }
  return {
    fault: "spf-void",
    found: "cannot be evaluated: it seems to name more than two hosts that do not exist (RFC 7208 §4.6.4)",
  };
}

/** The SPF records among the TXT records of a name. */
export function spfRecords(texts: readonly string[]): string[] {
  return texts.filter((text) => /^v=spf1(?: |$)/i.test(text));
}

async function walk(
  domain: string,
  record: string,
  walked: { lookUps: number; trouble: string | undefined },
  dns: Dns,
): Promise<void> {
  const terms = termsOf(record), bad = terms.find((term) => !isTerm(term));
  if (bad !== undefined) {
    walked.trouble = `the record of ${domain} says "${bad}", which is not part of SPF`;
    return;
  }
  for (const modifier of ["redirect", "exp"]) {
    if (terms.filter((term) => term.toLowerCase().startsWith(`${modifier}=`)).length < 2) continue;
    walked.trouble = `the record of ${domain} has ${modifier}= twice`;
    return;
  }
  const hasAll = terms.some((term) => /^[+?~-]?all$/i.test(term));
  for (const term of terms) {
    const [, mechanism = "", value = ""] =
      /^[+?~-]?(include|a|mx|ptr|exists|redirect)(?![\w.-])[:=]?([^/]*)/i.exec(term) ??
        [];
    const kind = mechanism.toLowerCase();
    if (kind === "" || kind === "redirect" && hasAll) continue;
    walked.lookUps++;
    if (walked.lookUps > 2 * MAX_LOOK_UPS) return;
    // What stands behind a macro depends on the message.
    if (kind !== "include" && kind !== "redirect" || value.includes("%")) continue;
    const answer = recordsIn(await dns.txt(value));
    if ("reason" in answer) continue;
    const found = spfRecords(answer.records), [next] = found;
    if (found.length === 1 && next !== undefined) await walk(value, next, walked, dns);
    else walked.trouble = `says "${term}", and ${value} has ${found.length === 0 ? "no" : found.length} SPF records`;
    if (walked.trouble !== undefined) return;
  }
}

/** Without the version. */
export function termsOf(record: string): string[] {
  return record.split(" ").slice(1).filter((term) => term !== "");
}

// RFC 7208 §12. Names are left to the evaluator: macros make them long to describe.
const TERM =
  /^(?:[+?~-]?(?:all|include:[^/]+|exists:[^/]+|ptr(?::[^/]+)?|(?:a|mx)(?::[^/]+)?(?:\/\d{1,2})?(?:\/\/\d{1,3})?)|[a-z][\w.-]*=.*)$/i;

function isTerm(term: string): boolean {
  const [, version, network = ""] = /^[+?~-]?ip([46]):(.*)$/i.exec(term) ?? [];
  return version === undefined ? TERM.test(term) : parseNetwork(network)?.family === Number(version);
}
