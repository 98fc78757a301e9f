import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { type RsaKey, rsaVerifies } from "../../src/check/rsa.ts";
import { bytesOf, seeded } from "../support/every_cut.ts";

interface Pair {
  readonly key: RsaKey;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The private exponent: with it any block can be signed, not only well formed ones. */
  readonly secret: bigint;
}

const numberOf = (bytes: Uint8Array) => BigInt(`0x0${bytes.toHex()}`);
const octetsOf = (value: bigint, length: number) => Uint8Array.fromHex(value.toString(16).padStart(2 * length, "0"));
const fromJwk = (text = "") => numberOf(Uint8Array.fromBase64(text, { alphabet: "base64url" }));
const hashOf = (text: string) => new Uint8Array(createHash("sha256").update(text).digest());

function pairOf(bits: number): Pair {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: bits });
  const { n, d } = privateKey.export({ format: "jwk" });
  const modulus = fromJwk(n);
  return { key: { modulus, length: Math.ceil(bits / 8) }, privateKey, publicKey, secret: fromJwk(d) };
}

/** What a private key makes of a whole block. */
function signedBlock({ key: { modulus, length }, secret }: Pair, block: Uint8Array): Uint8Array {
  let power = 1n, base = numberOf(block) % modulus;
  for (let left = secret; left > 0n; left >>= 1n) {
    if (left & 1n) power = power * base % modulus;
    base = base * base % modulus;
  }
  return octetsOf(power, length);
}

const PAIRS = [1024, 1032, 2048].map(pairOf);
const SMALL = PAIRS[0]!, HASH = hashOf("signed");
const INFO = "3031300d060960864801650304020105000420";

/** 0x00, a type, padding, a zero, and what is signed. */
function block(type: string, padding: string, zero: string, rest: string): Uint8Array {
  return Uint8Array.fromHex(`00${type}${padding}${zero}${rest}`);
}

const ff = (count: number) => "ff".repeat(count), good = INFO + HASH.toHex(), PADDING = 128 - 3 - good.length / 2;
/** Each fills the 128 octets of a key of 1024 bits, but for one that is told. */
const FORGED: Readonly<Record<string, Uint8Array>> = {
  "less padding and something behind the hash": block("01", ff(8), "00", good + ff(PADDING - 8)),
  "less padding and something in the algorithm": block(
    "01",
    ff(PADDING - 4),
    "00",
    `3035300d0609608648016503040201050404aabbccdd0420${HASH.toHex()}`.slice(0, 2 * 55),
  ),
  "no NULL behind the algorithm": block(
    "01",
    ff(PADDING + 2),
    "00",
    `302f300b0609608648016503040201${"0420"}${HASH.toHex()}`,
  ),
  "another algorithm": block("01", ff(PADDING), "00", good.replace("0402010500", "0402020500")),
  "no algorithm": block("01", ff(128 - 3 - 32), "00", HASH.toHex()),
  "another type": block("02", ff(PADDING), "00", good),
  "no zero behind the padding": block("01", ff(PADDING), "ff", good),
  "a zero in the padding": block("01", `${ff(3)}00${ff(PADDING - 4)}`, "00", good),
  "another octet in the padding": block("01", `${ff(3)}fe${ff(PADDING - 4)}`, "00", good),
  "the hash of something else": block("01", ff(PADDING), "00", INFO + hashOf("other").toHex()),
  "no padding": block("01", "", "00", good),
};

Deno.test("what the key signed is verified, as node:crypto verifies it", () => {
  for (const { key, privateKey } of PAIRS) {
    for (const text of ["signed", "", "x".repeat(5000)]) {
      const signature = new Uint8Array(sign("sha256", bytesOf(text), privateKey));
      assert.equal(rsaVerifies(key, hashOf(text), signature), true);
      assert.equal(rsaVerifies(key, hashOf(`${text}.`), signature), false);
    }
  }
  // The way in which the forged blocks are signed can make a good one.
  assert.equal(rsaVerifies(SMALL.key, HASH, signedBlock(SMALL, block("01", ff(PADDING), "00", good))), true);
});

Deno.test("nothing but the one block of the standard is a signature", () => {
  for (const [what, forged] of Object.entries(FORGED)) {
    const signature = signedBlock(SMALL, forged);
    assert.equal(rsaVerifies(SMALL.key, HASH, signature), false, what);
    assert.equal(verify("sha256", bytesOf("signed"), SMALL.publicKey, signature), false, what);
  }
});

Deno.test("a signature has the length of the key, and is less than its modulus", () => {
  for (const { key, privateKey } of PAIRS) {
    const signature = new Uint8Array(sign("sha256", bytesOf("signed"), privateKey)), { length, modulus } = key;
    assert.equal(rsaVerifies(key, HASH, new Uint8Array([0, ...signature])), false);
    assert.equal(rsaVerifies(key, HASH, signature.subarray(0, -1)), false);
    assert.equal(rsaVerifies(key, HASH, new Uint8Array(0)), false);
    assert.equal(rsaVerifies(key, HASH, new Uint8Array(length).fill(255)), false);
    // It is the same number when it is divided by the modulus.
    const more = numberOf(signature) + modulus;
    if (more < 256n ** BigInt(length)) assert.equal(rsaVerifies(key, HASH, octetsOf(more, length)), false);
    for (const value of [0n, 1n, modulus - 1n]) assert.equal(rsaVerifies(key, HASH, octetsOf(value, length)), false);
    assert.equal(rsaVerifies(key, HASH.subarray(1), signature), false);
  }
});

Deno.test("a changed bit anywhere is seen, as node:crypto sees it", () => {
  const random = seeded(8017), { key, privateKey, publicKey } = SMALL;
  const good = new Uint8Array(sign("sha256", bytesOf("signed"), privateKey));
  for (let round = 0; round < 300; round++) {
    const changed = good.slice(), at = Math.floor(random() * changed.length);
    changed[at]! ^= 1 << Math.floor(random() * 8);
    assert.equal(rsaVerifies(key, HASH, changed), false);
    if (round < 20) assert.equal(verify("sha256", bytesOf("signed"), publicKey, changed), false);
  }
});
