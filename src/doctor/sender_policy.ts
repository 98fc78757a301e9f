/** Whether the SPF record of a domain lets us send its mail, and nobody else. */

import { evaluateSpf, type SpfResult } from "../check/spf.ts";
import type { Dns, DnsRecord } from "../dns/records.ts";
import { doubtful, type Finding, fine, noAnswer, recordsIn, wrong } from "./finding.ts";
import type { Us } from "./mail_exchange.ts";
import { supposing } from "./questions.ts";
import { INSTEAD, PUBLISH, type PublishedRecord } from "./records.ts";
import { spfRecords, termsOf, troubleOf } from "./spf_terms.ts";

export interface SpfSubject {
  /** Who is asked about: a domain, or our name, which stands for bounces. */
  readonly name: string;
  /** What we would publish. */
  readonly wanted: PublishedRecord;
  /** Our mail leaves from our own addresses, so that they have to be in the record. */
  readonly direct: boolean;
}

/** RFC 5737: nobody has it, so nobody lets it send on purpose. */
const STRANGER = "198.51.100.213";
/** Milliseconds for all look-ups of one evaluation. */
const BUDGET = 15_000;

export async function checkSenderPolicy(spf: SpfSubject, us: Us, dns: Dns): Promise<Finding> {
  const { name, wanted, direct } = spf, subject = { topic: "spf", about: name } as const;
  const answer = recordsIn(await dns.txt(name));
  if ("reason" in answer) return noAnswer(subject, answer.reason);
  const records = spfRecords(answer.records), [record] = records;
  if (record === undefined) {
    // Bounces without it still get through nearly everywhere; mail of a domain does not.
    const say = name === us.hostname ? doubtful : wrong;
    return say(subject, "spf-missing", "there is no SPF record", PUBLISH, [wanted]);
  }
  if (records.length > 1) {
    const found = `there are ${records.length} SPF records, so none of them counts (RFC 7208 §4.5)`;
    return wrong(subject, "spf-several", found, "Make them one, such as:", [wanted]);
  }
  const asItShouldBe = supposing(dns, supposedOf(name, us));
  const ask = (host: string, world: Dns) => resultOf(name, host, us.hostname, world);
  const stranger = await ask(STRANGER, asItShouldBe);
  if (stranger === "temperror") return noAnswer(subject, "not all that the record names could be looked up");
  if (stranger === "permerror") {
    const { fault, found } = await troubleOf(name, record, asItShouldBe);
    return wrong(subject, fault, `${found}: ${record}`, "Correct the record, or publish this one instead:", [wanted]);
  }
  if (direct) {
    const results = await Promise.all(us.addresses.map(async (address) => ({
      address,
      now: await ask(address, dns),
      then: await ask(address, asItShouldBe),
    })));
    const out = results.find(({ now, then }) => now !== "pass" && then !== "pass");
    if (out?.then === "temperror") return noAnswer(subject, "not all that the record names could be looked up");
    if (out !== undefined) {
      const merged = { ...wanted, value: withTerms(record, wanted.value) };
      return wrong(
        subject,
        "spf-without-us",
        `does not let ${out.address} send (${out.then}): ${record}`,
        INSTEAD,
        [merged],
      );
    }
  }
  if (stranger === "pass") {
    const advice = "Let it end with -all, or publish this record instead:";
    return wrong(subject, "spf-open", `lets everybody send: ${record}`, advice, [wanted]);
  }
  if (stranger === "neutral" || stranger === "none") {
    const found = `says nothing about strangers: ${record}`;
    const [redirect] = termsOf(record).filter((term) => /^redirect=/i.test(term));
    if (redirect !== undefined && !termsOf(record).some((term) => /^[+?~-]?all$/i.test(term))) {
      // RFC 7208 §6.1: beside "all" it counts for nothing, and all that it lets send would be shut out.
      const advice = `Let the record of ${redirect.slice("redirect=".length)} end with -all. ` +
        "If others publish it, ask them, or put include: in the place of redirect= and -all behind it.";
      return doubtful(subject, "spf-endless", found, advice);
    }
    const terms = termsOf(record).filter((term) => !/^\??all$/i.test(term));
    return doubtful(subject, "spf-endless", found, "Let it end with -all:", [
      { ...wanted, value: ["v=spf1", ...terms, "-all"].join(" ") },
    ]);
  }
  return fine(subject, direct ? record : `${record} (whether your smarthost is in it, its operator knows)`);
}

async function resultOf(name: string, host: string, hostname: string, dns: Dns): Promise<SpfResult> {
  const claim = { host, hello: hostname, sender: name === hostname ? "" : `postmaster@${name}` };
  return (await evaluateSpf(claim, dns, hostname, BUDGET)).finding.result;
}

/** What we say about MX and our addresses is judged elsewhere. */
function supposedOf(name: string, { hostname, addresses }: Us): DnsRecord[] {
  return [
    { name, ttl: 0, type: "MX", data: { preference: 10, exchange: hostname } },
    ...addresses.map((data): DnsRecord => ({
      name: hostname,
      ttl: 0,
      type: data.includes(":") ? "AAAA" : "A",
      data,
    })),
  ];
}

/** The record with the first term that lets us send, before its own. */
function withTerms(record: string, wanted: string): string {
  const [ours = "mx"] = termsOf(wanted);
  return ["v=spf1", ours, ...termsOf(record).filter((term) => term !== ours)].join(" ");
}
