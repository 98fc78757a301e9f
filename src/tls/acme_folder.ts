/**
 * `STORE/acme/`: for each certificate `NAME.pem`, the key and then the chain in one file, so that no crash leaves one
 * without the other, and `NAME.json`, how the orders went. Both are written whole or not at all.
 */

import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { dirname, join } from "node:path";
import tls from "node:tls";
import { replaceFile } from "../durable_file.ts";
import { reasonOf } from "../log.ts";
import type { KeyPair } from "./certificates.ts";

/** A certificate of ours. Times in milliseconds since 1970. */
export interface Held {
  readonly pair: KeyPair;
  /** The directory of the authority that has issued it. */
  readonly directory: string;
  readonly leaf: X509Certificate;
  readonly notAfter: number;
  /** When a third of its life is left. */
  readonly renewAt: number;
}

/** How the orders went since the last certificate. Times in milliseconds since 1970. */
export interface Attempts {
  /** The settings that they were made with: others are tried at once. */
  readonly settings: string;
  readonly failures: number;
  /** No order before. */
  readonly notBefore: number;
  /** The part of it that the authority itself asked for. */
  readonly asked?: number;
  readonly last?: number;
  /** Why the last one failed. */
  readonly error?: string;
}

const FROM = "Certificate of maildemon, which renews it by itself. From: ";

/** Undefined when there is none, or none that can be used. Rejects when it cannot be read. */
export async function readHeld(store: string, name: string): Promise<Held | undefined> {
  const text = await readIfThere(pathOf(store, `${name}.pem`));
  if (text === undefined) return undefined;
  const [intro = "", key = "", certificate = ""] =
    /^([^]*?)(-----BEGIN PRIVATE KEY-----[^]*?)(-----BEGIN CERTIFICATE-----[^]*)$/.exec(text)?.slice(1) ?? [];
  const directory = intro.trim().startsWith(FROM) ? intro.trim().slice(FROM.length) : "";
  try {
    return holding({ key, certificate }, directory);
  } catch {
    return undefined;
  }
}

/** Throws when the two do not belong together, or cannot be shown in a handshake. */
export function holding(pair: KeyPair, directory: string): Held {
  const leaf = new X509Certificate(pair.certificate);
  const [own, other] = [createPublicKey(createPrivateKey(pair.key)), leaf.publicKey]
    .map((key) => key.export({ type: "spki", format: "pem" }));
  if (own !== other) throw new Error("the key does not belong to the certificate");
  tls.createSecureContext({ cert: pair.certificate, key: pair.key });
  const notBefore = Date.parse(leaf.validFrom), notAfter = Date.parse(leaf.validTo);
  return { pair, directory, leaf, notAfter, renewAt: notAfter - (notAfter - notBefore) / 3 };
}

export async function writeHeld(store: string, name: string, { pair, directory }: Held): Promise<void> {
  await replace(store, `${name}.pem`, `${FROM}${directory}\n${ended(pair.key)}${ended(pair.certificate)}`);
}

/** Undefined when there are none, or when they cannot be understood. Rejects when they cannot be read. */
export async function readAttempts(store: string, name: string): Promise<Attempts | undefined> {
  const text = await readIfThere(pathOf(store, `${name}.json`));
  if (text === undefined) return undefined;
  try {
    const attempts: Attempts = JSON.parse(text);
    return Number.isFinite(attempts.notBefore) && Number.isFinite(attempts.failures) ? attempts : undefined;
  } catch {
    return undefined;
  }
}

export async function writeAttempts(store: string, name: string, attempts: Attempts): Promise<void> {
  await replace(store, `${name}.json`, `${JSON.stringify(attempts)}\n`);
}

function pathOf(store: string, name: string): string {
  return join(store, "acme", name);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** For its owner alone. Rejects with a sentence; then the old one is still there. */
async function replace(store: string, name: string, text: string): Promise<void> {
  const path = pathOf(store, name);
  try {
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await replaceFile(path, `${path}.new`, text, 0o600);
  } catch (error) {
    throw new Error(
      `Cannot write ${path}: ${reasonOf(error)}. Make room on its disk, and look whether the folder belongs to the ` +
        "user that runs maildemon.",
    );
  }
}

function ended(pem: string): string {
  return `${pem.trim()}\n`;
}
