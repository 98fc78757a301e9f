/** Our name, our addresses, and the way back from each to the other. */

import type { Blocklist } from "../check/dnsbl.ts";
import { checkDnsbl } from "../check/dnsbl.ts";
import type { Dns } from "../dns/records.ts";
import { doubtful, type Finding, fine, noAnswer, recordsIn, wrong } from "./finding.ts";
import { isAmong, lookUpHost } from "./questions.ts";
import { addressRecord, ptrRecord } from "./records.ts";

/** `addresses`: ours. */
export async function checkName(hostname: string, addresses: readonly string[], dns: Dns): Promise<Finding> {
  const subject = { topic: "name", about: hostname } as const;
  const host = await lookUpHost(hostname, dns), found = host.addresses;
  if (host.reason !== undefined) return noAnswer(subject, host.reason);
  const wanted = addresses.map((address) => addressRecord(hostname, address));
  const missing = addresses.filter((address) => !isAmong(address, found));
  const strange = found.filter((address) => !isAmong(address, addresses));
  if (found.length === 0) {
    return wrong(subject, "name-missing", "our name has no address in the DNS", publish(wanted), wanted);
  }
  if (missing.length > 0 || strange.length > 0) {
    const lacks = missing.length > 0 ? `, and not to ${missing.join(", ")}` : "";
    return wrong(
      subject,
      "name-elsewhere",
      `our name leads to ${found.join(", ")}${lacks}`,
      `${strange.length > 0 ? `Remove ${strange.join(", ")}, if that is not this machine. ` : ""}${publish(wanted)}`,
      wanted,
    );
  }
  if (host.name !== hostname) {
    return wrong(
      subject,
      "name-alias",
      `our name is an alias (CNAME) of ${host.name}, and an MX record must not lead to one (RFC 2181 §10.3)`,
      `Remove the CNAME record. ${publish(wanted)}`,
      wanted,
    );
  }
  return fine(subject, `leads to ${found.join(", ")}`);
}

/** `insists`: our mail leaves from here, and others ask for the name behind the address. */
export async function checkPtr(hostname: string, address: string, insists: boolean, dns: Dns): Promise<Finding> {
  const subject = { topic: "ptr", about: address } as const;
  const answer = recordsIn(await dns.ptr(address));
  if ("reason" in answer) return noAnswer(subject, answer.reason);
  const names = answer.records, wanted = [ptrRecord(hostname, address)];
  const say = insists ? wrong : doubtful;
  const advice = "Ask whoever gave you the address to set its reverse record:";
  if (names.length === 0) return say(subject, "ptr-missing", "the address has no name (PTR)", advice, wanted);
  // That our name leads to the address is said elsewhere.
  if (names.includes(hostname)) return fine(subject, `is called ${names.join(", ")}`);
  const hosts = await Promise.all(names.map((name) => lookUpHost(name, dns)));
  const failed = hosts.find(({ reason }) => reason !== undefined);
  if (hosts.some(({ addresses }) => isAmong(address, addresses))) {
    return doubtful(subject, "ptr-other", `is called ${names.join(", ")}, and we greet as ${hostname}`, advice, wanted);
  }
  if (failed?.reason !== undefined) return noAnswer(subject, failed.reason);
  return say(subject, "ptr-astray", `is called ${names.join(", ")}, which does not lead back to it`, advice, wanted);
}

export async function checkLists(
  address: string,
  lists: readonly Blocklist[],
  dns: Dns,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const subject = { topic: "dnsbl", about: address } as const;
  const listings = await checkDnsbl(address, lists, dns, signal);
  const findings = listings.flatMap(({ zone, result, found }): readonly Finding[] => {
    switch (result) {
      case "listed":
        return [wrong(
          subject,
          "listed",
          `is on the list ${zone} (${found})`,
          `Who asks this list refuses our mail. Find the reason first, then ask ${zone} on its web page to take it off.`,
        )];
      case "temperror":
        return [doubtful(
          subject,
          "no-answer",
          `${zone}: ${found}`,
          "Whether the address is listed is not known. Some lists answer only resolvers of one's own: see [dns].",
        )];
      default:
        return result satisfies "clean" ? [] : [];
    }
  });
  if (findings.length > 0 || lists.length === 0) return findings;
  return [fine(subject, `is on none of ${lists.map(({ zone }) => zone).join(", ")}`)];
}

function publish(records: readonly unknown[]): string {
  return `Publish ${records.length > 1 ? "these records" : "this record"} at your DNS provider:`;
}
