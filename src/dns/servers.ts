/** Which name servers we ask. */

import { reverseLabels } from "./name.ts";

export interface Server {
  /** An IPv4 or IPv6 address; a link-local one may carry its scope (`fe80::1%eth0`). */
  readonly address: string;
  readonly port: number;
}

/** More than these are never reached within the deadline of a question. */
const MAX_SERVERS = 8;

/** `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[2001:db8::53]:5353`. Undefined for anything else. */
export function parseServer(text: string): Server | undefined {
  const [, bracketed, plain, number = "53"] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  const port = Number(number);
  if (reverseLabels(address.replace(/%[\w.-]+$/, "")) === undefined || port < 1 || port > 65535) return undefined;
  return { address, port };
}

export function formatServer({ address, port }: Server): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The servers that the system is set up with. Rejects with a sentence when there are none. */
export async function systemServers(path = "/etc/resolv.conf"): Promise<readonly Server[]> {
  let text = "";
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const servers = parseResolvConf(text);
  // resolv.conf(5) would have the local machine asked. Where nobody answers there, every check and every delivery
  // would wait for nothing, and nobody would know why.
  if (servers.length > 0) return servers;
  throw new Error(
    `This machine has no name server: ${path} names none. Set one up there, or install one here (unbound is good) and ` +
      'write servers = ["127.0.0.1"] into [dns].',
  );
}

/** The `nameserver` lines of a resolv.conf(5); those that are no address are passed over, as the C library does. */
export function parseResolvConf(text: string): readonly Server[] {
  const servers: Server[] = [];
  for (const line of text.split("\n")) {
    const address = /^\s*nameserver\s+([^\s#;]+)/.exec(line)?.[1];
    const server = address === undefined ? undefined : parseServer(address);
    if (server !== undefined && servers.length < MAX_SERVERS) servers.push(server);
  }
  return servers;
}
