/**
 * The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): one exchange, text in, text out. The
 * password never crosses the wire, and who holds our record alone cannot sign in with it.
 */

import { randomBytes } from "node:crypto";
import type { Account, Accounts } from "./logins.ts";
import { loginKey, openAccount } from "./logins.ts";
import { hmac, SALT_BYTES, sameBytes, SCRAM_ITERATIONS, sha256 } from "./passwords.ts";

export interface ScramSettings {
  readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS";
  /** Whether the EHLO of this session named the -PLUS mechanism. */
  readonly plusOffered: boolean;
  /** RFC 5929 §4.1 tls-server-end-point: the hash of the certificate we present. -PLUS cannot succeed without it. */
  readonly binding?: Uint8Array;
  /** 32 bytes, the same in all processes of a store: `secret(kv, "scram")`. Makes the salts of those who do not exist. */
  readonly secret: Uint8Array;
  /** Printable ASCII without comma. */
  readonly nonce?: string;
}

/** Messages are without base64. `malformed` is 501 5.5.2, `wrong` is 535 5.7.8 and says no more on purpose. */
export type ScramStep =
  | { readonly next: "client"; readonly message: string }
  | { readonly next: "done"; readonly message: string; /** The user's address. */ readonly login: string }
  | { readonly next: "malformed" }
  | {
    readonly next: "wrong"; /** For the log; the client is not told. */
    readonly why: "binding" | "proof" | "identity";
  };

const MAX_MESSAGE = 4096, MAX_FINAL = 16_384;
const BINDING_TYPE = "tls-server-end-point";

interface Opened {
  readonly gs2: string;
  readonly bound: boolean;
  /** client-first-message-bare "," server-first-message. */
  readonly said: string;
  readonly nonce: string;
  readonly login: string;
  readonly account: Account | undefined;
}

export class ScramExchange {
  readonly #accounts: Accounts;
  readonly #settings: ScramSettings;
  #opened: Opened | undefined;

  constructor(accounts: Accounts, settings: ScramSettings) {
    this.#accounts = accounts;
    this.#settings = settings;
  }

  /** Takes the client-first-message, gives the server-first-message. Rejects only when the store cannot be read. */
  async first(message: string): Promise<ScramStep> {
    const first = message.length > MAX_MESSAGE ? undefined : parseFirst(message);
    if (first === undefined) return { next: "malformed" };
    if (!this.#bindingAgrees(first)) return { next: "wrong", why: "binding" };
    if (first.authzid !== undefined && loginKey(first.authzid) !== loginKey(first.login)) {
      return { next: "wrong", why: "identity" };
    }
    const account = await openAccount(this.#accounts, first.login);
    // Always the same salt for the same name: one that changes would tell that there is no such user.
    const noSalt = hmac(this.#settings.secret, "salt of ", loginKey(first.login)).subarray(0, SALT_BYTES);
    const { salt, iterations } = account?.credentials.scram ?? { salt: noSalt, iterations: SCRAM_ITERATIONS };
    const nonce = first.nonce + (this.#settings.nonce ?? randomBytes(18).toString("base64"));
    const answer = `r=${nonce},s=${salt.toBase64()},i=${iterations}`;
    this.#opened = {
      gs2: first.gs2,
      bound: first.bindingType !== undefined,
      said: `${first.bare},${answer}`,
      nonce,
      login: first.login,
      account,
    };
    return { next: "client", message: answer };
  }

  /** Takes the client-final-message, gives the server-final-message. An exchange can be finished once. */
  final(message: string): ScramStep {
    const opened = this.#opened;
    this.#opened = undefined;
    const final = message.length > MAX_FINAL ? undefined : parseFinal(message);
    if (opened === undefined || final === undefined) return { next: "malformed" };
    if (final.nonce !== opened.nonce) return { next: "wrong", why: "proof" };

    // RFC 5802 §7: cbind-input is the GS2 header, and behind it the binding data when the client binds.
    const header = new TextEncoder().encode(opened.gs2);
    const data = opened.bound ? this.#settings.binding ?? new Uint8Array() : new Uint8Array();
    if (!sameBytes(final.binding, concat(header, data))) return { next: "wrong", why: "binding" };

    // Without an account the same is computed with keys that nothing can match.
    const keys = opened.account?.credentials.scram ?? noKeys(this.#settings.secret, opened.login);
    const said = `${opened.said},${final.withoutProof}`;
    const signature = hmac(keys.storedKey, said);
    if (final.proof.length !== signature.length) return { next: "wrong", why: "proof" };
    const clientKey = signature.map((byte, at) => byte ^ (final.proof[at] ?? 0));
    if (!sameBytes(sha256(clientKey), keys.storedKey) || opened.account === undefined) {
      return { next: "wrong", why: "proof" };
    }
    const message2 = `v=${hmac(keys.serverKey, said).toBase64()}`;
    return { next: "done", message: message2, login: opened.account.user.address };
  }

  /** RFC 5802 §6: what the client says about channel binding must fit the mechanism and what we have offered. */
  #bindingAgrees({ flag, bindingType }: First): boolean {
    if (this.#settings.mechanism === "SCRAM-SHA-256-PLUS") {
      return bindingType === BINDING_TYPE && this.#settings.binding !== undefined;
    }
    // `y`: the client could bind and believes that we cannot. If we said we can, somebody has changed our EHLO.
    return flag === "n" || (flag === "y" && !this.#settings.plusOffered);
  }
}

interface First {
  readonly gs2: string;
  readonly flag: string;
  readonly bindingType: string | undefined;
  readonly authzid: string | undefined;
  readonly bare: string;
  readonly login: string;
  readonly nonce: string;
}

/** RFC 5802 §7 client-first-message. A mandatory extension (`m=`) that we do not know makes it malformed. */
function parseFirst(message: string): First | undefined {
  const outer = /^(([ny]|p=([A-Za-z0-9.-]+)),(?:a=([^,]*))?,)([^]*)$/.exec(message);
  const [, gs2 = "", flag = "", bindingType, authzid, bare = ""] = outer ?? [];
  const inner = /^n=([^,\0]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[^\0]*)?$/.exec(bare);
  const login = saslName(inner?.[1] ?? ""), nonce = inner?.[2];
  const as = authzid === undefined ? undefined : saslName(authzid);
  if (nonce === undefined || login === undefined || (authzid !== undefined && as === undefined)) return undefined;
  return { gs2, flag, bindingType, authzid: as, bare, login, nonce };
}

/** `=2C` is a comma and `=3D` an equals sign; any other equals sign is a mistake. */
function saslName(text: string): string | undefined {
  if (text === "" || /=(?!2C|3D)/.test(text)) return undefined;
  return text.replaceAll("=2C", ",").replaceAll("=3D", "=");
}

interface Final {
  readonly withoutProof: string;
  readonly binding: Uint8Array;
  readonly nonce: string;
  readonly proof: Uint8Array;
}

function parseFinal(message: string): Final | undefined {
  const parts = /^(c=([A-Za-z0-9+\/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[^\0]*)?),p=([A-Za-z0-9+\/=]+)$/.exec(message);
  const [, withoutProof, binding, nonce, proof] = parts ?? [];
  if (withoutProof === undefined || binding === undefined || nonce === undefined || proof === undefined) {
    return undefined;
  }
  try {
    return { withoutProof, binding: Uint8Array.fromBase64(binding), nonce, proof: Uint8Array.fromBase64(proof) };
  } catch {
    return undefined;
  }
}

function noKeys(secret: Uint8Array, login: string): { storedKey: Uint8Array; serverKey: Uint8Array } {
  const key = hmac(secret, "keys of ", loginKey(login));
  return { storedKey: key, serverKey: key };
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
