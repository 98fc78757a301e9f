/**
 * A server as it should be: its real ports, its own config, and a DNS in which exactly those records stand that
 * `recordsOf` asks for. Faults are planted by changing lines of the zone.
 */

import { join } from "node:path";
import { patientOf } from "../../src/cli/doctor.ts";
import { loadConfig } from "../../src/config.ts";
import { examine, type Instruments } from "../../src/doctor/examine.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { formatRecord, recordsOf } from "../../src/doctor/records.ts";
import { openDns } from "../../src/server/inspection.ts";
import { silent } from "../../src/log.ts";
import type { Told } from "../../src/doctor/machine.ts";
import { type NameServer, serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { generateDkimKey } from "../../src/send/dkim_key.ts";
import { openServer, type Running } from "../../src/server/server.ts";
import { clockHandler, ClockWitness } from "../../src/status/clock_witness.ts";
import { askServer } from "../../src/status/control.ts";
import { openKv } from "../../src/store/kv.ts";
import { Users } from "../../src/store/users.ts";
import type { KeyPair } from "../../src/tls/certificates.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { CHEAP } from "../store/temporary_store.ts";

export const ADDRESS = "127.0.0.1";
export const DOMAINS = ["ours.test", "second.test", "third.test"] as const;
const HOSTNAME = "mail.ours.test", PROBE = "remote.test";
const PROBED = "127.0.0.2";

const PAIR = await selfSigned([HOSTNAME]);
const PEM = await generateDkimKey("ed25519");

export interface World {
  readonly folder: string;
  readonly config: string;
  readonly running: Running;
  /** Of the listeners: mx, submission, submissions. */
  readonly ports: readonly number[];
  /** A port of nobody. */
  readonly shut: number;
  readonly pair: KeyPair & { readonly authority: string };
  /** Lines of the zone as they should be. */
  readonly zone: readonly string[];
  /** From the next question on. */
  serve(zone: readonly string[]): void;
  /** A message that nobody can deliver now. */
  queueOne(): Promise<void>;
  /** What the doctor says. `rewrite` changes the text of the config, for the doctor alone. */
  examined(
    instruments?: Partial<Instruments>,
    rewrite?: (config: string) => string,
    addresses?: readonly string[],
  ): Promise<readonly Finding[]>;
}

export interface WorldSettings {
  /** Default: one for our name. */
  readonly pair?: KeyPair & { readonly authority: string };
}

export async function withWorld(work: (world: World) => Promise<void>, settings: WorldSettings = {}): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "maildemon-test-" }), config = join(folder, "config.toml");
  const pair = settings.pair ?? PAIR;
  const remote = greeter(PROBED);
  const [mx = 0, submission = 0, submissions = 0, shut = 0] = freePorts(4);
  const zone = rightZone();
  const names = await serveZone(parseZone(zone.join("\n")));
  let running: Running | undefined;
  try {
    await Deno.writeTextFile(join(folder, "fullchain.pem"), pair.certificate);
    await Deno.writeTextFile(join(folder, "privkey.pem"), pair.key, { mode: 0o600 });
    await Deno.writeTextFile(join(folder, "dkim.pem"), PEM, { mode: 0o600 });
    await Deno.writeTextFile(config, configOf([mx, submission, submissions], remote.port, names));
    await addAnn(join(folder, "store"));
    running = await openServer(await loadConfig(config), silent);
    await work({
      folder,
      config,
      running,
      ports: [mx, submission, submissions],
      shut,
      pair,
      zone,
      queueOne: () => queueOne(join(folder, "store")),
      serve: (lines) => names.replaceZone(parseZone(lines.join("\n"))),
      examined: (instruments, rewrite, addresses) =>
        examined(config, { authority: pair.authority, ...instruments }, rewrite, addresses),
    });
  } finally {
    await running?.stop();
    await names.close();
    await remote.close();
    await Deno.remove(folder, { recursive: true });
  }
}

async function examined(
  file: string,
  instruments: Partial<Instruments>,
  rewrite: (config: string) => string = (text) => text,
  addresses: readonly string[] = [ADDRESS],
): Promise<readonly Finding[]> {
  const rewritten = `${file}.doctor`;
  await Deno.writeTextFile(rewritten, rewrite(await Deno.readTextFile(file)));
  const config = await loadConfig(rewritten), dns = await openDns(config);
  try {
    return await examine(patientOf(config, config.domains, addresses, PROBE), {
      dns,
      ask: (what) => what === "clock" ? clock(0) : askServer(config.store, { do: what }),
      now: Date.now(),
      ...instruments,
    });
  } finally {
    await dns.close();
  }
}

async function addAnn(store: string): Promise<void> {
  const kv = await openKv({ store });
  try {
    const people = { domains: DOMAINS.map((name) => ({ name })), store, cost: CHEAP };
    await new Users(kv, people).add({ address: `ann@${DOMAINS[0]}`, password: "Tulip-7 garden" });
  } finally {
    kv.close();
  }
}

async function queueOne(store: string): Promise<void> {
  const message = new TextEncoder().encode(`From: ann@${DOMAINS[0]}\r\nTo: bob@deferred.test\r\n\r\nHello.\r\n`);
  const request = { do: "send", user: `ann@${DOMAINS[0]}`, recipients: ["bob@deferred.test"], size: message.length };
  const answer = await askServer(
    store,
    request,
    async function* () {
      yield await Promise.resolve(message);
    }(),
  );
  if (answer === "not running" || !answer.ok) throw new Error(`the message was not taken: ${JSON.stringify(answer)}`);
}

function rightZone(): string[] {
  const records = recordsOf({
    hostname: HOSTNAME,
    addresses: [ADDRESS],
    domains: DOMAINS.map((name) => ({ name, dkim: [{ selector: "s1", pem: PEM }] })),
  });
  return [
    "$TTL 0",
    ...records.map(formatRecord),
    `${PROBE}. IN MX 10 mx.${PROBE}.`,
    `mx.${PROBE}. IN A ${PROBED}`,
    "deferred.test. BEHAVE servfail",
  ];
}

function configOf(ports: readonly number[], remote: number, { server }: NameServer): string {
  const kinds = ["mx", "submission", "submissions"];
  return `hostname = "${HOSTNAME}"
store = "store"
${DOMAINS.map((name) => `[[domains]]\nname = "${name}"\ndkim = [{ selector = "s1", key = "dkim.pem" }]\n`).join("")}
${kinds.map((kind, at) => `[[listeners]]\naddress = "127.0.0.1:${ports[at]}"\nkind = "${kind}"\n`).join("")}
[dns]
servers = ["${server.address}:${server.port}"]
[tls]
certificate = "fullchain.pem"
key = "privkey.pem"
[checks]
helo = "reject"
dnsbl = [{ zone = "lists.test" }]
[outbound]
port = ${remote}
allow_private = ["127.0.0.0/8"]
[status]
listen = ""
`;
}

export function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname: ADDRESS, port: 0 }));
  const ports = listeners.map(({ addr }) => addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}

/** Somebody else's mail server, as far as a greeting. */
export function greeter(
  hostname: string,
  port = 0,
  greeting = "220 mx.remote.test ESMTP\r\n",
): { readonly port: number; close(): Promise<void> } {
  const listener = Deno.listen({ hostname, port }), open = new Set<Deno.TcpConn>();
  const serve = async (conn: Deno.TcpConn) => {
    open.add(conn);
    try {
      const buffer = new Uint8Array(1024);
      await conn.write(new TextEncoder().encode(greeting));
      while (await conn.read(buffer) !== null) await conn.write(new TextEncoder().encode("250 mx.remote.test\r\n"));
    } catch {
      // The caller has hung up.
    }
    if (open.delete(conn)) conn.close();
  };
  const accepting = (async () => {
    try {
      for await (const conn of listener) void serve(conn);
    } catch {
      // It is closed.
    }
  })();
  return {
    port: listener.addr.port,
    async close() {
      listener.close();
      for (const conn of open) if (open.delete(conn)) conn.close();
      await accepting;
    },
  };
}

/** What the server says of its clock when it is `ahead` milliseconds of those who write to us. */
export async function clock(ahead: number): Promise<Told> {
  const witness = new ClockWitness();
  for (const late of [0, 1000, 2000, 60_000, 86_400_000]) {
    witness.saw(new Date(1.8e12).toUTCString().replace("GMT", "+0000 (UTC)"), 1.8e12 + ahead + late);
  }
  return { ok: true, value: await clockHandler(witness)({ do: "clock" }, (async function* () {})()) };
}

/** `mx-missing ours.test` for each that is not ok, sorted. */
export function faultsIn(findings: readonly Finding[]): string[] {
  return findings.flatMap(({ fault, about }) => fault === undefined ? [] : [`${fault} ${about}`]).sort();
}
