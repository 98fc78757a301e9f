/** Addresses, networks and ports as they are written in the configuration. */

import { parseDomain } from "../smtp/address.ts";

/** In the shape of `Deno.listen` and `Deno.connect`: an IPv6 address stands without brackets. */
export interface Endpoint {
  /** A host name in lower case, or an IP address in its shortest form. */
  readonly hostname: string;
  readonly port: number;
}

interface Address {
  /** The shortest form (RFC 5952), by which two of them can be compared. */
  readonly text: string;
  /** 4 or 16. */
  readonly bytes: readonly number[];
}

/** Undefined unless it is an IPv4 or IPv6 address without brackets, zone or prefix. */
export function parseAddress(text: string): Address | undefined {
  const parts = text.split(".");
  // No leading zeros: some programs read 010 as 8.
  if (parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return { text, bytes: parts.map(Number) };
  }
  if (!text.includes(":") || !/^[0-9A-Fa-f:.]{2,45}$/.test(text)) return undefined;
  const url = URL.parse(`http://[${text}]/`);
  if (url === null) return undefined;
  const short = url.hostname.slice(1, -1);
  return { text: short, bytes: expand(short) };
}

/** The 16 bytes of an IPv6 address in the form the URL parser gives it: no dots, at most one `::`. */
function expand(short: string): number[] {
  const [head = "", tail] = short.split("::");
  const groups = (part: string) => part === "" ? [] : part.split(":").map((group) => parseInt(group, 16));
  const left = groups(head), right = groups(tail ?? "");
  const zeros = Array<number>(8 - left.length - right.length).fill(0);
  return [...left, ...zeros, ...right].flatMap((group) => [group >> 8, group & 255]);
}

/** A network in CIDR notation; `network` is how it should be written when bits behind the prefix are set. */
export interface Network {
  readonly network: string;
  readonly exact: boolean;
}

/** `10.0.0.0/8`, `2001:db8::/32`. Undefined for anything else, an address without a prefix length among it. */
export function parseNetwork(text: string): Network | undefined {
  const [, host, digits] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = parseAddress(host ?? "");
  const length = Number(digits);
  if (address === undefined || length > address.bytes.length * 8) return undefined;
  const masked = address.bytes.map((byte, index) => {
    const bits = Math.min(8, Math.max(0, length - index * 8));
    return byte & (0xff << (8 - bits)) & 0xff;
  });
  const exact = masked.every((byte, index) => byte === address.bytes[index]);
  return { network: `${formatBytes(masked)}/${length}`, exact };
}

function formatBytes(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, at) => (bytes[at * 2]! * 256 + bytes[at * 2 + 1]!).toString(16));
  return parseAddress(groups.join(":"))!.text;
}

/** `HOST:PORT`, where HOST is a name, an IPv4 address or an IPv6 address in brackets. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const [, host, digits] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  const hostname = parseHost(host ?? ""), port = Number(digits);
  return hostname === undefined || port > 65535 ? undefined : { hostname, port };
}

/** The host of an endpoint; an IPv6 address has to be in brackets and comes back without them. */
export function parseHost(text: string): string | undefined {
  const inner = /^\[(.+)\]$/.exec(text)?.[1];
  if (inner !== undefined) return inner.includes(":") ? parseAddress(inner)?.text : undefined;
  const address = parseAddress(text);
  if (address !== undefined) return address.bytes.length === 4 ? address.text : undefined;
  return parseHostName(text);
}

/** A host name in lower case. What ends in a number was meant as an IPv4 address and is none. */
export function parseHostName(text: string): string | undefined {
  const name = parseDomain(text);
  if (name === undefined || name.startsWith("[") || name.includes("_")) return undefined;
  return /(^|\.)\d+$/.test(name) ? undefined : name;
}

export function formatEndpoint({ hostname, port }: Endpoint): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" ||
    parseAddress(hostname)?.bytes.length === 4 && hostname.startsWith("127.");
}
