/** Links by which one address takes itself off the mail of one user (RFC 8058). Nobody else can make one. */

import { createHmac, timingSafeEqual } from "node:crypto";
import { Buffer } from "node:buffer";
import { formatMailbox, type Mailbox, parseMailbox } from "../smtp/address.ts";

/** Signs of a token; an address has 254 octets. */
const MAX_TOKEN = 1000, HASH = 16;

export class UnsubscribeLinks {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** `BASE/TOKEN` */
  linkFor(base: string, user: string, address: Mailbox): string {
    const pair = Buffer.from(JSON.stringify([user, formatMailbox(address)])).toString("base64url");
    return `${base.replace(/\/$/, "")}/${pair}.${this.#hash(pair).toString("base64url")}`;
  }

  /** Undefined when it was not made here, or has been changed. */
  read(token: string): { readonly user: string; readonly address: Mailbox } | undefined {
    const [pair = "", hash = ""] = token.length > MAX_TOKEN ? [] : token.split(".", 2);
    const given = Buffer.from(hash, "base64url");
    if (given.length !== HASH || !timingSafeEqual(given, this.#hash(pair))) return undefined;
    const [user, text]: readonly string[] = JSON.parse(Buffer.from(pair, "base64url").toString());
    const address = parseMailbox(text ?? "");
    return user === undefined || address === undefined ? undefined : { user, address };
  }

  #hash(pair: string): Buffer {
    return createHmac("sha256", this.#key).update(pair).digest().subarray(0, HASH);
  }
}
