/**
 * Where the mail of an address lies, as names of folders. Nobody can leave the mail folder by an address: what is not
 * plainly harmless is percent-encoded, so `..`, `/`, NUL and line ends never reach the file system.
 */

import { createHash } from "node:crypto";
import type { Mailbox } from "../smtp/address.ts";
import { addressKey } from "../smtp/address.ts";

// Most file systems take 255 bytes; Maildir readers put extensions behind a folder's name.
const MAX_NAME = 200;

/** `DOMAIN/LOCAL`, below the mail folder. The same for all spellings of one address, different for two addresses. */
export function mailFolder(mailbox: Mailbox): string {
  const local = addressKey(mailbox).slice(0, -mailbox.domain.length - 1);
  return `${folderName(mailbox.domain)}/${folderName(local)}`;
}

/** One name of a folder for any text, at most 200 bytes, never empty, never with a leading dot. */
export function folderName(text: string): string {
  let name = "";
  for (const byte of new TextEncoder().encode(text)) {
    const sign = String.fromCharCode(byte);
    const harmless = /[a-z0-9._+-]/.test(sign) && !(sign === "." && name === "");
    name += harmless ? sign : `%${byte.toString(16).padStart(2, "0").toUpperCase()}`;
  }
  if (name === "") return "%";
  // `%s` is not a percent-encoding, so no text can be encoded to the name of a hash.
  return name.length <= MAX_NAME ? name : `%sha256-${createHash("sha256").update(text).digest("hex")}`;
}
