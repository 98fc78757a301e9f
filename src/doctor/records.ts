/** What has to stand in the DNS, so that mail for our domains comes to us and mail of theirs is believed. */

import { reverseName } from "../dns/name.ts";
import { dkimRecord, dkimRecordName } from "../send/dkim_key.ts";

export interface Wanted {
  /** Our name in greetings, to which the MX records lead. */
  readonly hostname: string;
  readonly domains: readonly DomainKeys[];
  /** Public addresses of this machine, in their shortest form. */
  readonly addresses: readonly string[];
}

export interface DomainKeys {
  readonly name: string;
  /** `pem`: the private key. */
  readonly dkim: readonly { readonly selector: string; readonly pem: string }[];
}

export interface PublishedRecord {
  /** In full, without a final dot. */
  readonly name: string;
  readonly type: "MX" | "A" | "AAAA" | "PTR" | "TXT" | "TLSA";
  /** Names in full and without a final dot; the text of TXT without quotation marks. */
  readonly value: string;
  /** What it is for: half a sentence. */
  readonly purpose: string;
  readonly where: "at your DNS provider" | "at whoever gave you the address";
}

/** What to do about a record that is missing, and about one that is wrong; the right one stands behind it. */
export const PUBLISH = "Publish this record at your DNS provider:", INSTEAD = "Publish this record instead:";

/** In the order in which they are published. Throws when a key is neither RSA nor Ed25519. */
export function recordsOf({ hostname, domains, addresses }: Wanted): PublishedRecord[] {
  return [
    ...addresses.map((address) => addressRecord(hostname, address)),
    ...addresses.map((address) => ptrRecord(hostname, address)),
    // Where our name is a domain of its own, that one's record is about it too: a name has one SPF record.
    ...domains.some(({ name }) => name === hostname) ? [] : [helloSpfRecord(hostname)],
    ...domains.flatMap(({ name, dkim }) => [
      mxRecord(name, hostname),
      spfRecord(name),
      ...dkim.map(({ selector, pem }) => keyRecord(name, selector, dkimRecord(pem))),
      dmarcRecord(name),
    ]),
  ];
}

export function mxRecord(domain: string, hostname: string): PublishedRecord {
  return atProvider(domain, "MX", `10 ${hostname}`, `brings mail for ${domain} to us`);
}

export function addressRecord(hostname: string, address: string): PublishedRecord {
  return atProvider(hostname, address.includes(":") ? "AAAA" : "A", address, "where our name leads");
}

export function ptrRecord(hostname: string, address: string): PublishedRecord {
  return {
    name: reverseName(address) ?? address,
    type: "PTR",
    value: hostname,
    purpose: `the name of ${address}, without which many refuse our mail`,
    where: "at whoever gave you the address",
  };
}

export function spfRecord(domain: string, value = "v=spf1 mx -all"): PublishedRecord {
  return atProvider(domain, "TXT", value, `who may send mail of ${domain}: its mail servers, nobody else (SPF)`);
}

/** For bounces: they have no sender, and receivers look at the name we greet with (RFC 7208 §2.4). */
export function helloSpfRecord(hostname: string): PublishedRecord {
  return atProvider(hostname, "TXT", "v=spf1 a -all", "who may greet with our name: we, nobody else (SPF)");
}

/** `value`: what `dkimRecord` says of the key. */
export function keyRecord(domain: string, selector: string, value: string): PublishedRecord {
  return atProvider(dkimRecordName(domain, selector), "TXT", value, `the key to our signatures for ${domain} (DKIM)`);
}

export function dmarcRecord(domain: string): PublishedRecord {
  const value = `v=DMARC1; p=quarantine; rua=mailto:postmaster@${domain}`;
  return atProvider(`_dmarc.${domain}`, "TXT", value, "what becomes of mail that only pretends to be yours (DMARC)");
}

/** `value`: usage, selector, matching type and the data in hexadecimal. */
export function tlsaRecord(hostname: string, value: string): PublishedRecord {
  return atProvider(`_25._tcp.${hostname}`, "TLSA", value, "pins the key of our certificate (DANE)");
}

function atProvider(
  name: string,
  type: PublishedRecord["type"],
  value: string,
  purpose: string,
): PublishedRecord {
  return { name, type, value, purpose, where: "at your DNS provider" };
}

/**
 * Lines for a zone file (RFC 1035 §5), without a line end at the end. PTR records are comments: they belong in the zone
 * of whoever gave the address, and a zone of ours with such a line in it would not load.
 */
export function formatZone(records: readonly PublishedRecord[]): string {
  const ours = records.filter(({ type }) => type !== "PTR"), theirs = records.filter(({ type }) => type === "PTR");
  const lines = ours.flatMap((record) => [`; ${record.purpose}`, formatRecord(record)]);
  if (theirs.length > 0) lines.push("; Not for this zone: ask whoever gave you the address to set");
  return [...lines, ...theirs.map((record) => `; ${formatRecord(record)}`)].join("\n");
}

/** One line of a zone file. */
export function formatRecord({ name, type, value }: PublishedRecord): string {
  const names = type === "MX" || type === "PTR";
  return `${name}. IN ${type} ${type === "TXT" ? quoted(value) : names ? `${value}.` : value}`;
}

// RFC 1035 §3.3: the length of a character-string is one octet.
const MAX_STRING = 255;

function quoted(text: string): string {
  const strings = text.match(new RegExp(`[^]{1,${MAX_STRING}}`, "g")) ?? [""];
  return strings.map((part) => `"${part.replace(/["\\]/g, "\\$&")}"`).join(" ");
}
