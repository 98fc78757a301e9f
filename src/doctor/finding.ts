/** What the doctor says of one thing. */

import type { Lookup } from "../dns/records.ts";
import type { PublishedRecord } from "./records.ts";

export type Topic =
  | "config"
  | "server"
  | "port"
  | "certificate"
  | "name"
  | "ptr"
  | "dnsbl"
  | "mx"
  | "spf"
  | "dkim"
  | "dmarc"
  | "mta-sts"
  | "tlsa"
  | "outbound"
  | "queue"
  | "disk"
  | "clock";

/** Names for scripts: these do not change, the sentences may. */
export type Fault =
  /** The other side said nothing, or nothing that helps: nobody knows. */
  | "no-answer"
  | "config-wrong"
  | "config-doubtful"
  | "server-stopped"
  | "server-silent"
  | "port-shut"
  | "port-taken"
  | "port-rude"
  | "port-without-tls"
  | "certificate-name"
  | "certificate-expired"
  | "certificate-expiring"
  | "certificate-early"
  | "certificate-failing"
  | "certificate-unknown"
  | "no-address"
  | "name-missing"
  | "name-elsewhere"
  | "name-alias"
  | "ptr-missing"
  | "ptr-other"
  | "ptr-astray"
  | "listed"
  | "mx-missing"
  | "mx-null"
  | "mx-address"
  | "mx-alias"
  | "mx-elsewhere"
  | "spf-missing"
  | "spf-several"
  | "spf-syntax"
  | "spf-look-ups"
  | "spf-void"
  | "spf-open"
  | "spf-endless"
  | "spf-without-us"
  | "dkim-no-key"
  | "dkim-missing"
  | "dkim-several"
  | "dkim-other"
  | "dmarc-missing"
  | "dmarc-several"
  | "dmarc-syntax"
  | "dmarc-none"
  | "sts-record"
  | "sts-policy"
  | "sts-without-us"
  | "tlsa-other"
  | "outbound-shut"
  | "queue-old"
  | "disk-full"
  | "disk-low"
  | "store-missing"
  | "clock-wrong";

export interface Finding {
  readonly topic: Topic;
  /** A domain, an address, a port: what it is about. */
  readonly about: string;
  readonly result: "ok" | "warning" | "error";
  readonly fault?: Fault;
  /** What was found, a sentence without its full stop. May quote strangers. */
  readonly found: string;
  /** What to do about it, whole sentences. Only with a fault. */
  readonly advice?: string;
  /** The records that advice speaks of. */
  readonly records?: readonly PublishedRecord[];
}

export type Subject = Pick<Finding, "topic" | "about">;

export function fine(subject: Subject, found: string): Finding {
  return { ...subject, result: "ok", found };
}

export function wrong(
  subject: Subject,
  fault: Fault,
  found: string,
  advice: string,
  records: readonly PublishedRecord[] = [],
): Finding {
  // What is quoted may be a whole sentence.
  const open = found.replace(/\.$/, "");
  return { ...subject, result: "error", fault, found: open, advice, ...(records.length > 0 && { records }) };
}

export function doubtful(...about: Parameters<typeof wrong>): Finding {
  return { ...wrong(...about), result: "warning" };
}

/** Says nothing about the record. */
export function noAnswer(subject: Subject, reason: string): Finding {
  return doubtful(
    subject,
    "no-answer",
    `no answer: ${reason}`,
    "Whether the record is right is not known: try again later, and look at the servers in [dns] if it stays so.",
  );
}

/** The records of an answer, none when there are none; undefined, and a reason, when nobody knows. */
export function recordsIn<T>(answer: Lookup<T>): { readonly records: readonly T[] } | { readonly reason: string } {
  switch (answer.outcome) {
    case "answer":
      return { records: answer.records };
    case "no such name":
    case "no data":
      return { records: [] };
    case "server failed":
    case "timed out":
      return { reason: answer.reason };
    default:
      return answer satisfies never;
  }
}
