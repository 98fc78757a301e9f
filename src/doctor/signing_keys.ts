/** Whether others find the keys to our signatures. */

import type { Dns } from "../dns/records.ts";
import { dkimRecord, dkimRecordName, recordFault } from "../send/dkim_key.ts";
import { doubtful, type Finding, fine, noAnswer, recordsIn, wrong } from "./finding.ts";
import { type DomainKeys, INSTEAD, keyRecord, PUBLISH } from "./records.ts";

export async function checkKeys({ name, dkim }: DomainKeys, dns: Dns): Promise<readonly Finding[]> {
  if (dkim.length > 0) return await Promise.all(dkim.map((key) => checkKey(name, key, dns)));
  return [doubtful(
    { topic: "dkim", about: name },
    "dkim-no-key",
    "the config has no key for it, so its mail is not signed",
    `Make one: maildemon dkim keygen ${name}.`,
  )];
}

async function checkKey(
  domain: string,
  { selector, pem }: DomainKeys["dkim"][number],
  dns: Dns,
): Promise<Finding> {
  const name = dkimRecordName(domain, selector), subject = { topic: "dkim", about: name } as const;
  const text = dkimRecord(pem), wanted = [keyRecord(domain, selector, text)];
  const answer = recordsIn(await dns.txt(name));
  if ("reason" in answer) return noAnswer(subject, answer.reason);
  const [found, ...more] = answer.records;
  if (found === undefined) {
    return wrong(subject, "dkim-missing", "there is no record", PUBLISH, wanted);
  }
  if (more.length > 0) {
    // RFC 6376 §3.6.2.2: verifiers may take any one of them.
    const advice = "Remove all of them but this one:";
    return wrong(subject, "dkim-several", `there are ${more.length + 1} records, and must be one`, advice, wanted);
  }
  const fault = recordFault(found, text);
  if (fault === undefined) return fine(subject, "is our key");
  return wrong(subject, "dkim-other", `is not our key: ${fault}`, INSTEAD, wanted);
}
