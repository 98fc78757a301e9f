/** DKIM keys: how they are made, and what the DNS has to say about them. */

import type { KeyObject } from "node:crypto";
import { createPrivateKey, createPublicKey, generateKeyPair } from "node:crypto";
import { promisify } from "node:util";

export type DkimKeyType = "rsa" | "ed25519";

// RFC 8301 §3.2: verifiers take 1024 to 4096 bits; signers use 2048 at least.
export const LEAST_BITS = 2048;
const MOST_BITS = 4096;

/** A new private key, PKCS#8 in PEM. `bits` is for RSA alone. */
export async function generateDkimKey(type: DkimKeyType, bits = LEAST_BITS): Promise<string> {
  return (await generate(type, bits)).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

function generate(type: DkimKeyType, bits: number): Promise<{ privateKey: KeyObject }> {
  if (type === "ed25519") return promisify(generateKeyPair)("ed25519");
  demandBits(bits);
  return promisify(generateKeyPair)("rsa", { modulusLength: bits });
}

/** Throws RangeError for an RSA key that is too short to be trusted or too long to be taken. */
export function demandBits(bits: number): void {
  if (!Number.isInteger(bits) || bits < LEAST_BITS || bits > MOST_BITS) {
    throw new RangeError(`An RSA key for DKIM has ${LEAST_BITS} to ${MOST_BITS} bits, not ${bits} (RFC 8301).`);
  }
}

/** The text of the record for a private key in PEM, PKCS#8 or PKCS#1. Throws when it is neither RSA nor Ed25519. */
export function dkimRecord(pem: string): string {
  const key = createPublicKey(createPrivateKey(pem));
  switch (key.asymmetricKeyType) {
    case "rsa":
      // RFC 6376 §3.6.1 says RSAPublicKey, but what the world publishes and verifies is SubjectPublicKeyInfo.
      return `v=DKIM1; k=rsa; p=${key.export({ type: "spki", format: "der" }).toString("base64")}`;
    case "ed25519": {
      // RFC 8463 §4: the 32 bytes themselves, not a structure around them.
      const { x = "" } = key.export({ format: "jwk" });
      return `v=DKIM1; k=ed25519; p=${Uint8Array.fromBase64(x, { alphabet: "base64url" }).toBase64()}`;
    }
    default:
      throw new Error(`A key of the kind ${key.asymmetricKeyType} cannot sign with DKIM: RSA and Ed25519 can.`);
  }
}

/** Where the record stands. */
export function dkimRecordName(domain: string, selector: string): string {
  return `${selector}._domainkey.${domain}`;
}

// RFC 1035 §3.3: the length of a character-string is one octet.
const MAX_STRING = 255;

/** A TXT record as a line of a zone file. The text must be ASCII. */
export function txtInZone(name: string, text: string): string {
  const strings = text.match(new RegExp(`[^]{1,${MAX_STRING}}`, "g")) ?? [""];
  const quoted = strings.map((part) => `"${part.replace(/["\\]/g, "\\$&")}"`);
  return `${name}. IN TXT ${quoted.length > 1 ? `( ${quoted.join(" ")} )` : quoted[0]}`;
}

/** What is wrong with a published record for a key; undefined when it fits (RFC 6376 §3.6.1). */
export function recordFault(published: string, wanted: string): string | undefined {
  const have = tagsOf(published), want = tagsOf(wanted);
  if (have === undefined) return "it is not a list of tags like v=DKIM1; k=rsa; p=…";
  const version = have.get("v");
  if (version !== undefined && (version !== "DKIM1" || !/^\s*v\s*=/.test(published))) {
    return "v= must be DKIM1 and come first, or be absent";
  }
  const kind = have.get("k") ?? "rsa";
  if (kind !== want?.get("k")) return `k= is ${kind}, and the key is of the kind ${want?.get("k")}`;
  const key = have.get("p");
  if (key === undefined) return "it has no p=";
  if (key === "") return "p= is empty: the key is revoked";
  if (key !== want.get("p")) return "p= is another key";
  const hashes = have.get("h");
  if (hashes !== undefined && !hashes.split(":").includes("sha256")) return "h= does not allow sha256";
  const services = have.get("s");
  if (services !== undefined && !services.split(":").some((one) => one === "*" || one === "email")) {
    return "s= does not allow email";
  }
  return undefined;
}

/** Each value without its blanks. Undefined when it is no tag list, or a tag stands there twice (RFC 6376 §3.2). */
function tagsOf(text: string): Map<string, string> | undefined {
  const tags = new Map<string, string>();
  for (const part of text.replace(/;\s*$/, "").split(";")) {
    const [, name, value = ""] = /^\s*([A-Za-z]\w*)\s*=([^]*)$/.exec(part) ?? [];
    if (name === undefined || tags.has(name)) return undefined;
    tags.set(name, value.replace(/\s+/g, ""));
  }
  return tags;
}
