/** The addresses under which the world knows this machine. */

import { openNetworks } from "../send/network.ts";
import { formatIp, type Ip, isIn, parseIp, prefixOf } from "../smtp/network.ts";

/** One address of a network interface, as `Deno.networkInterfaces` tells it. */
export interface Face {
  /** Of the interface. */
  readonly name: string;
  readonly address: string;
  readonly mac: string;
}

const isPublic = openNetworks({ allowPrivate: [], own: () => [] });

/**
 * IPv4 before IPv6, each once and in its shortest form. Loopback, private, link-local and shared ones are left out, and
 * so are those that IPv6 makes up for a day. Empty behind a NAT: then only the operator knows the address.
 */
export function publicAddresses(faces: readonly Face[] = Deno.networkInterfaces()): string[] {
  const found: { face: Face; ip: Ip }[] = [];
  for (const face of faces) {
    const ip = parseIp(face.address);
    if (ip === undefined || isPublic(face.address) !== "public") continue;
    if (!found.some((other) => formatIp(other.ip) === formatIp(ip))) found.push({ face, ip });
  }
  const lasting = found.filter(({ face, ip }) =>
    isLasting(ip, face.mac) ||
    !found.some((other) =>
      other.face.name === face.name && isIn(other.ip, prefixOf(ip, 64)) && isLasting(other.ip, other.face.mac)
    )
  );
  return lasting.sort((one, other) => one.ip.family - other.ip.family).map(({ ip }) => formatIp(ip));
}

/** In the shortest form; undefined when it is not an address. */
export function parseAddress(text: string): string | undefined {
  const ip = text.includes("%") ? undefined : parseIp(text);
  return ip && formatIp(ip);
}

/**
 * No permission of ours tells which IPv6 addresses are temporary (RFC 8981). But one that was made from the MAC address
 * or written by hand is not, and next to such a one the random ones in the same network are.
 */
function isLasting({ family, bits }: Ip, mac: string): boolean {
  if (family === 4) return true;
  const own = bits & 0xffffffffffffffffn;
  return own >> 32n === 0n || own === interfaceId(mac);
}

/** RFC 4291 Appendix A: `02:fc:00:00:00:01` → `00fc:00ff:fe00:0001`. */
function interfaceId(mac: string): bigint {
  const octets = mac.split(":").map((octet) => parseInt(octet, 16) & 255);
  const [first = 0, ...rest] = octets.length === 6 ? octets : [0, 0, 0, 0, 0, 0];
  return [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)]
    .reduce((id, octet) => (id << 8n) | BigInt(octet), 0n);
}
