/**
 * Addresses as RFC 5321 §4.1.2 writes them. Parsed by hand, in one pass, because the notation in which somebody
 * names a recipient is the first thing an attacker plays with: there is one parser, and what it does not know it refuses.
 */

export interface Mailbox {
  /** Without quotes and backslashes: `"a b"@x` has the local part `a b`. */
  readonly local: string;
  /** Lower case, A-labels; an address literal keeps its brackets. */
  readonly domain: string;
}

/** What RCPT may name besides a mailbox (RFC 5321 §4.1.1.3). It stands for the postmaster of our first domain. */
export type Recipient = Mailbox | "postmaster";

/** RFC 5321 §4.5.3.1.1: the most that everybody takes. We take more: forwarders make longer ones of other people's. */
export const MAX_LOCAL = 64;
// RFC 5321 §4.5.3.1.2–3. A path with its brackets has 256 octets.
const MAX_DOMAIN = 255, MAX_ADDRESS = 254;

const ATEXT = /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\u{10ffff}]+$/u;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
// deno-lint-ignore no-control-regex
const NOT_ASCII = /[^\x00-\x7f]/;
// Controls, signs that turn the direction of text, halves of pairs, blanks that are not the plain one.
const UNSEEN = /\p{C}|[^ \P{Z}]/u;
const IDN = /^[a-z0-9._\-\u0080-\u{10ffff}]+$/u;

/** `local@domain`. Undefined for anything else: source routes, brackets, comments and blanks have no place here. */
export function parseMailbox(text: string): Mailbox | undefined {
  const cut = text.startsWith('"') ? endOfQuoted(text) : text.indexOf("@");
  if (cut < 1 || text[cut] !== "@") return undefined;
  const local = parseLocal(text.slice(0, cut));
  const domain = parseDomain(text.slice(cut + 1));
  if (local === undefined || domain === undefined) return undefined;
  if (octets(local) + 1 + domain.length > MAX_ADDRESS) return undefined;
  return { local, domain };
}

/** The path of MAIL FROM: `<>` is null. Undefined when it is not a path. */
export function parseReversePath(text: string): Mailbox | null | undefined {
  if (text === "<>") return null;
  return parsePath(text);
}

/** The path of RCPT TO. */
export function parseForwardPath(text: string): Recipient | undefined {
  return text.toLowerCase() === "<postmaster>" ? "postmaster" : parsePath(text);
}

function parsePath(text: string): Mailbox | undefined {
  if (!text.startsWith("<") || !text.endsWith(">")) return undefined;
  let inner = text.slice(1, -1);
  if (inner.startsWith("@")) {
    // RFC 5321 Appendix C: a source route is understood and ignored. What counts is the mailbox behind the colon.
    const colon = inner.indexOf(":");
    if (colon < 0 || !inner.slice(0, colon).split(",").every((hop) => hop[0] === "@" && parseDomain(hop.slice(1)))) {
      return undefined;
    }
    inner = inner.slice(colon + 1);
  }
  return parseMailbox(inner);
}

/** Index behind the closing quote, or -1. */
function endOfQuoted(text: string): number {
  for (let at = 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
  return -1;
}

function parseLocal(text: string): string | undefined {
  if (UNSEEN.test(text)) return undefined;
  if (!text.startsWith('"')) return text.split(".").every((atom) => ATEXT.test(atom)) ? text : undefined;
  const plain = text.slice(1, -1).replace(/\\(.)/gu, "$1");
  return plain === "" ? undefined : plain;
}

/** A domain name or an address literal, brought to the form in which domains are compared; or undefined. */
export function parseDomain(text: string): string | undefined {
  if (text.startsWith("[")) return parseLiteral(text);
  let name = text.toLowerCase();
  if (NOT_ASCII.test(name)) {
    // RFC 5891 by way of the URL parser. Only names that need it go there: it reads `0x7f.1` as an IP address, and
    // for it the name would begin behind an @ and end at a slash.
    if (!IDN.test(name)) return undefined;
    try {
      name = new URL(`http://${name}/`).hostname;
    } catch {
      return undefined;
    }
    if (!name.includes("xn--")) return undefined;
  }
  return name.length <= MAX_DOMAIN && name.split(".").every((label) => LABEL.test(label)) ? name : undefined;
}

function parseLiteral(text: string): string | undefined {
  const inner = /^\[(.+)\]$/.exec(text)?.[1];
  if (inner === undefined) return undefined;
  if (/^(\d{1,3}\.){3}\d{1,3}$/.test(inner)) {
    return inner.split(".").every((part) => Number(part) < 256) ? text : undefined;
  }
  return /^IPv6:[0-9a-f:.]{2,45}$/i.test(inner) ? `[${inner.toLowerCase().replace("ipv6", "IPv6")}]` : undefined;
}

/** `local@domain`, quoted when it has to be. */
export function formatMailbox({ local, domain }: Mailbox): string {
  return `${formatLocal(local)}@${domain}`;
}

function formatLocal(local: string): string {
  if (local.split(".").every((atom) => ATEXT.test(atom))) return local;
  return `"${local.replace(/(["\\])/g, "\\$1")}"`;
}

/** The form in which two addresses are compared: our users are told apart without regard to case. */
export function addressKey({ local, domain }: Mailbox): string {
  return `${local.normalize("NFC").toLowerCase()}@${domain}`;
}

/** What stands behind the last @ of `local@domain`. */
export function domainOf(address: string): string {
  return address.slice(address.lastIndexOf("@") + 1);
}

/** `ann+news@x` is a way to write to `ann@x`. */
export function withoutTag(mailbox: Mailbox): Mailbox {
  const plus = mailbox.local.indexOf("+");
  return plus < 1 ? mailbox : { ...mailbox, local: mailbox.local.slice(0, plus) };
}

/** True when the address can only be written with SMTPUTF8 (RFC 6531). */
export function needsUtf8({ local }: Mailbox): boolean {
  return NOT_ASCII.test(local);
}

const utf8 = new TextEncoder();
export function octets(text: string): number {
  return utf8.encode(text).length;
}
