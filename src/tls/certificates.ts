/** The certificates that we present, ready for handshakes, and which of them is shown to whom. */

import { createHash, X509Certificate } from "node:crypto";
import tls from "node:tls";
import { isFor } from "./certificate_names.ts";

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
  readonly #loaded: readonly Loaded[];

  /** The first one is for clients that name no host, or one that no certificate has. Throws when one does not load. */
  constructor(pairs: readonly KeyPair[]) {
    if (pairs.length === 0) throw new Error("there is no certificate");
    this.#loaded = pairs.map(load);
  }

  /** For one handshake with a client that asks for this name. */
  shownTo(serverName: string | undefined): Shown {
    const named = serverName && this.#loaded.find(({ leaf }) => isFor(leaf, serverName));
    return named || this.#loaded[0]!;
  }

  /** When the first of them ends, milliseconds since 1970. */
  endsAt(): number {
    return Math.min(...this.#loaded.map(({ leaf }) => Date.parse(leaf.validTo)));
  }
}

function load({ certificate, key }: KeyPair): Loaded {
  const leaf = new X509Certificate(certificate);
  const context = tls.createSecureContext({ cert: certificate, key, minVersion: "TLSv1.2" });
  return { leaf, context, endPoint: endPointOf(leaf) };
}

function endPointOf(leaf: X509Certificate): Uint8Array {
  // The hash of its own signature, but nothing weaker than SHA-256.
  const hash = /sha(384|512)/i.exec((leaf as { signatureAlgorithm?: string }).signatureAlgorithm ?? "")?.[1] ?? "256";
  return createHash(`sha${hash}`).update(leaf.raw).digest();
}
