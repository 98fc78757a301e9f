/** Under which address of ours mail is forwarded, and whose it is that comes back to one (smtp/srs.ts). */

import { createHash, createHmac } from "node:crypto";
import { formatMailbox, type Mailbox, parseMailbox } from "../smtp/address.ts";
import { BASE32, type Hash, readSrs, srsOf, srsOfStored } from "../smtp/srs.ts";
import { commit, KEY } from "./kv.ts";

/** What is kept: the newest first. Older than a return path can be valid, a key still bounces nothing wrongly. */
export interface SrsKey {
  readonly key: Uint8Array<ArrayBuffer>;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** The sender of a message that came back. `forged` and `expired` come to nobody. */
export type Returned = { readonly to: Mailbox } | { readonly to: "nobody"; readonly because: "forged" | "expired" };

export interface ReturnPathsSettings {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const DAY = 24 * 3600_000;
/** A key makes return paths for so long, and is believed until two others have come. */
const ROTATE_AFTER = 90 * DAY, KEYS = 3;
/** A stored sender is kept longer than its return path is valid, and looked after again when it has got that old. */
const KEEP_SENDER = 60 * DAY, FRESH_SENDER = 30 * DAY;
/** Milliseconds that keys are believed without a look; with each key another process may have begun a new one. */
const REMEMBER = 60_000;
const MAX_REMEMBERED = 10_000;

interface StoredSender {
  readonly sender: string;
  readonly at: number;
}

export class ReturnPaths {
  readonly #kv: Deno.Kv;
  readonly #now: () => number;
  #keys: readonly SrsKey[] = [];
  #read = -Infinity;
  /** Senders that are surely stored, by token: when. */
  readonly #stored = new Map<string, number>();

  constructor(kv: Deno.Kv, { now = Date.now }: ReturnPathsSettings = {}) {
    this.#kv = kv;
    this.#now = now;
  }

  /** `sender`, `local@domain`, as an address of our `domain`. Rejects when the store cannot be read or written. */
  async of(sender: string, domain: string): Promise<string> {
    const mailbox = parseMailbox(sender), [newest] = await this.#current();
    if (mailbox === undefined) throw new Error(`${JSON.stringify(sender)} is no sender`);
    if (newest === undefined) throw new Error("There is no key for return paths");
    const now = this.#now(), hash = hashWith(newest.key);
    return srsOf(mailbox, domain, hash, now) ?? srsOfStored(await this.#keep(mailbox), domain, hash, now);
  }

  /** Who sent what came back to this address, for which `isSrs`. Rejects when the store cannot be read. */
  async senderOf(address: Mailbox): Promise<Returned> {
    const now = this.#now();
    let found = readSrs(address, (await this.#current()).map(({ key }) => hashWith(key)), now);
    if (found.is === "forged") {
      await this.#refresh(); // Another process may have begun a new key a moment ago.
      found = readSrs(address, this.#keys.map(({ key }) => hashWith(key)), now);
    }
    switch (found.is) {
      case "sender":
        return { to: found.sender };
      case "stored": {
        const { value } = await this.#kv.get<StoredSender>(KEY.sender(found.token));
        const sender = value === null ? undefined : parseMailbox(value.sender);
        return sender === undefined ? { to: "nobody", because: "expired" } : { to: sender };
      }
      case "forged":
      case "expired":
        return { to: "nobody", because: found.is };
      default:
        return found satisfies never;
    }
  }

  /** The token under which a sender is stored. The same sender has one, however much of its mail is forwarded. */
  async #keep(sender: Mailbox): Promise<string> {
    const now = this.#now();
    const token = base32(createHash("sha256").update(formatMailbox(sender)).digest(), 16);
    const known = this.#stored.get(token);
    if (known !== undefined && Math.abs(now - known) < FRESH_SENDER) return token;
    const stored: StoredSender = { sender: formatMailbox(sender), at: now };
    await commit(this.#kv.atomic().set(KEY.sender(token), stored, { expireIn: KEEP_SENDER }));
    if (this.#stored.size >= MAX_REMEMBERED) this.#stored.clear();
    this.#stored.set(token, now);
    return token;
  }

  async #current(): Promise<readonly SrsKey[]> {
    if (performance.now() - this.#read > REMEMBER) await this.#refresh();
    return this.#keys;
  }

  /** Reads the keys, and begins a new one when it is time. */
  async #refresh(): Promise<void> {
    for (;;) {
      const found = await this.#kv.get<readonly SrsKey[]>(KEY.srsKeys), keys = found.value ?? [];
      const [newest] = keys, now = this.#now();
      if (newest === undefined || now - newest.since > ROTATE_AFTER) {
        const fresh: SrsKey = { key: crypto.getRandomValues(new Uint8Array(32)), since: now };
        // With the check, of two processes the second one takes over what the first one chose.
        await commit(this.#kv.atomic().check(found).set(KEY.srsKeys, [fresh, ...keys].slice(0, KEYS)));
        continue;
      }
      this.#keys = keys;
      this.#read = performance.now();
      return;
    }
  }
}

function hashWith(key: Uint8Array): Hash {
  return (text) => base32(createHmac("sha256", key).update(text).digest(), 8);
}

/** The first `length` signs, five bits each. */
function base32(bytes: Uint8Array, length: number): string {
  let signs = "", bits = 0, value = 0;
  for (const byte of bytes) {
    value = (value << 8 | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) signs += BASE32[value >> (bits - 5) & 31];
  }
  return signs.slice(0, length);
}
