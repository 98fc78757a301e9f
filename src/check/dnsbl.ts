/** Lists of bad hosts in the DNS (RFC 5782): each has a weight, which goes into the score. */

import { reverseLabels } from "../dns/name.ts";
import type { Dns } from "../dns/records.ts";
import { asSeen, formatIp, isIn, parseIp, parseNetwork } from "../smtp/network.ts";

/** One of `[checks] dnsbl`. */
export interface Blocklist {
  readonly zone: string;
  readonly weight: number;
}

export interface Listing {
  readonly zone: string;
  readonly weight: number;
  readonly result: "listed" | "clean" | "temperror";
  /** The addresses it answered, or what went wrong. */
  readonly found: string;
}

// RFC 5782 §2.1. What lists answer from 127.255.255.0/24 is a complaint about the question, not about the host.
const LISTED = parseNetwork("127.0.0.0/8"), COMPLAINT = parseNetwork("127.255.255.0/24");

/** Asks all lists at once. Never rejects. */
export async function checkDnsbl(
  host: string,
  lists: readonly Blocklist[],
  dns: Dns,
  signal: AbortSignal,
): Promise<readonly Listing[]> {
  const ip = parseIp(host), labels = ip && reverseLabels(formatIp(asSeen(ip)));
  if (labels === undefined) return [];
  return await Promise.all(lists.map(async ({ zone, weight }): Promise<Listing> => {
    const answer = await dns.a(`${labels}.${zone}`, { signal });
    if (answer.outcome === "server failed" || answer.outcome === "timed out") {
      return { zone, weight, result: "temperror", found: answer.reason };
    }
    if (answer.outcome !== "answer") return { zone, weight, result: "clean", found: "not listed" };
    const found = answer.records.slice(0, 5).join(", ");
    if (answer.records.some((address) => among(address, COMPLAINT))) {
      return { zone, weight, result: "temperror", found: `the list refuses to answer us: ${found}` };
    }
    return { zone, weight, result: answer.records.some((one) => among(one, LISTED)) ? "listed" : "clean", found };
  }));
}

function among(address: string, network: ReturnType<typeof parseNetwork>): boolean {
  const ip = parseIp(address);
  return ip !== undefined && network !== undefined && isIn(ip, network);
}
