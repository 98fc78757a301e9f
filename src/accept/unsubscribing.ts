/** Mail by which somebody asks one of our users for no more mail: its subject is that word alone. */

import { type Header, valueOf } from "../smtp/headers.ts";

export function asksToUnsubscribe(start: Uint8Array, { fields }: Header): boolean {
  const [subject, ...more] = fields.filter(({ name }) => name === "subject");
  return subject !== undefined && more.length === 0 && /^unsubscribe$/i.test(valueOf(start, subject));
}
