/** What a reply says about the question: pure, from one message to one meaning. */

import { isWithin } from "./name.ts";
import type { DnsRecord, RecordType } from "./records.ts";
import type { Message } from "./wire.ts";

/** `ttl` in seconds. */
export type Reading =
  | { readonly says: "answer"; readonly records: readonly DnsRecord[]; readonly name: string; readonly ttl: number }
  | { readonly says: "no such name" | "no data"; readonly ttl: number }
  /** The chain of CNAMEs leaves this reply: the question is now for `name`. */
  | { readonly says: "ask again"; readonly name: string; readonly ttl: number }
  | { readonly says: "failure"; readonly reason: string };

/** The first hundred, in the order of the answer. More mail exchanges or addresses are never tried. */
const MAX_ANSWERS = 100;
/** Long enough for every honest chain; what is longer is a loop or a joke. */
export const MAX_CHAIN = 12;

const NOERROR = 0, NXDOMAIN = 3;
const CODES = new Map([[1, "FORMERR"], [2, "SERVFAIL"], [4, "NOTIMP"], [5, "REFUSED"], [9, "NOTAUTH"], [
  16,
  "BADVERS",
]]);

/** `name` in the form of `parseName`. The reply has already been found to belong to this question. */
export function readReply(reply: Message, name: string, type: RecordType): Reading {
  if (reply.broken) return failure("malformed reply");
  if (reply.truncated) return failure("answer cut off even by TCP");
  if (reply.code !== NOERROR && reply.code !== NXDOMAIN) {
    return failure(CODES.get(reply.code) ?? `response code ${reply.code}`);
  }
  const end = followChain(reply, name, type);
  if (end === undefined) return failure("loop of CNAME records");
  const records = reply.answers.filter((record) => record.type === type && record.name === end.name);
  if (records.length > 0) {
    const kept = records.slice(0, MAX_ANSWERS);
    return { says: "answer", records: kept, name: end.name, ttl: Math.min(end.ttl, ...kept.map(({ ttl }) => ttl)) };
  }
  // A mail exchange with a name that cannot be is not the same as no mail exchange, which would send us to the A record.
  if (reply.unusable) return failure("only records that name no host");
  return readNothing(reply, name, end);
}

interface End {
  readonly name: string;
  readonly ttl: number;
}

/** Where the CNAMEs of the reply lead from `name`; undefined when they lead in circles. */
function followChain({ answers }: Message, name: string, type: RecordType): End | undefined {
  let end: End = { name, ttl: Infinity };
  if (type === "CNAME") return end;
  for (let step = 0; step <= MAX_CHAIN; step++) {
    const link = answers.find((record) => record.type === "CNAME" && record.name === end.name);
    if (link?.type !== "CNAME") return end;
    end = { name: link.data, ttl: Math.min(end.ttl, link.ttl) };
  }
  return undefined;
}

function readNothing(reply: Message, name: string, end: End): Reading {
  const soa = reply.authorities.find((record) => record.type === "SOA" && isWithin(end.name, record.name));
  // RFC 2308 §5: the lesser of the two; and what comes without SOA is not remembered.
  const ttl = soa?.type === "SOA" ? Math.min(soa.ttl, soa.data.minimum, end.ttl) : 0;
  // RFC 6604 §3: with a chain, the code speaks about its end.
  if (reply.code === NXDOMAIN) return { says: "no such name", ttl };
  if (end.name !== name && soa === undefined) return { says: "ask again", name: end.name, ttl: end.ttl };
  // RFC 2308 §2.2: NS without SOA sends us elsewhere. Such a server does not recurse, and its silence means nothing.
  if (soa === undefined && !reply.authoritative && reply.authorities.some(({ type }) => type === "NS")) {
    return failure("referral: the server does not look up names for us");
  }
  return { says: "no data", ttl };
}

function failure(reason: string): Reading {
  return { says: "failure", reason };
}
