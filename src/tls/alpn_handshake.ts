/**
 * The server's half of one TLS 1.3 handshake, for the challenge tls-alpn-01 alone (RFC 8737). Deno's own TLS refuses the
 * certificate of this challenge, because it has an extension that is critical and that it does not know.
 *
 * Nothing is kept secret here: the certificate is for everybody, its key is thrown away with the order, no data follow,
 * and what the client says after its hello is not read. It is the least that a client takes for a handshake: the cipher
 * suite that all have (RFC 8446 §9.1), a key share that came with the hello, and one flight.
 */

import { Buffer } from "node:buffer";
import {
  createCipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from "node:crypto";
import { type ClientHello, joined } from "./alpn_hello.ts";

/** What proves a name. */
export interface ProvedBy {
  /** DER. */
  readonly certificate: Uint8Array;
  /** P-256. */
  readonly key: KeyObject;
}

/** RFC 8737 §6.2. */
const PROTOCOL = "acme-tls/1";
const TLS13 = 0x0304, AES_128_GCM_SHA256 = 0x1301, ECDSA_P256_SHA256 = 0x0403, X25519 = 0x001d, P256 = 0x0017;
/** RFC 8446 §6. */
const ALERTS = { handshake_failure: 40, protocol_version: 70, unrecognized_name: 112, no_application_protocol: 120 };
const HASH_LENGTH = 32;

/** Ended with this alert (RFC 8446 §6.2). */
export function alert(name: keyof typeof ALERTS): Uint8Array {
  return record(21, Uint8Array.of(2, ALERTS[name]));
}

/** All that the server sends: its hello and the rest of the handshake, or an alert. Throws when the key share is none. */
export function answerHello(hello: ClientHello, proofOf: (name: string) => ProvedBy | undefined): Uint8Array {
  if (!hello.protocols.includes(PROTOCOL)) return alert("no_application_protocol");
  if (!hello.versions.includes(TLS13)) return alert("protocol_version");
  const proof = proofOf(hello.serverName ?? "");
  if (proof === undefined) return alert("unrecognized_name");
  const exchange = exchangeWith(hello.keyShares);
  if (exchange === undefined || !hello.cipherSuites.includes(AES_128_GCM_SHA256)) return alert("handshake_failure");

  const serverHello = message(
    2,
    u16(0x0303),
    crypto.getRandomValues(new Uint8Array(32)),
    vector(1, hello.sessionId),
    u16(AES_128_GCM_SHA256),
    Uint8Array.of(0),
    vector(2, extension(43, u16(TLS13)), extension(51, u16(exchange.group), vector(2, exchange.share))),
  );
  const begun = joined(hello.message, serverHello), traffic = trafficSecret(exchange.secret, begun);
  const rest = proving(begun, traffic, proof);
  // The empty record of old keeps boxes on the way quiet (RFC 8446 §D.4).
  return joined(record(22, serverHello), record(20, Uint8Array.of(1)), sealed(traffic, rest));
}

/** EncryptedExtensions, Certificate, CertificateVerify and Finished (RFC 8446 §4.3, §4.4). */
function proving(begun: Uint8Array, traffic: Uint8Array, { certificate, key }: ProvedBy): Uint8Array {
  const chosen = extension(16, vector(2, vector(1, ascii(PROTOCOL))));
  const shown = joined(
    message(8, vector(2, chosen)),
    message(11, vector(1), vector(3, vector(3, certificate), vector(2))),
  );
  const context = joined(new Uint8Array(64).fill(0x20), ascii("TLS 1.3, server CertificateVerify"), Uint8Array.of(0));
  const signature = sign("sha256", joined(context, hash(begun, shown)), key);
  const verified = joined(shown, message(15, u16(ECDSA_P256_SHA256), vector(2, signature)));
  const finished = hmac(expand(traffic, "finished", HASH_LENGTH), hash(begun, verified));
  return joined(verified, message(20, finished));
}

/** Our key share, and the secret that both sides know. Undefined when the client sent none of a group that we have. */
function exchangeWith(
  shares: ReadonlyMap<number, Uint8Array>,
): { readonly group: number; readonly share: Uint8Array; readonly secret: Uint8Array } | undefined {
  const group = [X25519, P256].find((one) => shares.has(one)), theirs = shares.get(group ?? 0);
  if (group === undefined || theirs === undefined) return undefined;
  const { publicKey, privateKey } = group === X25519
    ? generateKeyPairSync("x25519")
    : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" }), head = spki.length - theirs.length;
  // The public key stands at the end of its SPKI, as it travels in TLS.
  const peer = createPublicKey({ key: Buffer.concat([spki.subarray(0, head), theirs]), type: "spki", format: "der" });
  return { group, share: spki.subarray(head), secret: diffieHellman({ privateKey, publicKey: peer }) };
}

// ── the key schedule (RFC 8446 §7.1) and the record that it protects (§5.2) ──────────────────────────────────────

function trafficSecret(shared: Uint8Array, begun: Uint8Array): Uint8Array {
  const zeros = new Uint8Array(HASH_LENGTH);
  const early = hmac(zeros, zeros), derived = expand(early, "derived", HASH_LENGTH, hash());
  return expand(hmac(derived, shared), "s hs traffic", HASH_LENGTH, hash(begun));
}

/** HKDF-Expand-Label; one block of it is always enough. */
function expand(secret: Uint8Array, label: string, length: number, context = new Uint8Array(0)): Uint8Array {
  const info = joined(u16(length), vector(1, ascii(`tls13 ${label}`)), vector(1, context), Uint8Array.of(1));
  return hmac(secret, info).subarray(0, length);
}

function sealed(traffic: Uint8Array, messages: Uint8Array): Uint8Array {
  const inner = joined(messages, Uint8Array.of(22)), length = inner.length + 16;
  const head = joined(Uint8Array.of(23), u16(0x0303), u16(length));
  // The first record under this key: its number, which goes into the nonce, is 0.
  const cipher = createCipheriv("aes-128-gcm", expand(traffic, "key", 16), expand(traffic, "iv", 12));
  cipher.setAAD(head);
  return joined(head, cipher.update(inner), cipher.final(), cipher.getAuthTag());
}

function hash(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash("sha256").update(joined(...parts)).digest());
}

function hmac(key: Uint8Array, text: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(text).digest();
}

// ── how it is written ────────────────────────────────────────────────────────────────────────────────────────────

function record(type: number, content: Uint8Array): Uint8Array {
  return joined(Uint8Array.of(type), u16(0x0303), vector(2, content));
}

function message(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return joined(Uint8Array.of(type), vector(3, ...parts));
}

function extension(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return joined(u16(type), vector(2, ...parts));
}

/** With its length before it, in so many octets. */
function vector(octets: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = joined(...parts), { length } = content;
  return joined(Uint8Array.of(length >> 16, length >> 8 & 255, length & 255).subarray(3 - octets), content);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 255);
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
