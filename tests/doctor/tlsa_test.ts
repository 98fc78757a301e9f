import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import type { Dns, Tlsa } from "../../src/dns/records.ts";
import { checkTlsa } from "../../src/doctor/certificate.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";

const PEM = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g;
const chain = ((await selfSigned(["mail.ours.test"])).certificate.match(PEM) ?? [])
  .map((pem) => new Uint8Array(new X509Certificate(pem).raw));
const [leaf = new Uint8Array(), authority = new Uint8Array()] = chain;

function keyOf(certificate: Uint8Array): Uint8Array {
  return new Uint8Array(new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" }));
}

function hash(algorithm: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(algorithm).update(bytes).digest());
}

function tlsa(usage: number, selector: number, matchingType: number, data: Uint8Array): Tlsa {
  return { usage, selector, matchingType, data };
}

async function told(...records: readonly Tlsa[]) {
  const dns = { tlsa: () => Promise.resolve({ outcome: "answer", records }) } as unknown as Dns;
  return await checkTlsa("mail.ours.test", chain, dns);
}

Deno.test("a TLSA record agrees with the leaf or the authority, whole or by its key, as it is or by its hash", async () => {
  for (
    const record of [
      tlsa(3, 1, 1, hash("sha256", keyOf(leaf))),
      tlsa(3, 0, 1, hash("sha256", leaf)),
      tlsa(3, 1, 2, hash("sha512", keyOf(leaf))),
      tlsa(3, 0, 0, leaf),
      tlsa(2, 0, 1, hash("sha256", authority)),
      tlsa(2, 1, 0, keyOf(authority)),
    ]
  ) assert.equal((await told(tlsa(3, 1, 1, new Uint8Array(32)), record))?.result, "ok", JSON.stringify(record));
});

Deno.test("a TLSA record that agrees with nothing is an error with the record to publish", async () => {
  assert.equal(await told(), undefined);
  for (
    const record of [
      tlsa(3, 1, 1, new Uint8Array(32)),
      // RFC 7672 §3.1.3: for mail these mean nothing, whatever is in them.
      tlsa(1, 1, 1, hash("sha256", keyOf(leaf))),
      tlsa(0, 0, 1, hash("sha256", authority)),
      // Of the other one of the chain.
      tlsa(3, 0, 1, hash("sha256", authority)),
      tlsa(2, 0, 1, hash("sha256", leaf)),
      tlsa(3, 1, 7, hash("sha256", keyOf(leaf))),
    ]
  ) {
    const finding = await told(record);
    assert.equal(finding?.fault, "tlsa-other", JSON.stringify(record));
    assert.equal(finding?.records?.[0]?.value, `3 1 1 ${hash("sha256", keyOf(leaf)).toHex()}`);
  }
});
