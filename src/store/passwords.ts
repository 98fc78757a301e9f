/** What is kept of a password: an scrypt hash for PLAIN and LOGIN, and the two keys of SCRAM-SHA-256. */

import { createHash, createHmac, pbkdf2, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { Refused } from "./people.ts";

export interface ScryptCost {
  readonly n: number;
  readonly r: number;
  readonly p: number;
}

export interface Credentials {
  readonly scrypt: ScryptCost & { readonly salt: Uint8Array; readonly hash: Uint8Array };
  readonly scram: ScramKeys;
}

/** RFC 5802 §3, with SHA-256 (RFC 7677). */
export interface ScramKeys {
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

/** Half a second of one processor and 128 MiB for each guess. */
export const SCRYPT_COST: ScryptCost = { n: 2 ** 17, r: 8, p: 1 };

// RFC 7677 §4 asks for 4096 at least. The client does this work at each login, so it cannot be as hard as scrypt.
export const SCRAM_ITERATIONS = 100_000;

export const SALT_BYTES = 16;
const MIN_CHARACTERS = 8, MAX_BYTES = 1024;

/**
 * A password as it is hashed: SASLprep (RFC 4013) without its two rules that need the tables of Unicode 3.2, those for
 * unassigned code points and for text that runs both ways. Case counts. Undefined when it holds what SASLprep forbids,
 * is empty or has more than 1024 bytes: it cannot be anybody's password then.
 */
export function preparePassword(password: string): string | undefined {
  if (password.length > MAX_BYTES) return undefined;
  const prepared = password.replace(OTHER_SPACE, " ").replace(NOTHING, "").normalize("NFKC");
  if (prepared === "" || FORBIDDEN.test(prepared) || new TextEncoder().encode(prepared).length > MAX_BYTES) {
    return undefined;
  }
  return prepared;
}

// RFC 3454 tables C.1.2 and B.1.
const OTHER_SPACE = /[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/g;
const NOTHING = /[\u00ad\u034f\u1806\u180b\u180c\u180d\u200b\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g;
// Tables C.2.1 to C.9: controls, private use, non-characters, surrogates, and signs that change how text is shown.
const FORBIDDEN =
  // deno-lint-ignore no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u06dd\u070f\u180e\u2028\u2029\u2061-\u2063\u206a-\u206f\ufff9-\ufffd\u{1d173}-\u{1d17a}\ue000-\uf8ff\u{f0000}-\u{10ffff}\ufdd0-\ufdef\ufffe\uffff\p{Cs}\u2ff0-\u2ffb\u0340\u0341\u200e\u200f\u202a-\u202e\u{e0001}\u{e0020}-\u{e007f}]/u;

/** The form of a new password that is hashed. Throws Refused with a sentence that does not contain the password. */
export function demandPassword(password: string): string {
  const prepared = preparePassword(password);
  if (prepared === undefined) {
    throw new Refused(
      "The password cannot be used: it must not be empty, hold control or private characters, or exceed 1024 bytes.",
    );
  }
  if ([...prepared].length < MIN_CHARACTERS) {
    throw new Refused(`The password is too short: ${MIN_CHARACTERS} characters are the least.`);
  }
  return prepared;
}

/** `prepared` comes from demandPassword. */
export async function makeCredentials(prepared: string, cost = SCRYPT_COST): Promise<Credentials> {
  const salt = new Uint8Array(randomBytes(SALT_BYTES));
  return {
    scrypt: { ...cost, salt, hash: await scryptHash(prepared, salt, cost) },
    scram: await makeScramKeys(prepared, new Uint8Array(randomBytes(SALT_BYTES)), SCRAM_ITERATIONS),
  };
}

/** Takes the time that `cost` says; runs beside the main thread. */
export function scryptHash(prepared: string, salt: Uint8Array, { n, r, p }: ScryptCost): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    scrypt(prepared, salt, 32, { N: n, r, p, maxmem: 256 * n * r }, (error, hash) => {
      if (error) reject(error);
      else resolve(new Uint8Array(hash));
    });
  });
}

/** RFC 5802 §3. */
export async function makeScramKeys(prepared: string, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
  const salted = await promisify(pbkdf2)(prepared, salt, iterations, 32, "sha256");
  return {
    salt,
    iterations,
    storedKey: sha256(hmac(salted, "Client Key")),
    serverKey: hmac(salted, "Server Key"),
  };
}

export function hmac(key: Uint8Array, ...data: readonly (string | Uint8Array)[]): Uint8Array {
  const mac = createHmac("sha256", key);
  for (const part of data) mac.update(part);
  return new Uint8Array(mac.digest());
}

export function sha256(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(data).digest());
}

/** In a time that does not depend on where they differ. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
