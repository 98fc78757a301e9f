/**
 * The certificates that we present. A handshake always takes the current one: a renewed file takes effect with the
 * next connection, and sessions that run go on.
 */

import { createHash, X509Certificate } from "node:crypto";
import tls from "node:tls";

/** PEM texts; the certificate with its chain. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** What one handshake shows. */
export interface Shown {
  readonly context: tls.SecureContext;
  /** RFC 5929 §4.1, `tls-server-end-point`: the hash of the certificate that this client was shown. */
  readonly endPoint: Uint8Array;
}

interface Loaded extends Shown {
  readonly leaf: X509Certificate;
}

export class Certificates {
  #loaded: readonly Loaded[];

  /** The first one is for clients that name no host, or one that no certificate has. Throws when one does not load. */
  constructor(pairs: readonly KeyPair[]) {
    this.#loaded = load(pairs);
  }

  /** All or nothing: throws, and keeps the old ones, when a new one does not load. */
  replace(pairs: readonly KeyPair[]): void {
    this.#loaded = load(pairs);
  }

  /** For one handshake with a client that asks for this name. */
  shownTo(serverName: string | undefined): Shown {
    return this.#choose(serverName);
  }

  /** Of each, the leaf: whose names it has and when it ends, milliseconds since 1970. */
  validity(): readonly { readonly names: readonly string[]; readonly notAfter: number }[] {
    return this.#loaded.map(({ leaf }) => ({ names: namesOf(leaf), notAfter: Date.parse(leaf.validTo) }));
  }

  #choose(serverName: string | undefined): Loaded {
    const named = serverName && this.#loaded.find(({ leaf }) => leaf.checkHost(serverName) !== undefined);
    return named || this.#loaded[0]!;
  }
}

function load(pairs: readonly KeyPair[]): readonly Loaded[] {
  if (pairs.length === 0) throw new Error("there is no certificate");
  return pairs.map(({ certificate, key }) => {
    const leaf = new X509Certificate(certificate);
    const context = tls.createSecureContext({ cert: certificate, key, minVersion: "TLSv1.2" });
    return { leaf, context, endPoint: endPointOf(leaf) };
  });
}

function endPointOf(leaf: X509Certificate): Uint8Array {
  // The hash of its own signature, but nothing weaker than SHA-256.
  const hash = /sha(384|512)/i.exec((leaf as { signatureAlgorithm?: string }).signatureAlgorithm ?? "")?.[1] ?? "256";
  return createHash(`sha${hash}`).update(leaf.raw).digest();
}

function namesOf({ subjectAltName = "" }: X509Certificate): readonly string[] {
  return subjectAltName.split(", ").map((name) => name.replace(/^DNS:|^IP Address:/, "")).filter((name) => name !== "");
}
