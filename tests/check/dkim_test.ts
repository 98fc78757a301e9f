import assert from "node:assert/strict";
import { checkDkim } from "../../src/check/dkim.ts";
import type { Dns } from "../../src/dns/records.ts";
import type { Signature, VerifyRequest } from "../../src/worker/verify.ts";
import { dnsOf } from "../support/delivery_job.ts";
import { holdsNobodyUp } from "../support/longest_block.ts";
import { txt, withRecords } from "../support/name_servers.ts";
import { type Letter, rsaKey, signedLetter } from "../support/signed_letter.ts";
import { withVectors } from "../support/vectors.ts";
import { type Verify, withVerifier } from "../support/verifier.ts";

const SIGNATURE = "DKIM-Signature: v=1; d=remote.test; s=one; h=from:subject; b=AAAA\r\n";
const bytes = (text: string) => new TextEncoder().encode(text);

// ── what is looked at ────────────────────────────────────────────────────────────────────────────────────────────

/** What happened, in order, while the signatures of a message with this header were looked at. */
async function looked(header: string): Promise<string[]> {
  const seen: string[] = [];
  const read = () => (seen.push("read"), Promise.resolve(bytes(`${header}\r\nHello.\r\n`)));
  const run = ({ message, keys }: VerifyRequest) => {
    const text = new TextDecoder().decode(message), signatures = text.split(SIGNATURE).length - 1;
    seen.push(`verify ${signatures} with ${[...keys.keys()]}`, text.replaceAll(SIGNATURE, ""));
    return Promise.resolve([]);
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
  const [turn, read, verify] = await looked(`${SIGNATURE.repeat(7)}From: carol@remote.test\r\n`);
  assert.deepEqual([turn, read, verify], ["turn", "read", "verify 5 with one._domainkey.remote.test"]);
});

Deno.test("the other thread gets the fields that are signed, the body, and nothing else to stumble over", async () => {
  const header =
    `Return-Path: <x>\r\n${SIGNATURE}ARC-Seal: i=1\r\nFrom: carol@remote.test\r\nsubject : a\r\n b\r\nTo: x\r\n`;
  assert.equal((await looked(header))[3], "From: carol@remote.test\r\nsubject : a\r\n b\r\n\r\nHello.\r\n");
});

Deno.test("with two From fields, or a header that is too much, no signature says anything", async () => {
  assert.deepEqual(await looked(`${SIGNATURE}From: carol@remote.test\r\nFrom: bob@remote.test\r\n`), []);
  assert.deepEqual(await looked(`${SIGNATURE}From: carol@remote.test\r\nno field\r\nFrom: bob@remote.test\r\n`), []);
  assert.deepEqual(await looked(`${SIGNATURE.repeat(1001)}From: carol@remote.test\r\n`), []);
  assert.deepEqual(await looked(`${SIGNATURE}From: carol@remote.test\r\nX: a\r\n${" b\r\n".repeat(500)}`), []);
});

Deno.test("a header that goes on behind what was looked at lets no signature pass", async () => {
  const whole = bytes(`${SIGNATURE}From: carol@remote.test\r\nFrom: bob@remote.test\r\n\r\nHello.\r\n`);
  const start = whole.subarray(0, SIGNATURE.length + "From: carol@remote.test\r\n".length);
  const absent = { outcome: "no such name", authenticated: false, ttl: 0 } as const;
  const dns: Dns = { ...dnsOf({}), txt: () => Promise.resolve(absent) };
  const found = await checkDkim(start, dns, () => Promise.resolve(whole), () => assert.fail("it was verified"));
  assert.deepEqual(found.map(inWords), ["policy the header is too long"]);
});

// ── messages that others have published ──────────────────────────────────────────────────────────────────────────

// RFC 6376 appendix C and RFC 8463 appendix A.
const PUBLISHED = [
  txt(
    "brisbane._domainkey.example.com",
    "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
  ),
  txt("brisbane._domainkey.football.example.com", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
  txt(
    "test._domainkey.football.example.com",
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
  ),
];

/** By file: the results of its signatures. */
const VECTORS: Readonly<Record<string, readonly string[]>> = {
  "rfc6376-A.2.eml": ["pass"],
  "rfc6376-A.2-body_modified.eml": ["fail body hash did not verify"],
  "rfc6376-A.2-header_subject_modified.eml": ["fail bad signature"],
  // What is wrong there is not signed, and none of DKIM's business.
  "rfc6376-A.2-ill_formed-list_id.eml": ["pass"],
  "rfc6376-A.2-ill_formed-missing_v.eml": ["neutral signature missing required tag"],
  "rfc8463-A.3.eml": ["pass", "pass"],
};

withVectors(
  "the messages of RFC 6376 and RFC 8463 verify, and their broken variants do not",
  Object.keys(VECTORS),
  (read) =>
    withRecords(PUBLISHED, (dns) =>
      withVerifier(async (verify) => {
        for (const [file, expected] of Object.entries(VECTORS)) {
          const found = await verify(read(file).replaceAll(/\r?\n/g, "\r\n"), dns);
          assert.deepEqual(found.map(inWords), expected, file);
          assert.ok(found.every(({ aligned }) => aligned), file);
        }
      })),
);

function inWords({ result, reason }: Signature): string {
  return reason === undefined ? result : `${result} ${reason}`;
}

// ── what a signature has to be ───────────────────────────────────────────────────────────────────────────────────

const KEY = rsaKey(), SHORT = rsaKey(512), LONG = rsaKey(5120);
const RECORDS = [
  txt("one._domainkey.remote.test", KEY.record),
  txt("short._domainkey.remote.test", SHORT.record),
  txt("long._domainkey.remote.test", LONG.record),
  txt(
    "endless._domainkey.remote.test",
    KEY.record + Array.from({ length: 9 }, (_, index) => `; x${index}=${"x".repeat(500)}`).join(""),
  ),
  txt("monster._domainkey.remote.test", `v=DKIM1; p=${"A".repeat(3000)}`),
  txt("revoked._domainkey.remote.test", "v=DKIM1; p="),
  txt("garbage._domainkey.remote.test", "v=DKIM1; p=AAAA"),
  txt("one._domainkey.other.test", KEY.record),
];
const seconds = (from: number) => String(Math.floor(Date.now() / 1000) + from);
const MANY_NAMES = Array.from({ length: 900 }, (_, index) => `x-${index}`).join(":");

const TABLE: readonly (readonly [what: string, letter: Letter, expected: string])[] = [
  ["a good one", {}, "pass"],
  ["signed and folded otherwise", { tags: { h: " From :\r\n\tTo " } }, "fail bad signature"],
  ["a body with more behind it", { appended: "More.\r\n" }, "fail body hash did not verify"],
  [
    "l= that covers less than all",
    { tags: { l: "8" }, appended: "More.\r\n" },
    "fail l= leaves the end of the body unsigned",
  ],
  ["l= that covers all", { tags: { l: "8" } }, "fail l= leaves the end of the body unsigned"],
  ["t= in four minutes", { tags: { t: seconds(240) } }, "pass"],
  ["t= in six minutes", { tags: { t: seconds(360) } }, "fail signed in the future"],
  ["t= in the year 33658", { tags: { t: "999999999999" } }, "fail signed in the future"],
  ["x= to come", { tags: { t: seconds(-60), x: seconds(60) } }, "pass"],
  ["x= gone by", { tags: { t: seconds(-60), x: seconds(-1) } }, "fail expired"],
  ["x= before t=", { tags: { t: seconds(-10), x: seconds(-20) } }, "fail expired"],
  ["From that is not signed", { tags: { h: "to" } }, "neutral From field not signed"],
  ["i= below d=", { tags: { i: "carol@sub.remote.test" } }, "pass"],
  ["i= beside d=", { tags: { i: "carol@other.test" } }, "neutral domain mismatch"],
  ["i= that only ends like d=", { tags: { i: "@notremote.test" } }, "neutral domain mismatch"],
  ["SHA-1", { hash: "sha1" }, "policy weak algorithm"],
  ["an algorithm that nobody knows", { tags: { a: "rsa-md5" } }, "neutral unknown algorithm"],
  ["a tag twice", { tags: { d: "remote.test; d=remote.test" } }, "neutral signature syntax error"],
  ["h= of more than 4 KiB", { tags: { h: `from:${MANY_NAMES}` } }, "policy h= is longer than 4096 signs"],
  [
    "a signature of more than 16 KiB",
    { tags: { z: "x".repeat(17_000) } },
    "policy the signature is longer than 16384 octets",
  ],
  ["a key that is not there", { tags: { s: "missing" } }, "permerror no key"],
  ["a key that was taken back", { tags: { s: "revoked" } }, "permerror invalid public key"],
  ["a key that is none", { tags: { s: "garbage" } }, "permerror unknown key type"],
  ["a key record of more than 4 KiB", { tags: { s: "endless" } }, "permerror the key record is too long"],
  ["a key of 18,000 bit", { tags: { s: "monster" } }, "permerror the key record is too long"],
  ["a key whose name server fails", { tags: { s: "failing" } }, "temperror DNS failure: ESERVFAIL"],
  ["a key whose name server is silent", { tags: { s: "silent" } }, "temperror DNS failure: ETIMEOUT"],
  [
    "l= with a key that cannot be had now",
    { tags: { s: "silent", l: "8" } },
    "fail l= leaves the end of the body unsigned",
  ],
  ["a name that cannot be asked for", { tags: { s: "a..b" } }, "neutral signature syntax error"],
  [
    "From of more than 8 KiB",
    { from: `${"x".repeat(9000)} <carol@remote.test>` },
    "policy From is longer than 8192 octets",
  ],
];

Deno.test("a signature passes only when it says something about the whole message, now", () =>
  withRecords(RECORDS, (dns) =>
    withVerifier(async (verify) => {
      for (const [what, letter, expected] of TABLE) {
        const found = await verify(signedLetter(KEY, letter), dns);
        assert.deepEqual(found.map(inWords), [expected], what);
      }
      const short = await verify(signedLetter(SHORT, { tags: { s: "short" } }), dns);
      assert.deepEqual(short.map(inWords), ["policy weak-key"]);
      const [long] = await verify(signedLetter(LONG, { tags: { s: "long" } }), dns);
      // Deno 2.9 cannot even read such a key; one that can must not take it.
      assert.match(inWords(long!), /^permerror unknown key type$|^policy RSA key of more than 4096 bit$/);
    }), {
    "failing._domainkey.remote.test": { does: "servfail" },
    "silent._domainkey.remote.test": { does: "silent" },
  }));

Deno.test("a signature is told with its domain, its selector, its algorithm and whether it is the author's", () =>
  withRecords(RECORDS, (dns) =>
    withVerifier(async (verify) => {
      const letter = signedLetter(KEY, { tags: { d: "other.test" } });
      assert.deepEqual(await verify(letter, dns), [
        { domain: "other.test", selector: "one", algorithm: "rsa-sha256", result: "pass", aligned: false },
      ]);
      const sub = signedLetter(KEY, { from: "carol@mail.remote.test" });
      assert.deepEqual((await verify(sub, dns)).map(({ aligned }) => aligned), [true]);
      // In the order in which they stand, with those that were not sent to be verified.
      const three = `DKIM-Signature: d=x.test; h=${"a:".repeat(2100)}\r\nDKIM-Signature: nonsense\r\n${letter}`;
      assert.deepEqual((await verify(three, dns)).map(({ result, domain }) => `${domain} ${result}`), [
        "x.test policy",
        " neutral",
        "other.test pass",
      ]);
      const loud = await verify(letter.replace("d=other.test", 'd=a\u{1f480}\tb(c)";x'), dns);
      assert.ok(loud.every(({ domain, result }) => /^[ -~]*$/.test(domain) && result !== "pass"), JSON.stringify(loud));
    })));

// ── hostile messages ─────────────────────────────────────────────────────────────────────────────────────────────

const nested = Array.from(
  { length: 10_000 },
  (_, index) => `--b${index}\r\nContent-Type: multipart/mixed; boundary=b${index + 1}\r\n\r\n`,
);
const HOSTILE: Readonly<Record<string, (sign: string) => string>> = {
  "From with 80,000 a,": (sign) => `${sign}From: ${"a,".repeat(80_000)}\r\n\r\nHello.\r\n`,
  "From with 60,000 addresses": (sign) => `${sign}From: ${"a@b,".repeat(60_000)}\r\n\r\nHello.\r\n`,
  "40,000 folded lines": (sign) =>
    `${sign}From: carol@remote.test\r\nSubject: a\r\n${" b\r\n".repeat(40_000)}\r\nHello.\r\n`,
  "1,000 signatures": (sign) => `${sign.repeat(1000)}From: carol@remote.test\r\n\r\nHello.\r\n`,
  "990 signatures": (sign) => `${sign.repeat(990)}From: carol@remote.test\r\n\r\nHello.\r\n`,
  "1 MB of ( in the header": (sign) =>
    `${sign}From: carol@remote.test\r\nSubject: ${"(".repeat(1e6)}\r\n\r\nHello.\r\n`,
  "250 KB of ( in a signed type": (sign) =>
    `${sign}From: a@b\r\nContent-Type: ${"(".repeat(250_000)}\r\n\r\nHello.\r\n`,
  "1 MB of ( in the body": (sign) => `${sign}From: carol@remote.test\r\n\r\n${"(".repeat(1e6)}\r\n`,
  "a header of 100,000 fields": (sign) =>
    `${sign}From: carol@remote.test\r\n${"X: y\r\n".repeat(100_000)}\r\nHello.\r\n`,
  "10,000 nested multiparts": (sign) =>
    `${sign}From: a@b\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n${nested.join("")}`,
  "a signature of blanks": (sign) =>
    `${sign}DKIM-Signature: v=1; d=${" ".repeat(16_000)}x; s=one\r\nFrom: a@b\r\n\r\nHello.\r\n`,
  "a signature of semicolons": (sign) => `${sign}DKIM-Signature: ${";".repeat(16_000)}\r\nFrom: a@b\r\n\r\nHello.\r\n`,
};

Deno.test("no hostile message holds up this thread for 100 ms, and none passes", () =>
  withRecords(RECORDS, (dns) =>
    withVerifier(async (verify) => {
      const sign = SIGNATURE.replace("h=from:subject", "a=rsa-sha256; bh=AAAA; h=from:subject:content-type");
      await verify(`${sign}From: carol@remote.test\r\n\r\nHello.\r\n`, dns);
      for (const [what, compose] of Object.entries(HOSTILE)) {
        const message = bytes(compose(sign));
        // What does not end there is ended by the pool; for the one who asked it is an error like any other.
        const done = await holdsNobodyUp(what, () => verify(message, dns).catch((error: Error) => error.message));
        assert.ok(typeof done === "string" || done.every(({ result }) => result !== "pass"), what);
      }
    })));

Deno.test("a message that does not end on its thread is given up, and the next one has a thread again", () =>
  withRecords(RECORDS, (dns) =>
    withVerifier(async (verify: Verify) => {
      const letter = signedLetter(KEY);
      assert.deepEqual((await verify(letter, dns)).map(inWords), ["pass"]);
      // 24 MB without a line end take their time. That is our trouble: nothing is known of its signature, neither that it
      // holds nor whose it is not.
      const endless = `${SIGNATURE.replace("b=", "a=rsa-sha256; bh=A; b=")}From: a@b\r\n\r\n${"(\n".repeat(12e6)}`;
      const [signature, ...more] = await verify(endless, dns);
      assert.deepEqual([signature?.result, signature?.aligned, more.length], ["temperror", true, 0]);
      assert.equal(signature?.reason, "it could not be verified in time");
      assert.deepEqual((await verify(letter, dns)).map(inWords), ["pass"]);
    }, 1500)));
