/** Whether a domain says what becomes of mail that only pretends to be of it. */

import { checkDmarc } from "../check/dmarc.ts";
import type { Dns } from "../dns/records.ts";
import { doubtful, type Finding, fine, noAnswer, recordsIn, wrong } from "./finding.ts";
import { dmarcRecord, INSTEAD, PUBLISH } from "./records.ts";

/** Milliseconds for all look-ups. */
const BUDGET = 15_000;

export async function checkAuthorPolicy(domain: string, dns: Dns): Promise<Finding> {
  const subject = { topic: "dmarc", about: domain } as const, wanted = dmarcRecord(domain);
  const answer = recordsIn(await dns.txt(wanted.name));
  if ("reason" in answer) return noAnswer(subject, answer.reason);
  const records = answer.records.filter((text) => /^\s*v\s*=\s*dmarc1/i.test(text)), [record] = records;
  if (records.length > 1) {
    const found = `there are ${records.length} DMARC records, so none of them counts (RFC 9989)`;
    return wrong(subject, "dmarc-several", found, "Remove all but one, such as:", [wanted]);
  }
  const trouble = record === undefined ? undefined : troubleOf(record);
  if (trouble !== undefined) {
    return wrong(subject, "dmarc-syntax", `${trouble}: ${record}`, INSTEAD, [wanted]);
  }
  // What receivers make of it, also of what stands at a domain above.
  const start = new TextEncoder().encode(`From: postmaster@${domain}\r\n\r\n`);
  const { result, policy, policyDomain, reason } = await checkDmarc(
    { start, spf: undefined, signatures: [] },
    dns,
    BUDGET,
  );
  if (result === "temperror") return noAnswer(subject, reason ?? "the policy could not be looked up");
  if (policy === undefined) {
    if (record === undefined) return wrong(subject, "dmarc-missing", "there is no DMARC record", PUBLISH, [wanted]);
    return wrong(subject, "dmarc-syntax", `receivers cannot use the record: ${record}`, INSTEAD, [wanted]);
  }
  const where = record ?? `p=${policy}, by the record of ${policyDomain}`;
  if (policy !== "none") return fine(subject, where);
  return doubtful(
    subject,
    "dmarc-none",
    `asks for nothing to be done with forged mail (p=none): ${where}`,
    "That is right while you watch the reports. When all your own mail passes, publish this record:",
    [wanted],
  );
}

/** RFC 9989. Undefined when nothing is wrong with it. */
function troubleOf(record: string): string | undefined {
  if (!/^v\s*=\s*DMARC1\s*(;|$)/.test(record)) return 'must begin with "v=DMARC1;"';
  const tags = new Map<string, string>();
  for (const part of record.split(";").map((one) => one.trim()).filter((one) => one !== "")) {
    const [, name, value = ""] = /^([a-z]+)\s*=\s*(.*)$/i.exec(part) ?? [];
    if (name === undefined) return `"${part}" is not of the form NAME=VALUE`;
    if (tags.has(name.toLowerCase())) return `${name}= stands there twice`;
    tags.set(name.toLowerCase(), value);
  }
  for (const [name, allowed] of ALLOWED) {
    const value = tags.get(name);
    if (value !== undefined && !allowed.test(value)) return `${name}= must be ${wordsOf(allowed)}, not "${value}"`;
  }
  for (const name of ["rua", "ruf"]) {
    const targets = tags.get(name)?.split(",") ?? [];
    const bad = targets.find((one) => !/^\s*mailto:[^@\s]+@[^@\s]+\s*$/i.test(one));
    if (bad !== undefined) return `${name}= must be mailto: and an address, not "${bad.trim()}"`;
  }
  return tags.has("p") || tags.has("rua") ? undefined : "it has no p=";
}

const POLICY = /^(none|quarantine|reject)$/i, ALIGNMENT = /^(r|s)$/i;
const ALLOWED: readonly (readonly [string, RegExp])[] = [
  ["p", POLICY],
  ["sp", POLICY],
  ["np", POLICY],
  ["adkim", ALIGNMENT],
  ["aspf", ALIGNMENT],
  ["t", /^(y|n)$/i],
];

function wordsOf(pattern: RegExp): string {
  return pattern.source.replace(/[$()^]/g, "").replaceAll("|", ", ").replace(/, (\w+)$/, " or $1");
}
