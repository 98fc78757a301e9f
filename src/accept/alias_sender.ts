/**
 * What a user writes as an alias shows none of his other addresses: the sender of the envelope, to which bounces go and
 * which is the Return-Path at the other side, is the alias too, and fields that mail programs add by themselves and that
 * name another one are left out. Whom he writes to, and what, is his own word and stays.
 */

import { addressKey, type Mailbox, withoutTag } from "../smtp/address.ts";
import { type Field, type Header, valueOf } from "../smtp/headers.ts";
import { parseAddressList } from "../smtp/originator.ts";

const TELLING = new Set([
  "sender",
  "reply-to",
  "return-path",
  "errors-to",
  "return-receipt-to",
  "disposition-notification-to",
  "delivered-to",
  "x-original-to",
  "x-sender",
  "x-envelope-from",
  "x-authenticated-sender",
  "x-confirm-reading-to",
]);

/** The fields that would tell. `others`: his other addresses as `addressKey`s. */
export function tellingFields(start: Uint8Array, { fields }: Header, others: readonly string[]): Field[] {
  if (others.length === 0) return [];
  return fields.filter((field) => {
    if (!TELLING.has(field.name)) return false;
    const value = valueOf(start, field), named = parseAddressList(value);
    // What cannot be read by us may be read by somebody.
    if (named === undefined) return others.some((other) => value.normalize("NFC").toLowerCase().includes(other));
    return named.some((one) => others.includes(addressKey(withoutTag(one))));
  });
}

/** Whether both are one address but for their tags. */
export function isSameAddress(one: Mailbox, other: Mailbox): boolean {
  return addressKey(withoutTag(one)) === addressKey(withoutTag(other));
}
