/** Resolvers that ask a name server of the test's own. */

import type { DnsRecord } from "../../src/dns/records.ts";
import { Resolver } from "../../src/dns/resolver.ts";
import { type Asked, serveZone } from "../../src/sandbox/name_server.ts";
import { type Behaviour, makeZone } from "../../src/sandbox/zone.ts";
import { type Script, serveScript } from "./dns_scripted.ts";

/** Milliseconds: long enough for a busy machine; and short, where a server is silent that must not cost a second. */
const PATIENT = { patience: 2000, deadline: 6000 }, HASTY = { patience: 150, deadline: 450 };

type Scene = (dns: Resolver, asked: readonly Asked[]) => Promise<void>;

/** Everything else does not exist. `behaviours` by name. */
export async function withRecords(
  records: readonly DnsRecord[],
  scene: Scene,
  behaviours: Readonly<Record<string, Behaviour>> = {},
): Promise<void> {
  const asked: Asked[] = [];
  const zone = makeZone(records, new Map(Object.entries(behaviours)));
  const server = await serveZone(zone, { hear: (question) => asked.push(question) });
  const isSilent = Object.values(behaviours).some(({ does }) => does !== "servfail" && does !== "refused");
  const dns = new Resolver({ servers: [server.server], ...(isSilent ? HASTY : PATIENT) });
  try {
    await scene(dns, asked);
  } finally {
    await dns.close();
    await server.close();
  }
}

export async function withScript(script: Script, scene: (dns: Resolver) => Promise<void>): Promise<void> {
  const server = await serveScript(script);
  const dns = new Resolver({ servers: [server.server], ...PATIENT });
  try {
    await scene(dns);
  } finally {
    await dns.close();
    await server.close();
  }
}

export function txt(name: string, data: string, ttl = 60): DnsRecord {
  return { name, ttl, type: "TXT", data };
}
