/** The client half of SCRAM-SHA-256, by hand. */

import { Buffer } from "node:buffer";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { expect } from "./letters.ts";
import type { SmtpPeer } from "./smtp_peer.ts";

/**
 * The whole exchange; gives the reply that decided. The login is one without comma and equals sign. With an end point
 * (RFC 5929 §4) it is -PLUS.
 */
export async function scram(
  peer: SmtpPeer,
  login: string,
  password: string,
  endPoint?: Uint8Array,
): Promise<string> {
  const said = await answerToProof(peer, login, password, endPoint);
  return said.startsWith("334") ? await peer.say("") : said;
}

/** After RFC 5802 §3 and RFC 7677; gives the reply to the client's proof: 334 with the proof of the server, or a refusal. */
export async function answerToProof(
  peer: SmtpPeer,
  login: string,
  password: string,
  endPoint?: Uint8Array,
): Promise<string> {
  const mechanism = endPoint === undefined ? "SCRAM-SHA-256" : "SCRAM-SHA-256-PLUS";
  const header = endPoint === undefined ? "n,," : "p=tls-server-end-point,,";
  const channel = Buffer.concat([Buffer.from(header), endPoint ?? Buffer.alloc(0)]).toString("base64");
  const hmac = (key: Uint8Array, text: string | Uint8Array) => createHmac("sha256", key).update(text).digest();
  const bare = `n=${login},r=${crypto.randomUUID()}`;
  const challenge = expect(await peer.say(`AUTH ${mechanism} ${btoa(`${header}${bare}`)}`), "334").slice(4);
  const first = atob(challenge);
  const [, nonce = "", salt = "", iterations = "0"] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(first) ?? [];
  const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(iterations), 32, "sha256");
  const clientKey = hmac(salted, "Client Key"), without = `c=${channel},r=${nonce}`;
  const stored = createHash("sha256").update(clientKey).digest();
  const signature = hmac(stored, `${bare},${first},${without}`);
  const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0))).toString("base64");
  return await peer.say(btoa(`${without},p=${proof}`));
}
