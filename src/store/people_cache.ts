/**
 * Users and aliases as the server reads them: out of memory, because each RCPT and each login asks. Commands change
 * the store from other processes, and KV tells nobody: so one small record, which every change moves, is looked at
 * twice a second, and everything remembered is dropped when it has moved.
 */

import type { Log } from "../log.ts";
import type { Mailbox } from "../smtp/address.ts";
import { addressKey, parseMailbox, withoutTag } from "../smtp/address.ts";
import { KEY } from "./kv.ts";
import type { Credentials } from "./passwords.ts";
import type { Owner, User } from "./people.ts";
import { readOwner, readUser, readUsers } from "./people.ts";

/** What the directory has to know about people. */
export interface People {
  user(login: Mailbox): Promise<User | undefined>;
  owner(addressKey: string): Promise<Owner | undefined>;
  /** The user of the domain who has been there longest, an enabled one if there is any. */
  firstUser(domain: string): Promise<User | undefined>;
}

/** Straight from the store: for commands, which look once. */
export function readPeople(kv: Deno.Kv): People {
  return {
    user: (login) => readUser(kv, login),
    owner: (key) => readOwner(kv, key),
    firstUser: async (domain) => first(await readUsers(kv, domain)),
  };
}

function first(users: readonly User[]): User | undefined {
  return users.toSorted((a, b) => Number(b.enabled) - Number(a.enabled) || a.created - b.created)[0];
}

export interface CacheSettings {
  readonly log: Log;
  /** Milliseconds between two looks at the version. */
  readonly interval?: number;
}

// Unknown addresses are remembered too; a dictionary attack must not fill the memory.
const MAX_REMEMBERED = 20_000;

export class PeopleCache implements People {
  readonly #kv: Deno.Kv;
  readonly #log: Log;
  readonly #interval: number;
  #remembered = new Map<string, Promise<unknown>>();
  #version: string | null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;

  /** Begins to watch. `close` ends it. */
  static async open(kv: Deno.Kv, settings: CacheSettings): Promise<PeopleCache> {
    return new PeopleCache(kv, settings, (await kv.get(KEY.people)).versionstamp);
  }

  private constructor(kv: Deno.Kv, { log, interval = 500 }: CacheSettings, version: string | null) {
    this.#kv = kv;
    this.#log = log;
    this.#interval = interval;
    this.#version = version;
    this.#wait();
  }

  user(login: Mailbox): Promise<User | undefined> {
    return this.#remember(`user ${addressKey(login)}`, () => readUser(this.#kv, login));
  }

  owner(key: string): Promise<Owner | undefined> {
    return this.#remember(`owner ${key}`, () => readOwner(this.#kv, key));
  }

  firstUser(domain: string): Promise<User | undefined> {
    return this.#remember(`first ${domain}`, async () => first(await readUsers(this.#kv, domain)));
  }

  credentials(login: Mailbox): Promise<Credentials | undefined> {
    return this.#remember(
      `credentials ${addressKey(login)}`,
      async () => (await this.#kv.get<Credentials>(KEY.credentials(login))).value ?? undefined,
    );
  }

  /** All addresses of a user as `addressKey`s, the login first; empty when there is no such user. */
  async addressesOf(login: string): Promise<readonly string[]> {
    const mailbox = parseMailbox(login);
    const user = mailbox && await this.user(mailbox);
    return user === undefined ? [] : addressKeysOf(user);
  }

  /**
   * Whether the user may send as this address: one of the user's own, with or without a +tag. Who has been disabled may
   * not any more, also in a session that began before.
   */
  async maySendAs(login: string, address: Mailbox): Promise<boolean> {
    if (!await this.isEnabled(login)) return false;
    const own = await this.addressesOf(login);
    return own.includes(addressKey(address)) || own.includes(addressKey(withoutTag(address)));
  }

  async isEnabled(login: string): Promise<boolean> {
    const mailbox = parseMailbox(login);
    return (mailbox && await this.user(mailbox))?.enabled === true;
  }

  /** Looks now whether somebody has changed something. */
  async refresh(): Promise<void> {
    const { versionstamp } = await this.#kv.get(KEY.people);
    if (versionstamp === this.#version) return;
    this.#version = versionstamp;
    // A new map: what is being read right now may be old, and lands in the one that nobody looks at any more.
    this.#remembered = new Map();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #remember<T>(name: string, read: () => Promise<T>): Promise<T> {
    const remembered = this.#remembered;
    // One name is always read by one kind of reader, so the type under a name is always the same.
    const known = remembered.get(name) as Promise<T> | undefined;
    if (known !== undefined) return known;
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    const reading = read();
    remembered.set(name, reading);
    // A failure is told to those who asked, and not remembered.
    reading.catch(() => remembered.delete(name));
    return reading;
  }

  #wait(): void {
    this.#timer = setTimeout(() => this.#looking = this.#look(), this.#interval);
  }

  async #look(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      // What is in memory may be old now, but it is all there is; the next look may succeed.
      if (!this.#closed) this.#log("warning", "people-unreadable", { error: String(error) });
    }
    if (!this.#closed) this.#wait();
  }
}

/** The login and the further addresses, as `addressKey`s. */
export function addressKeysOf(user: User): string[] {
  return [user.address, ...user.addresses].map((address) => {
    const mailbox = parseMailbox(address);
    return mailbox === undefined ? "" : addressKey(mailbox);
  }).filter((key) => key !== "");
}
