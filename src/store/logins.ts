/**
 * Who may sign in. A wrong password, an unknown user and a disabled one cost the same and look the same. Each guess
 * costs half a second and 128 MiB, so few run at once, few wait, and a client that signs in for each message is
 * remembered for five minutes.
 */

import { randomBytes } from "node:crypto";
import type { Mailbox } from "../smtp/address.ts";
import { addressKey, parseMailbox } from "../smtp/address.ts";
import type { Credentials, ScryptCost } from "./passwords.ts";
import { hmac, preparePassword, SALT_BYTES, sameBytes, SCRYPT_COST, scryptHash } from "./passwords.ts";
import type { User } from "./people.ts";

/** `later`: too many are signing in right now; nothing was said about the password (454 4.7.0). */
export type Verified =
  | { readonly result: "right"; /** The user's address as in the record. */ readonly login: string }
  | { readonly result: "wrong" }
  | { readonly result: "later" };

/** Where the records come from: the PeopleCache. */
export interface Accounts {
  user(login: Mailbox): Promise<User | undefined>;
  credentials(login: Mailbox): Promise<Credentials | undefined>;
}

export interface LoginSettings {
  /** How many passwords are hashed at once, and how many may wait for that. */
  readonly concurrent?: number;
  readonly waiting?: number;
  /** How long a login is remembered, milliseconds. */
  readonly memory?: number;
  /** Cost of the hash that is made for users who do not exist: the one new passwords get. */
  readonly cost?: ScryptCost;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

const MAX_REMEMBERED = 10_000;

export class Logins {
  readonly #accounts: Accounts;
  readonly #concurrent: number;
  readonly #mayWait: number;
  readonly #memory: number;
  readonly #cost: ScryptCost;
  readonly #now: () => number;
  /** The key of what is remembered dies with the process; no password can be got out of its memory by its hash. */
  readonly #key = new Uint8Array(randomBytes(32));
  readonly #noSalt = new Uint8Array(randomBytes(SALT_BYTES));
  /** Keyed hash of login, salt and password → when it is forgotten. In order of insertion. */
  readonly #remembered = new Map<string, number>();
  #running = 0;
  readonly #queue: (() => void)[] = [];

  constructor(accounts: Accounts, settings: LoginSettings = {}) {
    this.#accounts = accounts;
    this.#concurrent = settings.concurrent ?? 2;
    this.#mayWait = settings.waiting ?? 40;
    this.#memory = settings.memory ?? 5 * 60_000;
    this.#cost = settings.cost ?? SCRYPT_COST;
    this.#now = settings.now ?? (() => performance.now());
  }

  /** Rejects only when the store cannot be read. */
  async verifyPassword(login: string, password: string): Promise<Verified> {
    const account = await openAccount(this.#accounts, login);
    const prepared = preparePassword(password);
    const known = account?.credentials.scrypt;
    const ticket = this.#ticket(login, known?.salt ?? this.#noSalt, prepared ?? "");
    if (account !== undefined && this.#remembers(ticket)) return { result: "right", login: account.user.address };

    if (!await this.#enter()) return { result: "later" };
    let hash: Uint8Array;
    try {
      hash = await scryptHash(prepared ?? "", known?.salt ?? this.#noSalt, known ?? this.#cost);
    } finally {
      this.#leave();
    }
    if (account === undefined || known === undefined || prepared === undefined || !sameBytes(hash, known.hash)) {
      return { result: "wrong" };
    }
    this.#remember(ticket);
    return { result: "right", login: account.user.address };
  }

  /** With the salt in it, a ticket is worth nothing as soon as the password is set anew. */
  #ticket(login: string, salt: Uint8Array, prepared: string): string {
    const name = new TextEncoder().encode(loginKey(login));
    const length = new Uint8Array(new Uint32Array([name.length]).buffer);
    return hmac(this.#key, length, name, salt, prepared).toBase64();
  }

  #remembers(ticket: string): boolean {
    return (this.#remembered.get(ticket) ?? -Infinity) > this.#now();
  }

  #remember(ticket: string): void {
    const now = this.#now();
    this.#remembered.delete(ticket);
    this.#remembered.set(ticket, now + this.#memory);
    for (const [oldest, until] of this.#remembered) {
      if (until > now && this.#remembered.size <= MAX_REMEMBERED) break;
      this.#remembered.delete(oldest);
    }
  }

  /** False when too many wait already. Who waits gets in after a bounded number of hashes. */
  #enter(): Promise<boolean> {
    if (this.#running < this.#concurrent) {
      this.#running++;
      return Promise.resolve(true);
    }
    if (this.#queue.length >= this.#mayWait) return Promise.resolve(false);
    return new Promise((resolve) => this.#queue.push(() => resolve(true)));
  }

  #leave(): void {
    const next = this.#queue.shift();
    // The place passes to the next one without becoming free in between.
    if (next === undefined) this.#running--;
    else next();
  }
}

export interface Account {
  readonly user: User;
  readonly credentials: Credentials;
}

/** The account that may sign in under this name; undefined for all reasons why none may. */
export async function openAccount(accounts: Accounts, login: string): Promise<Account | undefined> {
  // A name that is no address is looked up like one, so that it takes as long.
  const mailbox = parseMailbox(login) ?? { local: "", domain: "invalid" };
  const [user, credentials] = await Promise.all([accounts.user(mailbox), accounts.credentials(mailbox)]);
  return user?.enabled && credentials !== undefined ? { user, credentials } : undefined;
}

/** The form in which logins are counted and compared, whether or not such a user exists. */
export function loginKey(login: string): string {
  const mailbox = parseMailbox(login);
  return mailbox === undefined ? login.normalize("NFC").toLowerCase() : addressKey(mailbox);
}
