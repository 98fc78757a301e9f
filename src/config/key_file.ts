/** The files that the configuration names: keys, certificates and passwords, read once at start and again at reload. */

import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import type { Settings } from "./schema.ts";
import { readSecretText, readText } from "./file_text.ts";
import { FAILED, type Failed, type Place } from "./table.ts";

/** A key to sign with, checked to load. */
export interface DkimKey {
  readonly domain: string;
  readonly selector: string;
  readonly algorithm: "rsa" | "ed25519";
  /** One PEM block, PKCS#1 or PKCS#8. */
  readonly pem: string;
}

/** A certificate and the key that was checked to belong to it. */
export interface Certificate {
  /** Where they came from: read again when they change. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** PEM blocks, the leaf first. */
  readonly chain: string;
  /** One PEM block. */
  readonly key: string;
}

export interface KeyFiles {
  /** In the order of the file. */
  readonly dkim: readonly DkimKey[];
  /** The first is for clients that name no host we know. */
  readonly certificates: readonly Certificate[];
  /** Passwords and tokens under the absolute path of their file. */
  readonly secrets: ReadonlyMap<string, string>;
  /** PEM blocks: by what the authority of [tls.acme] is known over HTTPS. */
  readonly directoryCa?: string;
}

const TLS_RSA_LEAST = 2048, TLS_CURVES = ["prime256v1", "secp384r1", "secp521r1"];
// RFC 8301 §3.2: verifiers take 1024 to 4096 bits, signers should use 2048.
const RSA_LEAST = 1024, RSA_MOST = 4096, RSA_GOOD = 2048;

/** Any text, or the form of standardwebhooks.com: with a sign missing it would be another key, and sign wrongly. */
const WEBHOOK_SECRET = /^(?!whsec_)|^whsec_[\w+/-]{2,}={0,2}$/;

/** Where and when files are read. */
export interface Reading {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** See `readSecretText`. */
  readonly credentials: string | undefined;
}

/**
 * Reads every file that `settings` name. Problems go to `place`, doubts to `warn`; what has a problem is left out of
 * the result.
 */
export async function readKeyFiles(
  settings: Settings,
  place: Place,
  warn: (place: Place, message: string) => void,
  reading: Reading,
): Promise<KeyFiles> {
  const dkim: DkimKey[] = [], secrets = new Map<string, string>();

  for (const [index, domain] of settings.domains.entries()) {
    for (const [number, { selector, key }] of domain.dkim.entries()) {
      const here = place.below("domains").below(index).below("dkim").below(number).below("key");
      const loaded = await readDkimKey(key, here, warn, reading);
      if (loaded !== FAILED) dkim.push({ domain: domain.name, selector, ...loaded });
    }
  }

  const certificates = await readCertificates(settings, place, warn, reading);
  const { acme } = settings.tls;
  const directoryCa = await readAuthority(acme?.directory_ca, place.below("tls").below("acme").below("directory_ca"));
  for (const { file, at } of secretFiles(settings, place)) {
    const secret = await readSecret(file, at, reading);
    if (secret === FAILED) continue;
    if (file !== settings.unsubscribe.secret_file || WEBHOOK_SECRET.test(secret)) secrets.set(file, secret);
    else at.fail(`${file} begins with "whsec_"; must have base64 behind it and nothing else`);
  }
  return { dkim, certificates, secrets, ...(typeof directoryCa === "string" && { directoryCa }) };
}

/** Every certificate with its key that `settings` name, the one of [tls] itself first. */
function certificatePairs({ tls: { certificate, key, certificates } }: Settings, place: Place) {
  const tls = place.below("tls");
  const pairs = certificates.map((pair, index) => ({ ...pair, at: tls.below("certificates").below(index) }));
  if (certificate !== undefined && key !== undefined) pairs.unshift({ certificate, key, at: tls });
  return pairs;
}

/** The files of certificates and their keys, and all that `settings` name. */
export function namedFiles(
  settings: Settings,
  place: Place,
): { readonly certificateFiles: readonly string[]; readonly others: readonly string[] } {
  return {
    certificateFiles: certificatePairs(settings, place).flatMap(({ certificate, key }) => [certificate, key]),
    others: [
      ...settings.domains.flatMap(({ dkim }) => dkim.map(({ key }) => key)),
      ...secretFiles(settings, place).map(({ file }) => file),
      ...[settings.tls.acme?.directory_ca].filter((file) => file !== undefined),
    ],
  };
}

/** What has a problem, which goes to `place`, is left out. */
export async function readCertificates(
  settings: Settings,
  place: Place,
  warn: (place: Place, message: string) => void,
  reading: Reading,
): Promise<readonly Certificate[]> {
  const loaded: Certificate[] = [];
  for (const { certificate, key, at } of certificatePairs(settings, place)) {
    const one = await readCertificate(certificate, key, at, warn, reading);
    if (one !== FAILED) loaded.push(one);
  }
  return loaded;
}

function secretFiles({ outbound, unsubscribe, status }: Settings, place: Place): { file: string; at: Place }[] {
  const routes = place.below("outbound").below("routes");
  const named = [
    { file: outbound.smarthost_password_file, at: place.below("outbound").below("smarthost_password_file") },
    ...outbound.routes.map(({ password_file }, index) => (
      { file: password_file, at: routes.below(index).below("password_file") }
    )),
    { file: unsubscribe.secret_file, at: place.below("unsubscribe").below("secret_file") },
    { file: status.token_file, at: place.below("status").below("token_file") },
  ];
  return named.flatMap(({ file, at }) => file === undefined ? [] : [{ file, at }]);
}

async function readDkimKey(
  file: string,
  place: Place,
  warn: (place: Place, message: string) => void,
  { credentials }: Reading,
): Promise<Pick<DkimKey, "algorithm" | "pem"> | Failed> {
  const text = await readSecretText(file, place, credentials);
  const loaded = text === FAILED ? FAILED : loadPrivateKey(text, file, place);
  if (loaded === FAILED) return FAILED;
  const { pem, key } = loaded;
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return { algorithm: "ed25519", pem };
    case "rsa": {
      const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
      if (bits < RSA_LEAST || bits > RSA_MOST) {
        return place.fail(
          `${file} is an RSA key of ${bits} bits; must have ${RSA_LEAST} to ${RSA_MOST}, best ${RSA_GOOD}`,
        );
      }
      if (bits < RSA_GOOD) {
        warn(
          place,
          `${file} is an RSA key of ${bits} bits, which some receivers do not count; make one of ${RSA_GOOD}`,
        );
      }
      return { algorithm: "rsa", pem };
    }
    default:
      return place.fail(`${file} is a key of the kind ${key.asymmetricKeyType}; DKIM knows RSA and Ed25519 only`);
  }
}

async function readCertificate(
  certificateFile: string,
  keyFile: string,
  place: Place,
  warn: (place: Place, message: string) => void,
  { now, credentials }: Reading,
): Promise<Certificate | Failed> {
  const atCertificate = place.below("certificate"), atKey = place.below("key");
  const certificateText = await readText(certificateFile, atCertificate);
  const keyText = await readSecretText(keyFile, atKey, credentials);
  const chain = certificateText === FAILED ? FAILED : loadChain(certificateText, certificateFile, atCertificate);
  const loaded = keyText === FAILED ? FAILED : loadPrivateKey(keyText, keyFile, atKey);
  if (chain === FAILED || loaded === FAILED) return FAILED;
  if (!publicBytes(chain.leaf.publicKey).equals(publicBytes(createPublicKey(loaded.key)))) {
    return atKey.fail(
      `${keyFile} does not belong to the certificate ${certificateFile}; must be the key it was made with`,
    );
  }
  if (!canBeShown(loaded.key)) {
    return atKey.fail(
      `${keyFile} is a ${nameOf(loaded.key)}, with which no handshake can be made; must be P-256, P-384, P-521, ` +
        `Ed25519 or RSA of ${TLS_RSA_LEAST} bits or more`,
    );
  }
  const { validFrom, validTo } = chain.leaf;
  if (now >= Date.parse(validTo)) warn(atCertificate, `${certificateFile} expired ${day(validTo)}; renew it`);
  if (now < Date.parse(validFrom)) warn(atCertificate, `${certificateFile} is not valid before ${day(validFrom)}`);
  return { certificateFile, keyFile, chain: chain.pem, key: loaded.pem };
}

/** What the TLS of this program takes: with any other key it would break off every handshake. */
function canBeShown({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  switch (asymmetricKeyType) {
    case "rsa":
      return (asymmetricKeyDetails?.modulusLength ?? 0) >= TLS_RSA_LEAST;
    case "ec":
      return TLS_CURVES.includes(asymmetricKeyDetails?.namedCurve ?? "");
    default:
      return asymmetricKeyType === "ed25519";
  }
}

function nameOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  const { modulusLength, namedCurve } = asymmetricKeyDetails ?? {};
  const more = namedCurve ? ` on the curve ${namedCurve}` : modulusLength ? ` of ${modulusLength} bits` : "";
  return `key of the kind ${asymmetricKeyType}${more}`;
}

async function readAuthority(file: string | undefined, place: Place): Promise<string | undefined | Failed> {
  const text = file === undefined ? undefined : await readText(file, place);
  if (file === undefined || typeof text !== "string") return text;
  const chain = loadChain(text, file, place);
  return chain === FAILED ? FAILED : chain.pem;
}

function publicBytes(key: KeyObject): Uint8Array & { equals(other: Uint8Array): boolean } {
  return key.export({ type: "spki", format: "der" });
}

function day(date: string): string {
  return new Date(date).toISOString().slice(0, 10);
}

function loadPrivateKey(text: string, file: string, place: Place): { pem: string; key: KeyObject } | Failed {
  const [pem] = pemBlocks(text, "(?:RSA |EC |ENCRYPTED )?PRIVATE KEY");
  if (pem === undefined) {
    return place.fail(`${file} has no private key; must contain a line "-----BEGIN PRIVATE KEY-----"`);
  }
  if (pem.includes("ENCRYPTED")) {
    return place.fail(`${file} is locked with a passphrase; take it off with "openssl pkey -in FILE -out NEW"`);
  }
  try {
    return { pem, key: createPrivateKey(pem) };
  } catch {
    // The reason that the library gives is a number of OpenSSL's and helps nobody.
    return place.fail(`${file} cannot be read as a private key; must be PKCS#8 or PKCS#1 in PEM and whole`);
  }
}

function loadChain(text: string, file: string, place: Place): { pem: string; leaf: X509Certificate } | Failed {
  const blocks = pemBlocks(text, "CERTIFICATE");
  let leaf: X509Certificate | undefined;
  for (const [index, block] of blocks.entries()) {
    try {
      const certificate = new X509Certificate(block);
      leaf ??= certificate;
    } catch {
      return place.fail(`${file}: block ${index + 1} cannot be read as a certificate; must be X.509 in PEM and whole`);
    }
  }
  if (leaf === undefined) {
    return place.fail(`${file} has no certificate; must contain a line "-----BEGIN CERTIFICATE-----"`);
  }
  return { pem: blocks.join(""), leaf };
}

/** Each with a line end behind it. Other blocks and the text around them are left out. */
function pemBlocks(text: string, label: string): string[] {
  const pattern = new RegExp(`-----BEGIN (${label})-----\\s[^-]*(?:-[^-]+)*-----END \\1-----`, "g");
  return [...text.matchAll(pattern)].map(([block]) => `${block}\n`);
}

async function readSecret(file: string, place: Place, { credentials }: Reading): Promise<string | Failed> {
  const text = await readSecretText(file, place, credentials);
  if (text === FAILED) return FAILED;
  const secret = text.replace(/\r?\n$/, "");
  if (secret === "") return place.fail(`${file} is empty; must contain the secret on one line`);
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(secret)) return place.fail(`${file} must contain the secret on one line and nothing else`);
  return secret;
}
