/**
 * What a message that one of our users submits has to be (RFC 6409 §6 and §8): from him or her, and complete.
 */

import { formatDate } from "../check/trace.ts";
import { addressKey, type Mailbox } from "../smtp/address.ts";
import { type Field, type Header, valueOf, withoutFields } from "../smtp/headers.ts";
import { parseAddressList } from "../smtp/originator.ts";
import { type Reply, reply } from "../smtp/reply.ts";

const ONE_FROM = reply(550, "5.6.0", "A message has exactly one From field with exactly one address");

const NOT_CLOSED = reply(550, "5.6.0", "The header holds a line that is no field");

/** The one address in From, or why there is none. */
export function originator(start: Uint8Array, header: Header): Mailbox | Reply {
  // Behind such a line another From may follow, and other programs would find it.
  if (!header.closed) return NOT_CLOSED;
  const [from, ...more] = header.fields.filter(({ name }) => name === "from");
  if (from === undefined || more.length > 0) return ONE_FROM;
  const [mailbox, ...others] = parseAddressList(valueOf(start, from)) ?? [];
  return mailbox === undefined || others.length > 0 ? ONE_FROM : mailbox;
}

export function isMailbox(found: Mailbox | Reply): found is Mailbox {
  return "local" in found;
}

/** Who may not write as this address. */
export function refuseStranger(from: Mailbox): Reply {
  return reply(550, "5.7.1", `From is ${addressKey(from)}, which is not one of your addresses`);
}

/** The beginning of the message with `Bcc` and `telling` taken out and a missing `Date` and `Message-ID` added. */
export function complete(
  start: Uint8Array,
  header: Header,
  telling: readonly Field[],
  facts: { readonly id: string; readonly domain: string; readonly at: number },
): Uint8Array {
  const names = new Set(header.fields.map(({ name }) => name));
  let added = "";
  if (!names.has("date")) added += `Date: ${formatDate(facts.at)}\r\n`;
  if (!names.has("message-id")) added += `Message-ID: <${facts.id}@${facts.domain}>\r\n`;
  const isOut = (field: Field) => field.name === "bcc" || field.name === "resent-bcc" || telling.includes(field);
  const kept = withoutFields(start, header.fields.filter(isOut));
  return added === "" ? kept : prepend(added, kept);
}

export function prepend(lines: string, bytes: Uint8Array): Uint8Array {
  const head = new TextEncoder().encode(lines);
  const all = new Uint8Array(head.length + bytes.length);
  all.set(head);
  all.set(bytes, head.length);
  return all;
}
