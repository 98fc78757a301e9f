/** Links by which one address takes itself off the mail of one user (RFC 8058). Nobody else can make one. */

import { createHmac, timingSafeEqual } from "node:crypto";
import { Buffer } from "node:buffer";
import { formatMailbox, type Mailbox, parseMailbox } from "../smtp/address.ts";

/** Signs of a token: what two addresses of 254 octets need, unless they are mostly quotes. With its base it fits on a line. */
const MAX_TOKEN = 750;
const HASH = 16;

export class UnsubscribeLinks {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** `BASE/TOKEN`. Undefined for a pair that no link can hold. */
  linkFor(base: string, user: string, address: Mailbox): string | undefined {
    const pair = Buffer.from(JSON.stringify([user, formatMailbox(address)])).toString("base64url");
    const token = `${pair}.${this.#hash(pair)}`;
    return token.length > MAX_TOKEN ? undefined : `${base.replace(/\/$/, "")}/${token}`;
  }

  /** Undefined when it was not made here, or has been changed. */
  read(token: string): { readonly user: string; readonly address: Mailbox } | undefined {
    const [, pair = "", hash = ""] = (token.length > MAX_TOKEN ? null : /^([\w-]+)\.([\w-]+)$/.exec(token)) ?? [];
    // As text: several spellings of base64 stand for the same bytes.
    const given = Buffer.from(hash), wanted = Buffer.from(this.#hash(pair));
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return undefined;
    const [user, text]: readonly string[] = JSON.parse(Buffer.from(pair, "base64url").toString());
    const address = parseMailbox(text ?? "");
    return user === undefined || address === undefined ? undefined : { user, address };
  }

  #hash(pair: string): string {
    return createHmac("sha256", this.#key).update(pair).digest().subarray(0, HASH).toString("base64url");
  }
}
