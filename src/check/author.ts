/** Whose domain a message is from, when that can be said (RFC 5322 §3.6.2, RFC 9989 §5.3.1). */

import type { Mailbox } from "../smtp/address.ts";
import { type Field, type Header, type HeaderLimits, readHeader, valueOf } from "../smtp/headers.ts";
import { parseAddressList } from "../smtp/originator.ts";

/** Of a header that is looked into for a check. */
export const HEADER_LIMITS: HeaderLimits = { maxHeader: 1 << 18, maxFields: 1000, maxFolds: 500 };

/** Octets. Each address in it costs time on the thread of all sessions. */
const MAX_FROM = 8192;

export function isAuthorField({ name }: Field): boolean {
  return name === "from";
}

/**
 * The domain of the one address in the one From field; `start` holds at least the header. Anything else is a problem:
 * where two programs may read two authors, nothing can be said about either.
 */
export function authorDomain(start: Uint8Array): { readonly domain: string } | { readonly problem: string } {
  const header = readHeader(start, HEADER_LIMITS);
  if (typeof header === "string") return { problem: `the header is ${header}` };
  return authorOf(start, header);
}

/** The one address in the one From field, with its domain. */
export function authorOf(start: Uint8Array, { fields, closed }: Header): Mailbox | { readonly problem: string } {
  // Behind such a line another From may follow, and other programs would find it.
  if (!closed) return { problem: "the header holds a line that is no field" };
  const [from, ...more] = fields.filter(isAuthorField);
  if (from === undefined) return { problem: "there is no From" };
  if (more.length > 0) return { problem: "there is more than one From" };
  if (from.to - from.value > MAX_FROM) return { problem: `From is longer than ${MAX_FROM} octets` };
  const mailboxes = parseAddressList(valueOf(start, from));
  const [mailbox, ...others] = mailboxes ?? [];
  if (mailbox === undefined) return { problem: mailboxes ? "From holds no address" : "From cannot be read" };
  return others.length > 0 ? { problem: "From holds more than one address" } : mailbox;
}
