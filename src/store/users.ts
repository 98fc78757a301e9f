/** The users: made, read and changed by the commands. The server reads them through PeopleCache. */

import type { Mailbox } from "../smtp/address.ts";
import { addressKey, formatMailbox, withoutTag } from "../smtp/address.ts";
import { demandDelivery, formatDelivery } from "./delivery.ts";
import { follow } from "./address_walk.ts";
import type { Domain } from "./domains.ts";
import { KEY } from "./kv.ts";
import type { ScryptCost } from "./passwords.ts";
import { demandPassword, makeCredentials } from "./passwords.ts";
import type { Owner, User } from "./people.ts";
import { changePeople, demandMailbox, readOwner, readUser, readUsers, Refused } from "./people.ts";
import type { People } from "./people_cache.ts";
import { addressKeysOf, readPeople } from "./people_cache.ts";
import { countSent } from "./sent.ts";
import { Unsubscribed } from "./unsubscribed.ts";

export interface PeopleSettings {
  /** Our domains: only in them can addresses be given away. */
  readonly domains: readonly Domain[];
  /** The data folder. */
  readonly store: string;
  readonly cost?: ScryptCost;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface NewUser {
  readonly address: string;
  readonly displayName?: string;
  readonly addresses?: readonly string[];
  readonly deliver?: readonly string[];
  readonly sendLimit?: number;
  readonly spamLimit?: number;
  readonly spamTimes?: number;
  readonly newsletter?: boolean;
  readonly enabled?: boolean;
  /** Without one the user cannot sign in. */
  readonly password?: string;
}

export interface UserChanges {
  readonly displayName?: string;
  readonly addAddresses?: readonly string[];
  readonly removeAddresses?: readonly string[];
  /** Replaces all; an empty list goes back to the default. */
  readonly deliver?: readonly string[];
  readonly sendLimit?: number;
  readonly spamLimit?: number;
  readonly spamTimes?: number;
  readonly newsletter?: boolean;
  readonly enabled?: boolean;
}

export const SEND_LIMIT = 500;

// One change must fit into one commit, and one record into 64 KiB.
const MAX_ADDRESSES = 100, MAX_DELIVERIES = 50, MAX_NAME = 200;

/** Every method that changes something throws Refused, with a sentence, when it may not be. */
export class Users {
  readonly #kv: Deno.Kv;
  readonly #settings: PeopleSettings;

  constructor(kv: Deno.Kv, settings: PeopleSettings) {
    this.#kv = kv;
    this.#settings = settings;
  }

  async add(wanted: NewUser): Promise<User> {
    const login = demandOwnAddress(wanted.address, this.#settings.domains);
    const { password, ...rest } = wanted;
    const user = checked({
      displayName: "",
      addresses: [],
      deliver: [],
      sendLimit: SEND_LIMIT,
      enabled: true,
      ...rest,
      address: formatMailbox(login),
      created: (this.#settings.now ?? Date.now)(),
    }, this.#settings.domains);
    // Half a second of work, done before anything is read that might change meanwhile.
    const credentials = password === undefined ? undefined : await this.#credentials(password);
    return await changePeople(this.#kv, async (change) => {
      const keys = addressKeysOf(user);
      await demandFree(this.#kv, keys);
      await this.#demandStraight(user);
      change.set(KEY.user(login), user);
      if (credentials !== undefined) change.set(KEY.credentials(login), credentials);
      for (const key of keys) change.set(KEY.address(key), { of: "user", login: user.address } satisfies Owner);
      return user;
    });
  }

  list(): Promise<User[]> {
    return readUsers(this.#kv);
  }

  /** Throws Refused when there is no such user; also finds one by a further address. */
  async get(address: string): Promise<User> {
    const mailbox = demandMailbox(address, "The user");
    const owner = await readOwner(this.#kv, addressKey(mailbox));
    const login = owner?.of === "user" ? demandMailbox(owner.login, "The user") : mailbox;
    const user = await readUser(this.#kv, login);
    if (user === undefined) throw new Refused(`There is no user ${address}: "user list" shows all.`);
    return user;
  }

  set(login: string, changes: UserChanges): Promise<User> {
    return changePeople(this.#kv, async (change) => {
      const before = await this.get(login);
      const { addAddresses = [], removeAddresses = [], ...rest } = changes;
      const addresses = withChanges(before, addAddresses, removeAddresses);
      const user = checked({ ...before, ...rest, addresses }, this.#settings.domains);
      const had = new Set(addressKeysOf(before)), has = new Set(addressKeysOf(user));
      await demandFree(this.#kv, [...has.difference(had)]);
      await this.#demandStraight(user);
      for (const key of had.difference(has)) change.delete(KEY.address(key));
      for (const key of has.difference(had)) {
        change.set(KEY.address(key), { of: "user", login: user.address } satisfies Owner);
      }
      change.set(KEY.user(demandMailbox(user.address, "The user")), user);
      return user;
    });
  }

  /** What was remembered of the old password ends within a second in every process. */
  async setPassword(login: string, password: string): Promise<void> {
    const credentials = await this.#credentials(password);
    await changePeople(this.#kv, async (change) => {
      const user = await this.get(login);
      change.set(KEY.credentials(demandMailbox(user.address, "The user")), credentials);
    });
  }

  /** Whether the user has a password at all. */
  async hasPassword(user: User): Promise<boolean> {
    return (await this.#kv.get(KEY.credentials(demandMailbox(user.address, "The user")))).value !== null;
  }

  /** Forgets user, password, addresses and who has unsubscribed. The Maildir stays. */
  async remove(login: string): Promise<User> {
    const removed = await changePeople(this.#kv, async (change) => {
      const user = await this.get(login);
      const mailbox = demandMailbox(user.address, "The user");
      change.delete(KEY.user(mailbox)).delete(KEY.credentials(mailbox));
      for (const key of addressKeysOf(user)) change.delete(KEY.address(key));
      return user;
    });
    await new Unsubscribed(this.#kv, { calls: false }).forget(demandMailbox(removed.address, "The user"));
    return removed;
  }

  /** All addresses of a user as `addressKey`s, the login first. */
  async addressesOf(login: string): Promise<readonly string[]> {
    return addressKeysOf(await this.get(login));
  }

  /** Counts recipients that the user submits now; false, and nothing is counted, when that is over the day's limit. */
  async countSent(login: string, recipients: number): Promise<boolean> {
    const user = await this.get(login);
    const [key = user.address] = addressKeysOf(user);
    return await countSent(this.#kv, key, recipients, user.sendLimit, this.#settings.now?.());
  }

  #credentials(password: string) {
    return makeCredentials(demandPassword(password), this.#settings.cost);
  }

  /** Refuses what would send mail for this user round in a circle. */
  async #demandStraight(user: User): Promise<void> {
    const login = demandMailbox(user.address, "The user");
    const stored = readPeople(this.#kv);
    const keys = new Set(addressKeysOf(user));
    const planned: People = {
      ...stored,
      user: (mailbox) => addressKey(mailbox) === addressKey(login) ? Promise.resolve(user) : stored.user(mailbox),
      owner: (key) => keys.has(key) ? Promise.resolve({ of: "user", login: user.address }) : stored.owner(key),
    };
    await demandStraight(planned, login, this.#settings);
  }
}

/** Throws Refused when mail to the address would go in a circle, or to too many. */
export async function demandStraight(people: People, address: Mailbox, settings: PeopleSettings): Promise<void> {
  const found = await follow(people, address, settings.domains, settings);
  const circle = found.circles[0];
  if (circle !== undefined) {
    throw new Refused(`Mail for ${formatMailbox(address)} would go in a circle: ${circle.join(" → ")}.`);
  }
  if (found.tooMany) {
    throw new Refused(
      `Mail for ${formatMailbox(address)} would go on over more than 10 steps or to more than 1000 places.`,
    );
  }
}

export async function demandFree(kv: Deno.Kv, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    const owner = await readOwner(kv, key);
    if (owner?.of === "alias") {
      throw new Refused(`${key} is an alias already: remove that first ("alias remove ${key}").`);
    }
    if (owner?.of === "user") throw new Refused(`${key} belongs to the user ${owner.login} already.`);
  }
}

/** An address that we can give away: in one of our domains. */
export function demandOwnAddress(text: string, domains: readonly Domain[]): Mailbox {
  const mailbox = demandMailbox(text, "The address");
  if (!domains.some(({ name }) => name === mailbox.domain)) {
    const ours = domains.map(({ name }) => name).join(", ");
    throw new Refused(`${formatMailbox(mailbox)} is not in a domain of ours (${ours}): add [[domains]] to the config.`);
  }
  return mailbox;
}

/** `ann+shop@` is `ann@`, and can be nobody else. */
export function demandNoTag(mailbox: Mailbox): void {
  if (withoutTag(mailbox) === mailbox) return;
  throw new Refused(
    `${formatMailbox(mailbox)} cannot be given to a user: what stands behind "+" is a tag of the address before it.`,
  );
}

/** The record as it will be kept, or Refused. */
function checked(
  { newsletter, ...user }: Omit<User, "newsletter"> & { readonly newsletter?: boolean },
  domains: readonly Domain[],
): User {
  const addresses = user.addresses.map((address) => formatMailbox(demandOwnAddress(address, domains)));
  for (const address of [user.address, ...addresses]) {
    demandNoTag(demandMailbox(address, "The address"));
  }
  // deno-lint-ignore no-control-regex
  if (user.displayName.length > MAX_NAME || /[\x00-\x1f\x7f-\x9f]/.test(user.displayName)) {
    throw new Refused(`The display name must have at most ${MAX_NAME} characters and no control characters.`);
  }
  if (addresses.length > MAX_ADDRESSES || user.deliver.length > MAX_DELIVERIES) {
    throw new Refused(`A user has at most ${MAX_ADDRESSES} further addresses and ${MAX_DELIVERIES} deliveries.`);
  }
  demandNumber("The send limit", user.sendLimit, Number.isSafeInteger(user.sendLimit));
  if (user.spamLimit !== undefined) demandNumber("The spam limit", user.spamLimit, Number.isFinite(user.spamLimit));
  if (user.spamTimes !== undefined) demandNumber("Spam times", user.spamTimes, Number.isSafeInteger(user.spamTimes));
  const deliver = user.deliver.map((item) => formatDelivery(demandDelivery(item)));
  const own = new Set([addressKey(demandMailbox(user.address, "The address"))]);
  const further = addresses.filter((address) => !own.has(addressKey(demandMailbox(address, "The address"))));
  return {
    ...user,
    addresses: uniqueAddresses(further),
    deliver: [...new Set(deliver)],
    ...(newsletter && { newsletter: true }),
  };
}

function demandNumber(what: string, value: number, fits: boolean): void {
  if (!fits || value < 0 || value > 1_000_000) throw new Refused(`${what} must be a number from 0 to 1000000.`);
}

function withChanges(user: User, add: readonly string[], remove: readonly string[]): string[] {
  const gone = new Set<string>();
  for (const text of remove) {
    const key = addressKey(demandMailbox(text, "The address"));
    if (!addressKeysOf(user).slice(1).includes(key)) {
      throw new Refused(`${text} is not a further address of ${user.address}; the login itself cannot be taken away.`);
    }
    gone.add(key);
  }
  return [...user.addresses.filter((address) => !gone.has(addressKey(demandMailbox(address, "The address")))), ...add];
}

function uniqueAddresses(addresses: readonly string[]): string[] {
  const byKey = new Map(addresses.map((address) => [addressKey(demandMailbox(address, "The address")), address]));
  return [...byKey.values()];
}
