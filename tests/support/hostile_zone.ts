/** Names whose records are made to cost time. Every name is new to who asks, thanks to wildcards. */

import type { SigningKey } from "./signed_letter.ts";

/** Octets that a TXT record can have in the zones of the sandbox. */
const LONGEST = 64_000;

export function hostileZone(key: SigningKey): string {
  const terms = (term: string, size: number) => term.repeat(Math.floor(size / term.length));
  const lines = [
    `*.long.test. TXT "v=spf1 ${terms("ip4:192.0.2.1 ", LONGEST)}?all"`,
    ...Array.from({ length: 180 }, (_, at) => `*.many.test. TXT "v=spf${at} ${terms("include:a.test ", 300)}-all"`),
    '*.mx.test. TXT "v=spf1 mx ?all"',
    ...Array.from({ length: 500 }, (_, at) => `*.mx.test. MX 10 m${at}.addresses.test.`),
    `*.mxs.test. TXT "v=spf1 ${Array.from({ length: 9 }, (_, at) => `mx:ten${at}.mxs.test`).join(" ")} ?all"`,
    ...Array.from({ length: 90 }, (_, at) => `ten${at % 9}.mxs.test. MX 10 n${at}.addresses.test.`),
    "*.loop.test. CNAME loop.test.",
    "loop.test. CNAME other.loop.test.",
    "other.loop.test. CNAME loop.test.",
    "*.chain.test. CNAME c0.chain.test.",
    ...Array.from({ length: 30 }, (_, at) => `c${at}.chain.test. CNAME c${at + 1}.chain.test.`),
    `*.macros.test. TXT "v=spf1 ${terms("exists:%{L128r+-.,/_=}.%{S128R}.%{h128r}%{ir}.test ", 4000)}?all"`,
    `*.includes.test. TXT "v=spf1 ${
      Array.from({ length: 10 }, (_, at) => `include:i${at}.includes.test`).join(" ")
    } ?all"`,
    ...Array.from({ length: 10 }, (_, at) => `i${at}.includes.test. TXT "v=spf1 ${terms("ip4:192.0.2.1 ", 4000)}?all"`),
    `*.tree.test. TXT "v=spf1 include:%{d} include:%{d} redirect=%{d}"`,
    '*.policy.test. TXT "v=spf1 ?all"',
    `_dmarc.policy.test. TXT "v=DMARC1; p=reject; ${terms("rua=mailto:a@b.test; ", LONGEST - 100)}"`,
    `policy.test. TXT "v=spf1 ?all"`,
    ...Array.from(
      { length: 180 },
      (_, at) => `_dmarc.policies.test. TXT "v=DMARC1; p=none; x=${at}${"y".repeat(200)}"`,
    ),
    `*._domainkey.keys.test. TXT "${key.record}"`,
    `*._domainkey.longkey.test. TXT "${key.record}; n=${"x".repeat(LONGEST - 1000)}"`,
    ...Array.from({ length: 180 }, (_, at) => `*._domainkey.manykeys.test. TXT "${key.record}; n=${at}"`),
    `*._domainkey.giant.test. TXT "v=DKIM1; k=rsa; p=${rsaRecord(16_384, [1, 0, 1])}"`,
    `*._domainkey.exponent.test. TXT "v=DKIM1; k=rsa; p=${rsaRecord(4096, Array(500).fill(255))}"`,
    ...Array.from({ length: 500 }, (_, at) => `*.addresses.test. A 203.0.${at >> 8}.${at & 255}`),
    ...Array.from({ length: 500 }, (_, at) => `*.113.0.203.dnsbl.test. A 127.0.${at >> 8}.${at & 255}`),
  ];
  return lines.join("\n");
}

/** A SubjectPublicKeyInfo with a number of so many bits as its modulus. */
function rsaRecord(bits: number, exponent: readonly number[]): string {
  const modulus = new Uint8Array(bits / 8 + 1).fill(0xab);
  modulus[0] = 0;
  const numbers = [...der(2, [...modulus]), ...der(2, [...(exponent[0]! > 127 ? [0] : []), ...exponent])];
  const algorithm = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
  return Uint8Array.from(der(0x30, [...algorithm, ...der(3, [0, ...der(0x30, numbers)])])).toBase64();
}

function der(tag: number, content: readonly number[]): number[] {
  const { length } = content;
  return [tag, ...length < 128 ? [length] : [0x82, length >> 8, length & 255], ...content];
}
