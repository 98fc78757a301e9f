/** Public keys of key records, made ready once and remembered: reading one takes as long as verifying with it. */

import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { Buffer } from "node:buffer";
import { MAX_BITS, MIN_BITS } from "./dkim_limits.ts";
import { type Algorithm, plainRecord } from "./dkim_tags.ts";
import { EXPONENT, type RsaKey, rsaVerifies } from "./rsa.ts";

export interface PublicKey {
  readonly algorithm: Algorithm;
  /** `t=s`: the domain of `i=` must be that of `d=` itself. */
  readonly strict: boolean;
  /** True when the signature is one of this SHA-256 hash. Never throws. */
  readonly verifies: (hash: Uint8Array, signature: Uint8Array) => boolean;
}

/** Records that are remembered, those that are not plain among them. */
const MAX_KEYS = 500;
/** RFC 8410 §4: what stands around the 32 octets of an Ed25519 key. */
const ED25519_FRAME = Uint8Array.fromHex("302a300506032b6570032100"), ED25519_LENGTH = 32;

export class PublicKeys {
  /** By the text of the record; the one that was asked for last is the last. */
  readonly #known = new Map<string, PublicKey | undefined>();

  constructor(private readonly most = MAX_KEYS) {}

  /** The key of a TXT record. Undefined when the record is not plain, or the key is none that may be used. */
  of(record: string): PublicKey | undefined {
    const key = this.#known.has(record) ? this.#known.get(record) : readKey(record);
    this.#known.delete(record);
    this.#known.set(record, key);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= this.most) break;
      this.#known.delete(oldest);
    }
    return key;
  }

  get size(): number {
    return this.#known.size;
  }
}

function readKey(text: string): PublicKey | undefined {
  const record = plainRecord(text);
  if (record === undefined) return undefined;
  const { algorithm, strict } = record;
  switch (algorithm) {
    case "rsa-sha256": {
      const key = rsaKey(record.key);
      return key && { algorithm, strict, verifies: (hash, signature) => rsaVerifies(key, hash, signature) };
    }
    case "ed25519-sha256": {
      const key = record.key.length === ED25519_LENGTH ? spki(Buffer.concat([ED25519_FRAME, record.key])) : undefined;
      return key && { algorithm, strict, verifies: (hash, signature) => ed25519Verifies(key, hash, signature) };
    }
    default:
      return algorithm satisfies never;
  }
}

function rsaKey(der: Uint8Array): RsaKey | undefined {
  const key = spki(der);
  if (key?.asymmetricKeyType !== "rsa") return undefined;
  const { n = "", e = "" } = key.export({ format: "jwk" });
  const modulus = numberOf(n), bits = modulus.toString(2).length;
  if (numberOf(e) !== EXPONENT || modulus % 2n === 0n || bits < MIN_BITS || bits > MAX_BITS) return undefined;
  return { modulus, length: Math.ceil(bits / 8) };
}

/** Undefined for what is not exactly a SubjectPublicKeyInfo. */
function spki(der: Uint8Array): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
    return key.export({ format: "der", type: "spki" }).equals(der) ? key : undefined;
  } catch {
    return undefined;
  }
}

/** RFC 8463 §3: what is signed is the hash. */
function ed25519Verifies(key: KeyObject, hash: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, hash, key, signature);
  } catch {
    return false;
  }
}

function numberOf(base64url: string): bigint {
  return BigInt(`0x0${Uint8Array.fromBase64(base64url, { alphabet: "base64url" }).toHex()}`);
}
