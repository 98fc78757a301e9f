/** Everything the doctor looks at, all at once. Nothing is changed and no mail is sent. */

import type { Blocklist } from "../check/dnsbl.ts";
import type { Dns } from "../dns/records.ts";
import { reasonOf } from "../log.ts";
import type { AcmeState } from "../tls/acme.ts";
import { checkAuthorPolicy } from "./author_policy.ts";
import { checkAuthority, checkCertificate, checkTlsa, type Seen } from "./certificate.ts";
import { doubtful, type Finding, fine, noAnswer, wrong } from "./finding.ts";
import { checkClock, checkDisk, checkQueue, type Space, type Told } from "./machine.ts";
import { checkMx } from "./mail_exchange.ts";
import { checkOutward, type Outward } from "./outward.ts";
import { checkLists, checkName, checkPtr } from "./own_name.ts";
import { checkPort, type Port } from "./ports.ts";
import { endedBy, lookUpHost } from "./questions.ts";
import { type DomainKeys, helloSpfRecord, spfRecord } from "./records.ts";
import { checkSenderPolicy } from "./sender_policy.ts";
import { checkKeys } from "./signing_keys.ts";
import { checkTransportPolicy, type PolicySettings } from "./transport_policy.ts";

export interface Patient {
  readonly hostname: string;
  readonly domains: readonly DomainKeys[];
  /** Public ones of this machine; none when they are not known. */
  readonly addresses: readonly string[];
  readonly listeners: readonly Port[];
  /** Milliseconds that callers wait for our greeting. */
  readonly greetDelay: number;
  /** Whether we have to offer TLS. */
  readonly tls: boolean;
  /** The certificates as they lie on the disk, the one for our name first. */
  readonly certificates: readonly Required<Pick<Seen, "where" | "chain">>[];
  readonly store: string;
  /** Bytes. */
  readonly maxMessage: number;
  readonly dnsbl: readonly Blocklist[];
  readonly outbound: Pick<Outward, "route" | "smarthost" | "port" | "probe">;
  /** Milliseconds. */
  readonly warnAfter: number;
}

export interface Instruments {
  readonly dns: Dns;
  /** Asks the running server. Rejects when it cannot be asked. */
  readonly ask: (what: "queue.stats" | "clock") => Promise<Told>;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** How it stands with the authority of our certificates, when there is one. */
  readonly acme?: () => Promise<AcmeState>;
  /** Whom to believe at our own ports. Default: the authorities that everybody knows. */
  readonly authority?: string;
  /** Default: that of the file system, and https as everybody has it. */
  readonly spaceOf?: (folder: string) => Promise<Space>;
  readonly policies?: Pick<PolicySettings, "port" | "authority">;
  /** Called when a part is done. */
  readonly progress?: (done: number, all: number) => void;
}

/** Milliseconds: for a call, for all look-ups together, for any part; with what ends them, all is over in half a minute. */
const CALL = 10_000, LOOK_UPS = 22_000, PART = 26_000;

type Part = () => Promise<Finding | readonly Finding[] | undefined>;

/** Never rejects for what it finds; a part that breaks says so. */
export async function examine(patient: Patient, instruments: Instruments): Promise<readonly Finding[]> {
  const began = performance.now(), lookUps = new AbortController(), timer = setTimeout(() => lookUps.abort(), LOOK_UPS);
  try {
    const dns = endedBy(instruments.dns, lookUps.signal);
    const known = patient.addresses.length > 0;
    const { addresses } = known ? patient : await lookUpHost(patient.hostname, dns);
    const parts = [
      ...machineParts(patient, instruments, dns),
      ...known ? [] : [() => Promise.resolve(hidden(patient.hostname, addresses))],
      ...worldParts({ ...patient, addresses }, instruments, dns, lookUps.signal),
    ];
    let done = 0;
    const findings = await Promise.all(parts.map(async (part) => {
      const found = await within(began + PART - performance.now(), part);
      instruments.progress?.(++done, parts.length);
      return found ?? [];
    }));
    return findings.flat();
  } finally {
    clearTimeout(timer);
  }
}

function machineParts(patient: Patient, instruments: Instruments, dns: Dns): Part[] {
  const { store, maxMessage, warnAfter } = patient, { ask, now, spaceOf, acme } = instruments;
  const stats = asked(ask, "queue.stats"), clock = asked(ask, "clock");
  return [
    async () => serverOf(await stats, store),
    async () => await portsOf(patient, await stats !== "not running", instruments, dns),
    ...acme === undefined ? [] : [() => checkAuthority(acme, now)],
    async () => checkQueue(await stats, warnAfter, now),
    async () => checkClock(await clock),
    async () => await checkDisk(store, maxMessage, spaceOf),
  ];
}

function worldParts(patient: Patient, { policies }: Instruments, dns: Dns, signal: AbortSignal): Part[] {
  const { hostname, domains, addresses, dnsbl, outbound } = patient;
  const us = { hostname, addresses }, direct = outbound.route !== "smarthost";
  const hello = { name: hostname, wanted: helloSpfRecord(hostname), direct };
  return [
    () => checkName(hostname, addresses, dns),
    ...addresses.flatMap((address): Part[] => [
      () => checkPtr(hostname, address, direct, dns),
      () => checkLists(address, dnsbl, dns, signal),
    ]),
    ...domains.some(({ name }) => name === hostname) ? [] : [() => checkSenderPolicy(hello, us, dns)],
    ...domains.flatMap((domain): Part[] => [
      () => checkMx(domain.name, us, dns),
      () => checkSenderPolicy({ name: domain.name, wanted: spfRecord(domain.name), direct }, us, dns),
      () => checkKeys(domain, dns),
      () => checkAuthorPolicy(domain.name, dns),
      () => checkTransportPolicy(domain.name, hostname, { port: 443, ...policies, patience: CALL }, dns),
    ]),
    () => checkOutward({ ...outbound, hostname, patience: CALL }, dns),
  ];
}

/** The ports, and what they present. */
async function portsOf(
  { hostname, listeners, greetDelay, tls, certificates }: Patient,
  isRunning: boolean,
  { now, authority, acme }: Instruments,
  dns: Dns,
): Promise<readonly Finding[]> {
  const settings = { hostname, tls, patience: CALL, greetDelay, ...(authority !== undefined && { authority }) };
  const checked = await Promise.all(listeners.map(async (port) => ({
    ...await checkPort(port, settings, isRunning),
    at: port,
  })));
  // Each certificate once, however many ports present it.
  const presented = new Map<string, Pick<Seen, "chain" | "distrust"> & { readonly ports: number[] }>();
  for (const { chain, distrust, at } of checked) {
    if (chain?.[0] === undefined) continue;
    const key = chain[0].toHex(), ports = presented.get(key)?.ports ?? [];
    presented.set(key, {
      chain,
      ...(distrust !== undefined && { distrust }),
      ports: [...ports, at.port].sort((one, other) => one - other),
    });
  }
  const onDisk = new Set(certificates.map(({ chain }) => chain[0]?.toHex()));
  const seen: Seen[] = [...presented].map(([key, { ports, ...shown }]) => ({
    ...shown,
    where: `port ${ports.join(", ")}`,
    hostname,
    isOrdered: acme !== undefined && !onDisk.has(key),
  }));
  for (const [index, file] of certificates.entries()) {
    if (file.chain[0] === undefined || presented.has(file.chain[0].toHex())) continue;
    seen.push(index === 0 && presented.size === 0 ? { ...file, hostname } : file);
  }
  const toOthers = checked.find(({ chain, at }) => at.kind === "mx" && chain !== undefined)?.chain ??
    certificates[0]?.chain;
  const pinned = toOthers && await checkTlsa(hostname, toOthers, dns);
  return [
    ...checked.flatMap(({ findings }) => findings),
    ...seen.map((one) => checkCertificate(one, now)),
    ...pinned === undefined ? [] : [pinned],
  ];
}

async function asked(ask: Instruments["ask"], what: "queue.stats" | "clock"): Promise<Told> {
  try {
    return await ask(what);
  } catch (error) {
    return { ok: false, error: reasonOf(error) };
  }
}

function serverOf(told: Told, store: string): Finding {
  const subject = { topic: "server", about: store } as const;
  if (told === "not running") {
    const advice = "Start it: maildemon serve, or the service (systemctl start maildemon).";
    return wrong(subject, "server-stopped", "no server runs on this store", advice);
  }
  return fine(subject, told.ok ? "runs" : "is there");
}

function hidden(hostname: string, assumed: readonly string[]): Finding {
  const found = "this machine has no public address of its own (it may be behind a NAT)";
  return doubtful(
    { topic: "name", about: hostname },
    "no-address",
    assumed.length > 0 ? `${found}; those of ${hostname} are taken for ours: ${assumed.join(", ")}` : found,
    "Say the address under which the world reaches it: maildemon doctor --address IP.",
  );
}

/** A part that does not come to its end must not keep the others from being told. */
async function within(patience: number, part: Part): ReturnType<Part> {
  const subject = { topic: "server", about: "doctor" } as const;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<Finding>((resolve) => {
    timer = setTimeout(() => resolve(noAnswer(subject, "a check took too long")), patience);
  });
  try {
    return await Promise.race([part(), late]);
  } catch (error) {
    return noAnswer(subject, `a check broke off: ${reasonOf(error)}`);
  } finally {
    clearTimeout(timer);
  }
}
