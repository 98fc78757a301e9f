/** Jobs of a queue, and a DNS that knows what a test tells it. */

import type { Dns, Lookup, Mx } from "../../src/dns/records.ts";
import type { Content, Envelope, Job, Recipient } from "../../src/queue/entry.ts";

export const text = new TextEncoder();

/** The message in pieces of `size` bytes. */
export function contentOf(message: string | Uint8Array, size = 256 * 1024): Content {
  const bytes = typeof message === "string" ? text.encode(message) : message;
  return {
    size: bytes.length,
    async *pieces() {
      for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
    },
  };
}

export const MESSAGE = "From: ann@dev.test\r\nTo: bob@remote.test\r\nSubject: hello\r\n\r\nHello.\r\n";

export function remote(address: string, more: Partial<Recipient> = {}): Recipient {
  return { address, target: { to: "remote", address }, ...more };
}

export function maildir(address: string, path: string): Recipient {
  return { address, target: { to: "maildir", path } };
}

let count = 0;

export function jobOf(
  recipients: readonly Recipient[],
  message: string | Uint8Array | Content = MESSAGE,
  { uncertain = false, ...envelope }: Partial<Envelope> & { readonly uncertain?: boolean } = {},
): Job {
  return {
    id: `job${++count}`,
    envelope: {
      sender: "ann@dev.test",
      recipients,
      body: "8BITMIME",
      smtputf8: false,
      source: { by: "submission" },
      arrived: 1_700_000_000_000,
      ...envelope,
    },
    recipients: recipients.map((_, index) => index),
    content: typeof message === "object" && "pieces" in message ? message : contentOf(message),
    uncertain,
  };
}

export interface ZoneOfNames {
  readonly a?: Readonly<Record<string, readonly string[]>>;
  readonly aaaa?: Readonly<Record<string, readonly string[]>>;
  /** `10 mx.remote.test`; `0 ` is the null MX. */
  readonly mx?: Readonly<Record<string, readonly string[]>>;
  /** Names whose look-ups fail. */
  readonly failing?: readonly string[];
}

export function dnsOf({ a = {}, aaaa = {}, mx = {}, failing = [] }: ZoneOfNames): Dns {
  const names = new Set([a, aaaa, mx].flatMap((zone) => Object.keys(zone)));
  const find = <T>(zone: Readonly<Record<string, readonly T[]>>, name: string): Promise<Lookup<T>> => {
    const records = zone[name];
    if (failing.includes(name)) return Promise.resolve({ outcome: "server failed", reason: "SERVFAIL" });
    if (records !== undefined) {
      return Promise.resolve({ outcome: "answer", records, name, authenticated: false, ttl: 60 });
    }
    return Promise.resolve({ outcome: names.has(name) ? "no data" : "no such name", authenticated: false, ttl: 60 });
  };
  const exchanges = Object.fromEntries(
    Object.entries(mx).map(([name, lines]) => [
      name,
      lines.map((line): Mx => ({ preference: Number(line.split(" ")[0]), exchange: line.split(" ")[1] ?? "" })),
    ]),
  );
  const never = () => Promise.reject(new Error("Sending asks for addresses and MX only."));
  return {
    a: (name) => find(a, name),
    aaaa: (name) => find(aaaa, name),
    mx: (name) => find(exchanges, name),
    txt: never,
    ptr: never,
    tlsa: never,
    ask: never,
  };
}
