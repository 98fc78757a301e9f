/**
 * IP addresses as bits. Two spellings of one address are one address, and an IPv4 address that comes in IPv6 clothes
 * (`::ffff:192.0.2.1`) is IPv4.
 */

export interface Ip {
  readonly family: 4 | 6;
  /** 32 or 128 bits. */
  readonly bits: bigint;
}

export interface Network extends Ip {
  /** Bits that count. */
  readonly length: number;
}

const IPV4_MAPPED = 0xffffn;

/** Undefined when it is not an address. A zone (`%eth0`) is not part of one and is dropped. */
export function parseIp(text: string): Ip | undefined {
  const plain = text.replace(/%.*$/, "");
  return plain.includes(":") ? parseIpv6(plain) : parseIpv4(plain);
}

function parseIpv4(text: string): Ip | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!parts) return undefined;
  let bits = 0n;
  for (const part of parts.slice(1)) {
    // A leading zero makes it octal for some programs.
    if (Number(part) > 255 || (part.length > 1 && part[0] === "0")) return undefined;
    bits = (bits << 8n) | BigInt(part);
  }
  return { family: 4, bits };
}

function parseIpv6(text: string): Ip | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map(groupsOf);
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...Array<bigint>(missing).fill(0n), ...(tail ?? [])];
  const bits = groups.reduce((sum, group) => (sum << 16n) | group, 0n);
  return bits >> 32n === IPV4_MAPPED ? { family: 4, bits: bits & 0xffffffffn } : { family: 6, bits };
}

function groupsOf(half: string): bigint[] | undefined {
  if (half === "") return [];
  const groups: bigint[] = [];
  const words = half.split(":");
  for (const [index, word] of words.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(word)) groups.push(BigInt(`0x${word}`));
    else {
      const ipv4 = index === words.length - 1 ? parseIpv4(word) : undefined;
      if (ipv4 === undefined) return undefined;
      groups.push(ipv4.bits >> 16n, ipv4.bits & 0xffffn);
    }
  }
  return groups;
}

/** `192.0.2.0/24`, `2001:db8::/32` or a single address. Undefined when it is neither. */
export function parseNetwork(text: string): Network | undefined {
  const [address = "", length, ...more] = text.split("/");
  const ip = parseIp(address);
  if (ip === undefined || more.length > 0) return undefined;
  const size = ip.family === 4 ? 32 : 128;
  if (length === undefined) return { ...ip, length: size };
  if (!/^\d{1,3}$/.test(length) || Number(length) > size) return undefined;
  return prefixOf(ip, Number(length));
}

/** The network of `length` bits around an address. */
export function prefixOf(ip: Ip, length: number): Network {
  const rest = BigInt((ip.family === 4 ? 32 : 128) - length);
  return { family: ip.family, bits: (ip.bits >> rest) << rest, length };
}

export function isIn(ip: Ip, network: Network): boolean {
  return ip.family === network.family && prefixOf(ip, network.length).bits === network.bits;
}

/** A gateway turns these into the IPv4 address they carry: RFC 6052 §2.1 (NAT64), RFC 3056 §2 (6to4). */
const NAT64: Network = { family: 6, bits: 0x64ff9bn << 96n, length: 96 };
const SIX_TO_FOUR: Network = { family: 6, bits: 0x2002n << 112n, length: 16 };

/** Who is behind an address: the IPv4 address inside a NAT64 or 6to4 one. (`parseIp` has undressed the mapped ones.) */
export function asSeen(ip: Ip): Ip {
  if (isIn(ip, NAT64)) return { family: 4, bits: ip.bits & 0xffffffffn };
  return isIn(ip, SIX_TO_FOUR) ? { family: 4, bits: (ip.bits >> 80n) & 0xffffffffn } : ip;
}

/** RFC 5952: lower case, the first longest run of at least two zero groups as `::`. */
export function formatIp({ family, bits }: Ip): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 255n).join(".");
  const groups = Array.from({ length: 8 }, (_, index) => ((bits >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  let longest = { at: 0, length: 1 }, run = 0;
  for (const [index, group] of groups.entries()) {
    run = group === "0" ? run + 1 : 0;
    if (run > longest.length) longest = { at: index + 1 - run, length: run };
  }
  if (longest.length < 2) return groups.join(":");
  return `${groups.slice(0, longest.at).join(":")}::${groups.slice(longest.at + longest.length).join(":")}`;
}

/** The form in which an address is compared, logged and kept: `::ffff:192.0.2.1` is `192.0.2.1`. */
export function plainIp(text: string): string {
  const ip = parseIp(text);
  return ip === undefined ? text : formatIp(ip);
}
