/**
 * Sender Rewriting Scheme: who forwards mail sends it under an address of his own, or SPF would fail at the target; and
 * what bounces to that address finds its way back to the sender. http://www.libsrs2.net/srs/srs.pdf, as others read it:
 *
 *   carol@remote.test            → SRS0=HASH=TT=remote.test=carol@ours.test
 *   SRS0=…@first.test            → SRS1=HASH=first.test==…@ours.test        (the bounce goes to the first forwarder)
 *   SRS1=…=first.test==…@second  → SRS1=HASH=first.test==…@ours.test
 *   anything that is too long    → SRS0=HASH=TT=-=TOKEN@ours.test           (ours alone: TOKEN stands for a stored one)
 *
 * TT is the day it was made. A local part has at most 64 octets (RFC 5321 §4.5.3.1.1), and the senders of most bulk
 * mail do not fit into it with a host and a hash beside them; servers that count refuse what others send then.
 */

import { formatMailbox, type Mailbox, MAX_LOCAL, octets, parseDomain, parseMailbox } from "./address.ts";

/** Keyed hash of a text: eight signs of the alphabet below. */
export type Hash = (text: string) => string;

export type Read =
  | { readonly is: "sender"; readonly sender: Mailbox }
  /** The sender has to be looked up. */
  | { readonly is: "stored"; readonly token: string }
  | { readonly is: "forged" | "expired" };

/** RFC 4648 in lower case: some servers change the case of what they return. */
export const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/** Days: longer than others try to deliver, and some think before they bounce. */
const VALID = 21;
/** Days that our own clock may have been ahead when it was made. */
const AHEAD = 3;
/** Two signs of the alphabet. */
const CYCLE = 1024;
const STORED = "-";

/** Whether it is a return path of somebody who forwards, by its look. */
export function isSrs({ local }: Mailbox): boolean {
  return /^SRS[01][-+=]/i.test(local);
}

/** The address at `domain` under which mail of `sender` is forwarded; undefined when it is too long. */
export function srsOf(sender: Mailbox, domain: string, hash: Hash, now: number): string | undefined {
  const first = readForeign(sender);
  const local = first === undefined
    ? srs0(stampOf(now), sender.domain, sender.local, domain, hash)
    : `SRS1=${hash(hashed("1", domain, "", first.host, first.rest))}=${first.host}=${first.rest}`;
  return octets(local) <= MAX_LOCAL ? formatMailbox({ local, domain }) : undefined;
}

/** The same for a sender that is stored under `token`, signs of the alphabet. */
export function srsOfStored(token: string, domain: string, hash: Hash, now: number): string {
  return formatMailbox({ local: srs0(stampOf(now), STORED, token, domain, hash), domain });
}

/** Reads an address for which `isSrs`. `hashes`: one for each key that is still believed. */
export function readSrs({ local, domain }: Mailbox, hashes: readonly Hash[], now: number): Read {
  const [, kind, text = ""] = /^SRS([01])[-+=](.*)$/is.exec(local) ?? [];
  const [, given = "", more = ""] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  const [, one = "", two = ""] = /^([^=]*)=(.*)$/s.exec(more) ?? [];
  const isGenuine = (stamp: string, host: string, rest: string) =>
    hashes.some((hash) => isSame(given, hash(hashed(kind ?? "", domain, stamp, host, rest))));
  if (kind === "1") {
    if (!isGenuine("", one, two)) return { is: "forged" };
    const sender = parseMailbox(formatMailbox({ local: `SRS0${two}`, domain: one }));
    return sender === undefined ? { is: "forged" } : { is: "sender", sender };
  }
  const [, host = "", rest = ""] = /^([^=]+)=(.+)$/s.exec(two) ?? [];
  if (!isGenuine(one, host, rest)) return { is: "forged" };
  if (!isValid(one, now)) return { is: "expired" };
  if (host === STORED) return { is: "stored", token: rest.toLowerCase() };
  const sender = parseMailbox(formatMailbox({ local: rest, domain: host }));
  return sender === undefined ? { is: "forged" } : { is: "sender", sender };
}

function srs0(stamp: string, host: string, rest: string, domain: string, hash: Hash): string {
  return `SRS0=${hash(hashed("0", domain, stamp, host, rest))}=${stamp}=${host}=${rest}`;
}

/** Who forwarded first, and what stood behind SRS0 there, with its separator. */
function readForeign(sender: Mailbox): { readonly host: string; readonly rest: string } | undefined {
  const [, kind, rest = ""] = /^SRS([01])([-+=].*)$/is.exec(sender.local) ?? [];
  if (kind === "0") return { host: sender.domain, rest };
  const [, host = "", inner = ""] = /^[-+=][^=]+=([^=]+)=([-+=].+)$/s.exec(rest) ?? [];
  return kind === "1" && parseDomain(host) !== undefined ? { host, rest: inner } : undefined;
}

/** What a hash covers. Our domain is in it: a return path of one of our domains is none of another. */
function hashed(kind: string, domain: string, stamp: string, host: string, rest: string): string {
  return [kind, domain, stamp, host, rest].join("\n").toLowerCase();
}

function stampOf(now: number): string {
  const day = dayOf(now);
  return `${BASE32[day >> 5]}${BASE32[day & 31]}`;
}

function isValid(stamp: string, now: number): boolean {
  const [high = -1, low = -1] = Array.from(stamp.toLowerCase(), (sign) => BASE32.indexOf(sign));
  if (stamp.length !== 2 || high < 0 || low < 0) return false;
  const age = (dayOf(now) - (high * 32 + low) + CYCLE) % CYCLE;
  return age <= VALID || age >= CYCLE - AHEAD;
}

function dayOf(now: number): number {
  return Math.trunc(now / (24 * 3600_000)) % CYCLE;
}

/** In the same time, however much of it is right. */
function isSame(given: string, right: string): boolean {
  const said = given.toLowerCase();
  let differs = said.length ^ right.length;
  for (let at = 0; at < right.length; at++) differs |= said.charCodeAt(at) ^ right.charCodeAt(at);
  return differs === 0;
}
