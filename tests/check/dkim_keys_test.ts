import assert from "node:assert/strict";
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { PublicKeys } from "../../src/check/dkim_keys.ts";
import { plainPass, verify } from "../../src/worker/verify.ts";
import { bytesOf } from "../support/every_cut.ts";
import { rsaKey, signedLetter } from "../support/signed_letter.ts";

const rsa = (bits: number, publicExponent = 65537) =>
  generateKeyPairSync("rsa", { modulusLength: bits, publicExponent });
const spki = (key: KeyObject) => new Uint8Array(key.export({ type: "spki", format: "der" }));
const recordOf = (der: Uint8Array, kind = "rsa") => `v=DKIM1; k=${kind}; p=${der.toBase64()}`;
const KEY = rsaKey(), HASH = new Uint8Array(createHash("sha256").update("signed").digest());
const P = KEY.record.slice(KEY.record.indexOf("p="));

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const inner = parts.flatMap((part) => [...part]), { length } = inner;
  const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return new Uint8Array([tag, ...head, ...inner]);
}

/** A SubjectPublicKeyInfo of any numbers. */
function rawKey(modulus: bigint, exponent: bigint): Uint8Array {
  const integer = (value: bigint) => {
    const hex = value.toString(16);
    return der(
      2,
      Uint8Array.fromHex(
        `${/^[89a-f]/.test(hex) && hex.length % 2 === 0 ? "00" : ""}${hex.length % 2 ? "0" : ""}${hex}`,
      ),
    );
  };
  const algorithm = Uint8Array.fromHex("300d06092a864886f70d0101010500");
  return der(0x30, algorithm, der(3, Uint8Array.of(0), der(0x30, integer(modulus), integer(exponent))));
}

const numberOf = (bytes: Uint8Array) => BigInt(`0x0${bytes.toHex()}`);
const modulusOf = (key: KeyObject) =>
  numberOf(Uint8Array.fromBase64(key.export({ format: "jwk" }).n ?? "", { alphabet: "base64url" }));

Deno.test("a plain key is used, of 1024 to 4096 bits, and of Ed25519", () => {
  const keys = new PublicKeys();
  for (const bits of [1024, 2048]) {
    const { publicKey, privateKey } = rsa(bits), key = keys.of(recordOf(spki(publicKey)));
    assert.equal(key?.verifies(HASH, new Uint8Array(sign("sha256", bytesOf("signed"), privateKey))), true, `${bits}`);
    assert.equal(key?.verifies(HASH, new Uint8Array(bits / 8)), false);
  }
  // One of 4096 bits takes seconds to be made.
  assert.equal(keys.of(recordOf(rawKey(2n ** 4095n + 1n, 65537n)))?.algorithm, "rsa-sha256");
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const key = keys.of(recordOf(spki(publicKey).subarray(-32), "ed25519")), signature = sign(null, HASH, privateKey);
  assert.equal(key?.verifies(HASH, signature), true);
  assert.equal(key?.verifies(HASH.toReversed(), signature), false);
  for (const other of [new Uint8Array(64), new Uint8Array(0), new Uint8Array(65), new Uint8Array(512)]) {
    assert.equal(key?.verifies(HASH, other), false);
  }
});

const N = modulusOf(rsa(1024).publicKey), LONG = 2n ** 8192n - 1n;
const POINT = spki(generateKeyPairSync("ed25519").publicKey);
const NOT_PLAIN: Readonly<Record<string, string>> = {
  "512 bits": recordOf(spki(rsa(512).publicKey)),
  "1016 bits": recordOf(rawKey(2n ** 1015n + 1n, 65537n)),
  "4104 bits": recordOf(rawKey(2n ** 4103n + 1n, 65537n)),
  "8192 bits": recordOf(rawKey(LONG, 65537n)),
  "exponent 1": recordOf(rawKey(N, 1n)),
  "exponent 3": recordOf(spki(rsa(1024, 3).publicKey)),
  "exponent 2": recordOf(rawKey(N, 2n)),
  "exponent 0": recordOf(rawKey(N, 0n)),
  "an exponent of 1024 bits": recordOf(rawKey(N, N - 2n)),
  "an even modulus": recordOf(rawKey(N - 1n, 65537n)),
  "a modulus of 0": recordOf(rawKey(0n, 65537n)),
  "something behind the key": recordOf(new Uint8Array([...spki(rsa(1024).publicKey), 0])),
  "an RSAPublicKey alone": recordOf(new Uint8Array(rsa(1024).publicKey.export({ type: "pkcs1", format: "der" }))),
  "a key of another kind": recordOf(spki(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey)),
  "Ed25519 that says rsa": recordOf(POINT),
  "Ed25519 with a frame": recordOf(POINT, "ed25519"),
  "Ed25519 of 31 octets": recordOf(POINT.subarray(-31), "ed25519"),
  "RSA that says Ed25519": recordOf(spki(rsa(1024).publicKey), "ed25519"),
  "a record of 64 KiB": `${KEY.record}; n=${"x".repeat(65_536)}`,
  "a key of 64 KiB": `v=DKIM1; p=${"A".repeat(65_536)}`,
  "nothing": "",
  "no key": "v=DKIM1",
  "a key that was taken back": "v=DKIM1; p=",
  "another version": `v=DKIM2; ${P}`,
  "a version that is not the first": `k=rsa; v=DKIM1; ${P}`,
  "a tag twice": `v=DKIM1; ${P}; ${P}`,
  "a tag nobody knows": `v=DKIM1; g=*; ${P}`,
  "a tag with the name of what every object has": `v=DKIM1; __proto__=x; ${P}`,
  "an empty tag": `v=DKIM1;; ${P}`,
  "SHA-1 alone": `v=DKIM1; h=sha1; ${P}`,
  "another service": `v=DKIM1; s=tlsrpt; ${P}`,
  "a flag nobody knows": `v=DKIM1; t=y:z; ${P}`,
  "what is not Base64": `v=DKIM1; p=A${P.slice(2)}`,
  "signs of other alphabets": `v=DKIM1; n=\u{e4}; ${P}`,
};

Deno.test("a key record that is not plain is left to mailauth", () => {
  const keys = new PublicKeys(), { publicKey } = rsa(1024);
  // What is built here of numbers is a key like others.
  assert.deepEqual(rawKey(modulusOf(publicKey), 65537n), spki(publicKey));
  for (const [what, record] of Object.entries(NOT_PLAIN)) assert.equal(keys.of(record), undefined, what);
});

Deno.test("the flags of a key record, and lists with more in them, are read", () => {
  const keys = new PublicKeys();
  assert.equal(keys.of(KEY.record)?.strict, false);
  assert.equal(keys.of(`v=DKIM1; t=s; ${P}`)?.strict, true);
  assert.equal(keys.of(`v=DKIM1; t = y : s ; ${P};`)?.strict, true);
  for (const more of ["h=sha1:sha256", "s=*", "s=tlsrpt : email", "n=for people", "t=y"]) {
    assert.equal(keys.of(`v=DKIM1; ${more}; ${P}`)?.strict, false, more);
  }
  assert.equal(keys.of(P)?.algorithm, "rsa-sha256");
});

Deno.test("with an exponent of 1 or 3 a signature that everybody can make does not pass", async () => {
  const { publicKey, privateKey } = rsa(1024, 3);
  const three = { privateKey, record: recordOf(spki(publicKey)) };
  const request = (text: string, record: string) => ({
    message: bytesOf(text),
    keys: new Map([["one._domainkey.remote.test", [record]]]),
  });
  // Honest, and still left to mailauth.
  const honest = request(signedLetter(three), three.record);
  assert.equal(plainPass(honest, new PublicKeys()), undefined);
  assert.deepEqual((await verify(honest)).map(({ result }) => result), ["pass"]);
  // With the exponent 1 the block is its own signature, for every modulus above it.
  const letter = signedLetter(KEY), b = letter.slice(letter.indexOf(" b=") + 3, letter.indexOf("\r\n"));
  let block = 1n;
  const modulus = modulusOf(createPublicKey(KEY.privateKey as never));
  for (let round = 0; round < 65537; round++) block = block * numberOf(Uint8Array.fromBase64(b)) % modulus;
  const own = Uint8Array.fromHex(block.toString(16).padStart(256, "0")).toBase64();
  const forged = request(letter.replace(b, own), recordOf(rawKey(modulus, 1n)));
  assert.equal(plainPass(forged, new PublicKeys()), undefined);
  assert.notEqual((await verify(forged))[0]?.result, "pass");
});

Deno.test("so many keys are remembered, and those that were not asked for the longest are forgotten", () => {
  const keys = new PublicKeys(3), record = (note: number) => `v=DKIM1; n=${note}; ${P}`;
  const [one, two] = [keys.of(record(1)), keys.of(record(2))];
  keys.of(record(3));
  assert.equal(keys.of(record(1)), one);
  keys.of(record(4));
  assert.equal(keys.size, 3);
  assert.equal(keys.of(record(1)), one);
  assert.notEqual(keys.of(record(2)), two);
  for (let note = 0; note < 50; note++) keys.of(`no record ${note}`);
  assert.equal(keys.size, 3);
});
