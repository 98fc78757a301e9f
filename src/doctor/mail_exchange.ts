/** Whether mail for a domain comes to us. */

import type { Dns } from "../dns/records.ts";
import { parseIp } from "../smtp/network.ts";
import { type Finding, fine, noAnswer, recordsIn, wrong } from "./finding.ts";
import { isAmong, lookUpHost } from "./questions.ts";
import { INSTEAD, mxRecord, PUBLISH } from "./records.ts";

export interface Us {
  readonly hostname: string;
  readonly addresses: readonly string[];
}

export async function checkMx(domain: string, { hostname, addresses }: Us, dns: Dns): Promise<readonly Finding[]> {
  const subject = { topic: "mx", about: domain } as const;
  const answer = recordsIn(await dns.ask("MX", domain));
  if ("reason" in answer) return [noAnswer(subject, answer.reason)];
  const wanted = [mxRecord(domain, hostname)];
  const records = answer.records.toSorted((one, other) => one.preference - other.preference);
  if (records.length === 0) return [wrong(subject, "mx-missing", "the domain has no MX record", PUBLISH, wanted)];
  if (records.every(({ exchange }) => exchange === "")) {
    return [wrong(
      subject,
      "mx-null",
      "the domain says that it takes no mail (null MX, RFC 7505)",
      `Remove the record "0 .". ${PUBLISH}`,
      wanted,
    )];
  }
  const exchanges = records.map(({ exchange }) => exchange), findings: Finding[] = [];
  for (const exchange of exchanges.filter((one) => parseIp(one) !== undefined)) {
    findings.push(wrong(
      subject,
      "mx-address",
      `an MX record leads to the address ${exchange}, and only a name may stand there (RFC 5321 §5.1)`,
      `Remove it. ${PUBLISH}`,
      wanted,
    ));
  }
  let isOurs = exchanges.includes(hostname), reason: string | undefined;
  const others = exchanges.filter((one) => one !== hostname && one !== "" && parseIp(one) === undefined);
  const hosts = await Promise.all(others.map((one) => lookUpHost(one, dns)));
  for (const [index, host] of hosts.entries()) {
    const exchange = others[index] ?? "";
    reason ??= host.reason;
    if (!host.addresses.some((address) => isAmong(address, addresses))) continue;
    isOurs = true;
    if (host.name === exchange) continue;
    findings.push(wrong(
      subject,
      "mx-alias",
      `an MX record leads to ${exchange}, an alias (CNAME) of ${host.name}, and must not (RFC 2181 §10.3)`,
      INSTEAD,
      wanted,
    ));
  }
  if (findings.length > 0) return findings;
  if (isOurs) return [fine(subject, `leads to ${exchanges.join(", ")}`)];
  if (reason !== undefined) return [noAnswer(subject, reason)];
  return [
    wrong(
      subject,
      "mx-elsewhere",
      `mail goes to ${others.join(", ")}, and none of them is this machine`,
      `If ${hostname} is to get it, publish this record instead:`,
      wanted,
    ),
  ];
}
