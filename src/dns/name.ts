/** Names: what may be asked for, what may be believed, and how an address becomes one. */

// RFC 1035 §2.3.4: 255 octets on the wire, which are 253 characters without the final dot.
const MAX_NAME = 253, MAX_LABEL = 63;

/**
 * The form in which names are asked for and compared: lower case, without a final dot. Undefined when no such name
 * can exist: an empty label, one too long, or a character outside ASCII (callers convert to A-labels first).
 */
export function parseName(text: string): string | undefined {
  const name = (text.endsWith(".") ? text.slice(0, -1) : text).toLowerCase();
  // Blanks and signs are legal in the DNS, and SPF macros make such names out of local parts.
  if (name.length > MAX_NAME || !/^[\x20-\x7e]+$/.test(name)) return undefined;
  return name.split(".").every((label) => label.length > 0 && label.length <= MAX_LABEL) ? name : undefined;
}

/** Letters, digits, hyphen, underscore: what a host, and nothing that could break a header or a log, is called. */
export function isHostName(name: string): boolean {
  return parseName(name) === name && /^[a-z0-9._-]+$/.test(name);
}

/** True for the zone itself and all below it. Every name is in the root, which is the empty string. */
export function isWithin(name: string, zone: string): boolean {
  return zone === "" || name === zone || name.endsWith(`.${zone}`);
}

/** `192.0.2.1` → `1.2.0.192.in-addr.arpa`. Undefined when it is not an address. */
export function reverseName(address: string): string | undefined {
  const reversed = reverseLabels(address);
  if (reversed === undefined) return undefined;
  return reversed.length > 15 ? `${reversed}.ip6.arpa` : `${reversed}.in-addr.arpa`;
}

/**
 * `192.0.2.1` → `1.2.0.192`; of an IPv6 address the 32 nibbles, likewise from the end. This is also how a DNSBL is
 * asked. An IPv4-mapped address counts as the IPv4 address inside. Undefined when it is not an address.
 */
export function reverseLabels(address: string): string | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) {
    const parts = address.split(".");
    return parts.every((part) => Number(part) < 256) ? parts.map(Number).reverse().join(".") : undefined;
  }
  const groups = parseIpv6(address);
  if (groups === undefined) return undefined;
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return groups.slice(6).flatMap((group) => [group >> 8, group & 255]).reverse().join(".");
  }
  return Array.from(groups.map((group) => group.toString(16).padStart(4, "0")).join("")).reverse().join(".");
}

/** Eight numbers, or undefined. */
function parseIpv6(address: string): number[] | undefined {
  if (!/^[0-9a-f:.]+$/i.test(address) || !address.includes(":")) return undefined;
  let canonical: string;
  try {
    canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  } catch {
    return undefined;
  }
  const [left = "", right] = canonical.split("::");
  const head = left === "" ? [] : left.split(":"), tail = right === undefined || right === "" ? [] : right.split(":");
  const middle = new Array<string>(8 - head.length - tail.length).fill("0");
  return [...head, ...middle, ...tail].map((group) => parseInt(group, 16));
}

/** Whether two notations mean one address. A scope (`%eth0`) does not count. */
export function isSameAddress(one: string, other: string): boolean {
  const left = reverseLabels(one.replace(/%.*/, ""));
  return left !== undefined && left === reverseLabels(other.replace(/%.*/, ""));
}
