import assert from "node:assert/strict";
import { checkDkim } from "../../src/check/authenticity.ts";
import type { Dns } from "../../src/dns/records.ts";
import type { VerifyRequest } from "../../src/worker/verify.ts";
import { dnsOf } from "../support/delivery_job.ts";

const SIGNATURE = "DKIM-Signature: v=1; d=remote.test; s=one; b=AAAA\r\n";
const bytes = (text: string) => new TextEncoder().encode(text);

/** What happened, in order, while the signatures of a message with this header were looked at. */
async function looked(header: string): Promise<string[]> {
  const seen: string[] = [];
  const read = () => (seen.push("read"), Promise.resolve(bytes(`${header}\r\nHello.\r\n`)));
  const run = ({ message, keys }: VerifyRequest) => {
    const signatures = new TextDecoder().decode(message).split(SIGNATURE).length - 1;
    return seen.push(`verify ${signatures} with ${[...keys.keys()]}`), Promise.resolve([]);
  };
  const absent = { outcome: "no such name", authenticated: false, ttl: 0 } as const;
  const dns: Dns = { ...dnsOf({}), txt: () => Promise.resolve(absent) };
  await checkDkim(bytes(`${header}\r\n`), dns, read, run, (work) => (seen.push("turn"), work()));
  return seen;
}

Deno.test("a message without a signature is never read into memory", async () => {
  assert.deepEqual(await looked("From: carol@remote.test\r\n"), []);
});

Deno.test("a message is read in its turn, and at most five of its signatures are looked at", async () => {
  const header = `${SIGNATURE.repeat(7)}From: carol@remote.test\r\n`;
  assert.deepEqual(await looked(header), ["turn", "read", "verify 5 with one._domainkey.remote.test"]);
});
