/** Addresses, networks and ports as they are written in the configuration. */

import { parseDomain } from "../smtp/address.ts";
import { formatIp, parseIp, parseNetwork as parseCidr } from "../smtp/network.ts";

/** In the shape of `Deno.listen` and `Deno.connect`: an IPv6 address stands without brackets. */
export interface Endpoint {
  /** A host name in lower case, or an IP address in its shortest form. */
  readonly hostname: string;
  readonly port: number;
}

/** The shortest form (RFC 5952) of an IPv4 or IPv6 address without brackets, zone or prefix; else undefined. */
export function parseAddress(text: string): string | undefined {
  const ip = text.includes("%") ? undefined : parseIp(text);
  return ip && formatIp(ip);
}

/** A network in CIDR notation; `network` is how it should be written when bits behind the prefix are set. */
export interface Network {
  readonly network: string;
  readonly exact: boolean;
}

/** `10.0.0.0/8`, `2001:db8::/32`. Undefined for anything else, an address without a prefix length among it. */
export function parseNetwork(text: string): Network | undefined {
  const [host = "", length] = text.split("/");
  const address = parseAddress(host), network = length === undefined ? undefined : parseCidr(text);
  if (address === undefined || network === undefined) return undefined;
  const first = formatIp(network);
  return { network: `${first}/${network.length}`, exact: first === address };
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
  if (inner !== undefined) return inner.includes(":") ? parseAddress(inner) : undefined;
  const address = parseAddress(text);
  if (address !== undefined) return address.includes(":") ? undefined : address;
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
    parseAddress(hostname)?.startsWith("127.") === true;
}
