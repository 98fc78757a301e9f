/**
 * DKIM signatures (RFC 6376, RFC 8463), relaxed/relaxed with SHA-256. Written here because a signer has to name in h=
 * what is not there, so that it cannot be added later (§5.4.2, §8.15), and mailauth's names only what is there; it
 * also reads the key anew for every message. What comes out is held against mailauth's verifier and dkimpy.
 */

import { createHash, createPrivateKey, type KeyObject, sign } from "node:crypto";
import { Buffer } from "node:buffer";
import { relaxedBody, relaxedField } from "../smtp/dkim_canonical.ts";

export interface DkimKey {
  /** Lower case, A-labels. */
  readonly domain: string;
  readonly selector: string;
  /** PKCS#8 or PKCS#1. */
  readonly pem: string;
}

/** A key ready to sign. */
export interface SigningKey {
  readonly domain: string;
  readonly selector: string;
  readonly key: KeyObject;
  readonly algorithm: "rsa-sha256" | "ed25519-sha256";
}

// Each is named once more than it occurs: a second From or a Reply-To put in on the way breaks the signature.
const OVERSIGNED = [
  "From",
  "To",
  "Cc",
  "Subject",
  "Date",
  "Reply-To",
  "Message-ID",
  "MIME-Version",
  "Content-Type",
];
// As often as they occur. RFC 8058 §4 wants the last two covered; others may be added by lists without harm.
const SIGNED = [
  "Sender",
  "Content-Transfer-Encoding",
  "In-Reply-To",
  "References",
  "List-Unsubscribe",
  "List-Unsubscribe-Post",
];

/** Throws an error that names domain and selector, and never holds any of the key. */
export function prepareKey({ domain, selector, pem }: DkimKey): SigningKey {
  const key = readKey(pem);
  switch (key?.asymmetricKeyType) {
    case "rsa":
      return { domain, selector, key, algorithm: "rsa-sha256" };
    case "ed25519":
      return { domain, selector, key, algorithm: "ed25519-sha256" };
    default:
      throw new Error(
        `Cannot use the DKIM key ${selector} of ${domain}: must be an RSA or Ed25519 private key in PEM (PKCS#8 or PKCS#1)`,
      );
  }
}

function readKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined; // What the parser says may quote the key.
  }
}

/**
 * One field for each key, each `DKIM-Signature: …` with its CRLF. The message has CRLF line ends. Throws when it has
 * no From field, which no valid signature can do without.
 */
export function signatureFields(message: Uint8Array, keys: readonly SigningKey[], now: number): string {
  const end = endOfHeader(message);
  const fields = fieldsOf(Buffer.from(message.buffer, message.byteOffset, end).toString("latin1"));
  if (!fields.has("from")) throw new Error("Cannot sign a message without a From field.");
  const bodyHash = createHash("sha256").update(relaxedBody(message.subarray(end))).digest("base64");

  const names: string[] = [];
  let covered = "";
  for (const name of [...OVERSIGNED, ...SIGNED]) {
    const lines = fields.get(name.toLowerCase()) ?? [];
    for (const _ of lines) names.push(name);
    if (OVERSIGNED.includes(name)) names.push(name);
    // §5.4.2: the lowest first.
    for (const line of lines.toReversed()) covered += `${line}\r\n`;
  }
  return keys.map((key) => {
    const field = `DKIM-Signature: v=1; a=${key.algorithm}; c=relaxed/relaxed;\r\n` +
      `\td=${key.domain}; s=${key.selector}; t=${Math.trunc(now / 1000)};\r\n` +
      `\th=${folded(names.map((name, index) => index === 0 ? name : `:${name}`))};\r\n\tbh=${bodyHash};\r\n\tb=`;
    const signed = Buffer.from(covered + relaxedField(field).line, "latin1");
    // RFC 8463 §3: Ed25519 signs the hash; RSA does the hashing itself.
    const signature = key.algorithm === "rsa-sha256"
      ? sign("sha256", signed, key.key)
      : sign(null, createHash("sha256").update(signed).digest(), key.key);
    return `${field}${folded(signature.toString("base64").match(/.{1,72}/g) ?? [])}\r\n`;
  }).join("");
}

/** Index behind the empty line. */
function endOfHeader(message: Uint8Array): number {
  const view = Buffer.from(message.buffer, message.byteOffset, message.length);
  if (view[0] === 13 && view[1] === 10) return 2;
  const at = view.indexOf("\r\n\r\n");
  return at < 0 ? view.length : at + 4;
}

/** The fields in relaxed form by their names, each in the order in which they stand. */
function fieldsOf(header: string): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const text of header.split(/\r\n(?![ \t])/)) {
    if (!text.includes(":")) continue;
    const { name, line } = relaxedField(text);
    const known = fields.get(name);
    if (known === undefined) fields.set(name, [line]);
    else known.push(line);
  }
  return fields;
}

/** Lines of at most 78 characters, broken between the parts. */
function folded(parts: readonly string[]): string {
  let text = "", column = 4;
  for (const part of parts) {
    if (column > 4 && column + part.length > 76) {
      text += "\r\n\t";
      column = 1;
    }
    text += part;
    column += part.length;
  }
  return text;
}
