/** What others see of our certificate: its names, its time, and whether TLSA records and policies agree with it. */

import { createHash, X509Certificate } from "node:crypto";
import type { Dns, Tlsa } from "../dns/records.ts";
import { reasonOf } from "../log.ts";
import type { AcmeState } from "../tls/acme.ts";
import { isFor } from "../tls/certificate_names.ts";
import { doubtful, type Finding, fine, noAnswer, recordsIn, wrong } from "./finding.ts";
import { tlsaRecord } from "./records.ts";

/** DER, the leaf first. */
export type Chain = readonly Uint8Array[];

const DAY = 86_400_000;
/** Of an authority that renews after two thirds of 90 days, or of six. */
const LEFT = 1 / 5;
/** Milliseconds; what is under way for longer was cut off. */
const LONGEST_ORDER = 6 * 60_000;

export interface Seen {
  /** A port or a file. */
  readonly where: string;
  readonly chain: Chain;
  /** It has to be for this name. */
  readonly hostname?: string;
  /** Why a careful client would not believe it. */
  readonly distrust?: string;
  /** It comes from the authority in [tls.acme], or stands there until the first one comes. */
  readonly isOrdered?: boolean;
}

/** `now` in milliseconds since 1970. */
export function checkCertificate({ where, chain, hostname, distrust, isOrdered }: Seen, now: number): Finding {
  const subject = { topic: "certificate", about: where } as const;
  const leaf = new X509Certificate(chain[0] ?? new Uint8Array());
  const from = Date.parse(leaf.validFrom), to = Date.parse(leaf.validTo);
  const renew = "Renew it: see [tls] for where it lies or comes from.";
  if (to <= now) return wrong(subject, "certificate-expired", `expired on ${day(to)}`, renew);
  if (from > now) {
    const advice = "Look at the clock of this machine, or wait.";
    return wrong(subject, "certificate-early", `is not valid before ${day(from)}`, advice);
  }
  const names = leaf.subjectAltName?.replaceAll("DNS:", "") ?? leaf.subject;
  if (hostname !== undefined && !isFor(leaf, hostname)) {
    return wrong(
      subject,
      "certificate-name",
      `is for ${names}, and not for ${hostname}`,
      `Get one that names ${hostname}, or set hostname to a name that it has.`,
    );
  }
  const left = Math.floor((to - now) / DAY);
  if (to - now < (to - from) * LEFT) {
    return doubtful(subject, "certificate-expiring", `expires on ${day(to)}, in ${left} days`, renew);
  }
  if (distrust !== undefined) {
    return doubtful(
      subject,
      "certificate-unknown",
      `is for ${names} until ${day(to)}, and strangers do not believe it (${distrust})`,
      isOrdered
        ? "Mail programs refuse it until [tls.acme] brings one of an authority that they know: see what is said of that."
        : "Mail programs refuse it. See that the file has the whole chain, or get one by [tls.acme].",
    );
  }
  return fine(subject, `is for ${names} until ${day(to)}`);
}

/** How it stands with the authority that gives us certificates. `read` rejects when nobody can know. */
export async function checkAuthority(read: () => Promise<AcmeState>, now: number): Promise<Finding> {
  const subject = { topic: "certificate", about: "[tls.acme]" } as const;
  let state: AcmeState;
  try {
    state = await read();
  } catch (error) {
    return noAnswer(subject, reasonOf(error));
  }
  const { failures, lastError = "it does not say why", notAfter, nextAttempt, lastAttempt = 0, isUnderWay } = state;
  const next = nextAttempt <= now
    ? "now"
    : `on ${new Date(nextAttempt).toISOString().slice(0, 16).replace("T", " at ")} UTC`;
  if (isUnderWay && failures === 1 && now - lastAttempt < LONGEST_ORDER) return fine(subject, "an order is under way");
  if (failures === 0) {
    const held = notAfter === undefined ? "no certificate yet" : `a certificate until ${day(notAfter)}`;
    return fine(subject, `${held}; the next order is due ${next}`);
  }
  // The old one stays in use as long as it lives.
  const say = notAfter !== undefined && notAfter > now ? doubtful : wrong;
  return say(
    subject,
    "certificate-failing",
    `${failures} ${failures === 1 ? "order" : "orders"} failed, the last one so: ${lastError}`,
    `Put right what it says; the next order is due ${next}.`,
  );
}

/** Undefined when there is no record to agree with. */
export async function checkTlsa(hostname: string, chain: Chain, dns: Dns): Promise<Finding | undefined> {
  const name = `_25._tcp.${hostname}`, subject = { topic: "tlsa", about: name } as const;
  const answer = recordsIn(await dns.tlsa(name));
  if ("reason" in answer) return noAnswer(subject, answer.reason);
  // RFC 7672 §3.1.3: the other two mean nothing for mail.
  const records = answer.records.filter(({ usage }) => usage === 2 || usage === 3);
  if (answer.records.length === 0) return undefined;
  if (records.some((record) => isMet(record, chain))) return fine(subject, "agrees with our certificate");
  return wrong(
    subject,
    "tlsa-other",
    "does not agree with our certificate, so who checks it sends us nothing (RFC 7672)",
    "Remove all TLSA records of this name, or publish this one instead:",
    [tlsaRecord(hostname, `3 1 1 ${digest("sha256", selected(chain[0], 1)).toHex()}`)],
  );
}

function isMet({ usage, selector, matchingType, data }: Tlsa, chain: Chain): boolean {
  return (usage === 3 ? chain.slice(0, 1) : chain.slice(1)).some((certificate) => {
    const bytes = selected(certificate, selector);
    switch (matchingType) {
      case 0:
        return isSame(bytes, data);
      case 1:
        return isSame(digest("sha256", bytes), data);
      case 2:
        return isSame(digest("sha512", bytes), data);
      default:
        return false;
    }
  });
}

/** RFC 6698 §2.1.2: 0 is the whole certificate, 1 its public key. */
function selected(certificate: Uint8Array = new Uint8Array(), selector: number): Uint8Array {
  if (selector !== 1) return certificate;
  return new Uint8Array(new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" }));
}

function digest(algorithm: "sha256" | "sha512", bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(algorithm).update(bytes).digest());
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.toHex() === other.toHex();
}

function day(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}
