/**
 * IPv4 and IPv6: of a machine with both, often only one has a name in the reverse zone (PTR), and large providers refuse
 * what comes from the other. That one is tried last for a while, and what it was refused for is offered from the other.
 */

import type { RemoteReply } from "../queue/entry.ts";
import { parseIp } from "../smtp/network.ts";
import type { Server } from "./route.ts";

const HOUR = 3600_000;

export class Families {
  readonly #avoidedUntil = new Map<4 | 6, number>();

  /** `now`: milliseconds by a clock that never jumps. */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** True when the refusal is about our address alone, and these servers can be reached from another one. */
  learn(reply: RemoteReply, address: string, servers: readonly Server[]): boolean {
    const family = familyOf(address);
    if (family === undefined || !isAboutPtr(reply)) return false;
    this.#avoidedUntil.set(family, this.now() + HOUR);
    return servers.some(({ addresses }) => addresses.some((one) => (familyOf(one) ?? family) !== family));
  }

  /** The same addresses, those of an avoided family last. */
  inOrder(addresses: readonly string[]): readonly string[] {
    const isAvoided = (address: string) => this.now() < (this.#avoidedUntil.get(familyOf(address) ?? 4) ?? -Infinity);
    return [...addresses.filter((address) => !isAvoided(address)), ...addresses.filter(isAvoided)];
  }
}

/** RFC 7372 §3.3, and those who say it in words. */
function isAboutPtr({ code, enhanced, text }: RemoteReply): boolean {
  return code >= 400 &&
    (/^[45]\.7\.25$/.test(enhanced) || /\bPTR\b|\breverse[- ]?(dns|lookup|host ?name)|\brDNS\b/i.test(text));
}

/** Undefined for a path. */
function familyOf(address: string): 4 | 6 | undefined {
  return parseIp(address)?.family;
}
