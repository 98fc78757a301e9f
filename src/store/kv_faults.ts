/** Whether the records about people agree with each other. Reads only, and no schema is brought up to date for it. */

import { reasonOf } from "../log.ts";
import { addressKey, parseMailbox } from "../smtp/address.ts";
import { demandDelivery } from "./delivery.ts";
import { demandKnown, KEY, type KvSettings, pause } from "./kv.ts";
import { kvFileOf } from "./kv_file.ts";
import type { Owner, User } from "./people.ts";
import { addressKeysOf } from "./people_cache.ts";

/** Between two looks, milliseconds: what a command changes meanwhile is no fault. */
const AGAIN = 300;

export interface PeopleFaults {
  readonly users: number;
  /** One sentence each. */
  readonly faults: readonly string[];
}

/** What damage may have left of a record. */
type Unsure<Value> = Partial<Value> | null | undefined;

/** Throws StoreTooNew; rejects when records cannot be read at all. */
export async function peopleFaults({ store, kv: shared }: KvSettings): Promise<PeopleFaults> {
  const kv = await Deno.openKv(shared ?? kvFileOf(store));
  try {
    demandKnown((await kv.get<number>(KEY.schema)).value ?? 0, `Cannot read the store ${shared ?? store}`);
    const first = await look(kv);
    if (first.faults.length === 0) return first;
    await pause(AGAIN);
    const second = await look(kv), still = new Set(first.faults);
    return { users: second.users, faults: second.faults.filter((fault) => still.has(fault)) };
  } finally {
    kv.close();
  }
}

async function look(kv: Deno.Kv): Promise<PeopleFaults> {
  const faults: string[] = [], owners = new Map<string, Owner>(), users = new Map<string, User>();
  for await (const { key, value } of kv.list<Unsure<Owner>>({ prefix: KEY.addresses })) {
    if (isOwner(value)) owners.set(String(key[1]), value);
    else faults.push(`Nobody can tell to whom the address ${String(key[1])} belongs: its record is not one.`);
  }
  for await (const { key, value } of kv.list<Unsure<User>>({ prefix: KEY.users })) {
    const mailbox = isUser(value) ? parseMailbox(value.address) : undefined;
    if (mailbox === undefined || !isUser(value)) {
      faults.push(`The record of the user ${key.slice(1).join(" ")} is not one.`);
    } else users.set(addressKey(mailbox), value);
  }
  for (const user of users.values()) faults.push(...faultsOf(user, owners));
  for (const [address, owner] of owners) {
    const mailbox = owner.of === "user" ? parseMailbox(owner.login) : undefined;
    const login = mailbox && users.get(addressKey(mailbox));
    if (owner.of === "user" && (login === undefined || !addressKeysOf(login).includes(address))) {
      faults.push(`The address ${address} is said to be one of the user ${owner.login}, who does not have it.`);
    }
  }
  for await (const { key } of kv.list({ prefix: KEY.allCredentials })) {
    const login = `${String(key[2])}@${String(key[1])}`;
    if (!users.has(login)) faults.push(`There is a password of ${login}, who is no user.`);
  }
  return { users: users.size, faults };
}

function isUser(value: Unsure<User>): value is User {
  return [value?.address, value?.addresses, value?.deliver].flat().every((text) => typeof text === "string") &&
    Array.isArray(value?.addresses) && Array.isArray(value.deliver);
}

function isOwner(value: Unsure<Owner>): value is Owner {
  return value?.of === "user" ? typeof value.login === "string" : value?.of === "alias" && Array.isArray(value.targets);
}

function* faultsOf(user: User, owners: ReadonlyMap<string, Owner>): Generator<string> {
  for (const key of addressKeysOf(user)) {
    const owner = owners.get(key);
    if (owner?.of !== "user" || owner.login !== user.address) {
      yield `The user ${user.address} has the address ${key}, which belongs to ${
        owner === undefined ? "nobody" : owner.of === "user" ? owner.login : "an alias"
      }.`;
    }
  }
  for (const delivery of user.deliver) {
    try {
      demandDelivery(delivery);
    } catch (error) {
      yield `The user ${user.address}: ${reasonOf(error)}`;
    }
  }
}
