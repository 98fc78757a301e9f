/** The PROXY protocol, versions 1 and 2: what a load balancer says before the client's first byte. */

import { formatIp, parseIp } from "../smtp/network.ts";

export type ProxyHeader =
  /** `source` is absent for LOCAL and UNKNOWN: the balancer itself is calling. */
  | {
    readonly is: "complete";
    readonly used: number;
    readonly source?: { readonly host: string; readonly port: number };
  }
  | { readonly is: "unfinished" }
  | { readonly is: "invalid" };

const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
/** Version 1 has at most 107 octets with its CRLF; version 2 at most 16 + 65535, of which nobody needs so many. */
const MAX_V1 = 107, MAX_V2 = 16 + 4096;
const INVALID: ProxyHeader = { is: "invalid" }, UNFINISHED: ProxyHeader = { is: "unfinished" };

/** `bytes`: all that has come so far. */
export function parseProxyHeader(bytes: Uint8Array): ProxyHeader {
  if (startsLike(bytes, SIGNATURE)) return bytes.length < 16 ? UNFINISHED : parseV2(bytes);
  return parseV1(bytes);
}

function startsLike(bytes: Uint8Array, pattern: Uint8Array): boolean {
  return bytes.length > 0 && pattern.subarray(0, bytes.length).every((byte, index) => bytes[index] === byte);
}

function parseV1(bytes: Uint8Array): ProxyHeader {
  const end = bytes.subarray(0, MAX_V1).indexOf(10);
  if (end < 0) {
    const hopeful = bytes.length < MAX_V1 && startsLike(bytes.subarray(0, 6), new TextEncoder().encode("PROXY "));
    return hopeful || bytes.length === 0 ? UNFINISHED : INVALID;
  }
  const line = String.fromCharCode(...bytes.subarray(0, end + 1));
  if (/^PROXY UNKNOWN[^\r\n]*\r\n$/.test(line)) return { is: "complete", used: end + 1 };
  const parts = /^PROXY TCP([46]) (\S+) (\S+) (\d{1,5}) (\d{1,5})\r\n$/.exec(line);
  if (!parts) return INVALID;
  const [, family, from = "", to = "", port = "", toPort = ""] = parts;
  if ([from, to].some((address) => address.includes(":") !== (family === "6"))) return INVALID;
  const ip = parseIp(from);
  if (ip === undefined || parseIp(to) === undefined || Number(port) > 65535 || Number(toPort) > 65535) return INVALID;
  return { is: "complete", used: end + 1, source: { host: formatIp(ip), port: Number(port) } };
}

function parseV2(bytes: Uint8Array): ProxyHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const command = view.getUint8(12), family = view.getUint8(13), used = 16 + view.getUint16(14);
  if (command >> 4 !== 2 || (command & 15) > 1 || used > MAX_V2) return INVALID;
  if (bytes.length < used) return UNFINISHED;
  // LOCAL: a health check of the balancer.
  if ((command & 15) === 0) return { is: "complete", used };
  if (family === 0x11 && used >= 28) {
    return {
      is: "complete",
      used,
      source: { host: formatIp({ family: 4, bits: bitsOf(bytes, 16, 4) }), port: view.getUint16(24) },
    };
  }
  if (family === 0x21 && used >= 52) {
    const ip = parseIp(formatIp({ family: 6, bits: bitsOf(bytes, 16, 16) }));
    return ip === undefined
      ? INVALID
      : { is: "complete", used, source: { host: formatIp(ip), port: view.getUint16(48) } };
  }
  return INVALID;
}

function bitsOf(bytes: Uint8Array, at: number, length: number): bigint {
  let bits = 0n;
  for (const byte of bytes.subarray(at, at + length)) bits = (bits << 8n) | BigInt(byte);
  return bits;
}
