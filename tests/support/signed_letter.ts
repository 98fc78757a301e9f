/** Messages with DKIM signatures in which any tag can be wrong, signed by the text of RFC 6376 and not by our signer. */

import { Buffer } from "node:buffer";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export interface SigningKey {
  readonly privateKey: KeyObject;
  /** The TXT record. */
  readonly record: string;
}

export function rsaKey(bits = 1024): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: bits });
  const spki = publicKey.export({ type: "spki", format: "der" });
  return { privateKey, record: `v=DKIM1; k=rsa; p=${Buffer.from(spki).toString("base64")}` };
}

export interface Letter {
  readonly from?: string;
  /** Fields that stand below From, each with its CRLF. */
  readonly fields?: string;
  readonly body?: string;
  /** What is different from a good signature; undefined leaves the tag out. */
  readonly tags?: Readonly<Record<string, string | undefined>>;
  /** Behind the signed body. */
  readonly appended?: string;
  readonly hash?: "sha256" | "sha1";
}

/** relaxed/relaxed; `body` has no blanks at ends of lines and ends with one CRLF. */
export function signedLetter(key: SigningKey, letter: Letter = {}): string {
  const { from = "carol@remote.test", fields = "", body = "Hello.\r\n", appended = "", hash = "sha256" } = letter;
  const header = `From: ${from}\r\n${fields}`;
  const tags: Record<string, string | undefined> = {
    v: "1",
    a: `rsa-${hash}`,
    c: "relaxed/relaxed",
    d: "remote.test",
    s: "one",
    h: "from",
    bh: createHash(hash).update(body).digest("base64"),
    ...letter.tags,
  };
  const list = [...Object.entries(tags), ["b", ""]].filter(([, text]) => text !== undefined)
    .map(([name, text]) => `${name}=${text}`).join("; ");
  const covered = (tags["h"] ?? "").split(":").flatMap((name) => fieldOf(header, name));
  const signed = [...covered, `dkim-signature:${list}`].join("\r\n");
  const b = sign(hash, Buffer.from(signed), key.privateKey).toString("base64");
  return `DKIM-Signature: ${list}${b}\r\n${header}\r\n${body}${appended}`;
}

/** The last field of this name, relaxed; none when there is none. */
function fieldOf(header: string, name: string): string[] {
  const line = header.split("\r\n").findLast((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`));
  if (line === undefined) return [];
  return [`${name.toLowerCase()}:${line.slice(name.length + 1).trim().replace(/[ \t]+/g, " ")}`];
}
