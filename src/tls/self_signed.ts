/** A certificate of our own for trying things out: an authority and a leaf, because TLS libraries refuse one that is both. */

// The X.509 library wants it to be there first.
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { KeyPair } from "./certificates.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY = 86_400_000;

/**
 * `names`: DNS names and IP addresses the leaf is good for, for 90 days unless told otherwise. `authority`: PEM, for
 * clients that shall trust it.
 */
export async function selfSigned(
  names: readonly string[],
  times = { notBefore: new Date(Date.now() - DAY), notAfter: new Date(Date.now() + 90 * DAY) },
): Promise<KeyPair & { readonly authority: string }> {
  const authorityKeys = await generateKeys(), leafKeys = await generateKeys();
  const authority = await X509CertificateGenerator.createSelfSigned({
    ...times,
    serialNumber: serial(),
    name: "CN=maildemon trial authority",
    keys: authorityKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  const leaf = await X509CertificateGenerator.create({
    ...times,
    serialNumber: serial(),
    subject: `CN=${names[0] ?? "localhost"}`,
    issuer: authority.subject,
    publicKey: leafKeys.publicKey,
    signingKey: authorityKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? "ip" : "dns", value } as const)),
      ),
    ],
  });
  const key = await crypto.subtle.exportKey("pkcs8", leafKeys.privateKey);
  return {
    certificate: `${leaf.toString("pem")}\n${authority.toString("pem")}\n`,
    key: pem("PRIVATE KEY", new Uint8Array(key)),
    authority: `${authority.toString("pem")}\n`,
  };
}

async function generateKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

/** RFC 5280 §4.1.2.2: positive. */
function serial(): string {
  return `01${crypto.getRandomValues(new Uint8Array(8)).toHex()}`;
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
