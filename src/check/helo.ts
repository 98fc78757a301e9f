/** Does the name that a host gives itself belong to its address. Only a definite contradiction is one. */

import type { Dns, Lookup } from "../dns/records.ts";
import { asSeen, formatIp, type Ip, parseIp } from "../smtp/network.ts";

export interface HeloFinding {
  /** `none`: nothing there to compare, such as a name that does not exist. */
  readonly result: "match" | "mismatch" | "none" | "temperror";
  /** As the host said it. */
  readonly name: string;
  /** What was found instead, for people. */
  readonly found: string;
}

/** Addresses and names that are told. */
const TOLD = 3;

/** Never rejects. */
export async function checkHelo(name: string, host: string, dns: Dns, signal: AbortSignal): Promise<HeloFinding> {
  const ip = parseIp(host);
  const finding = (result: HeloFinding["result"], found: string): HeloFinding => ({ result, name, found });
  if (ip === undefined) return finding("none", "the peer has no address");
  const peer = asSeen(ip);
  const literal = /^\[(?:IPv6:)?([0-9a-f:.]+)\]$/i.exec(name)?.[1];
  if (literal !== undefined) {
    const said = parseIp(literal);
    if (said === undefined) return finding("none", "not an address");
    return isSame(asSeen(said), peer) ? finding("match", "its address") : finding("mismatch", `it is ${host}`);
  }
  if (!name.includes(".")) return finding("none", "not a full name");

  const forward = await (peer.family === 4 ? dns.a(name, { signal }) : dns.aaaa(name, { signal }));
  if (forward.outcome === "answer") {
    if (forward.records.some((address) => isSame(parseIp(address), peer))) return finding("match", "its address");
  } else if (isFailure(forward)) return finding("temperror", forward.reason);

  const reverse = await dns.ptr(formatIp(peer), { signal });
  if (isFailure(reverse)) return finding("temperror", reverse.reason);
  const names = reverse.outcome === "answer" ? reverse.records : [];
  if (names.includes(name.toLowerCase().replace(/\.$/, ""))) return finding("match", "its name in the reverse zone");
  // Somebody whose name has no address of this kind may only have forgotten it.
  if (forward.outcome !== "answer") return finding("none", `${forward.outcome} for ${name}`);
  return finding(
    "mismatch",
    `${name} is ${told(forward.records)}, and ${formatIp(peer)} is ${told(names) || "nameless"}`,
  );
}

function isSame(one: Ip | undefined, other: Ip): boolean {
  return one?.family === other.family && one.bits === other.bits;
}

function isFailure<T>(lookup: Lookup<T>): lookup is Extract<Lookup<T>, { readonly reason: string }> {
  return lookup.outcome === "server failed" || lookup.outcome === "timed out";
}

function told(values: readonly string[]): string {
  return values.slice(0, TOLD).join(", ") + (values.length > TOLD ? ", …" : "");
}
