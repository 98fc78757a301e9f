/** What is known about people: the shapes of the records, and the one way in which they change. */

import type { Mailbox } from "../smtp/address.ts";
import { parseMailbox } from "../smtp/address.ts";
import { isSrs } from "../smtp/srs.ts";
import { commit, KEY, pause } from "./kv.ts";

export interface User {
  /** The login, `local@domain` as it was given. Never changes. */
  readonly address: string;
  readonly displayName: string;
  /** Further addresses, `local@domain`. */
  readonly addresses: readonly string[];
  /** `maildir`, `maildir:PATH`, `forward:ADDRESS`, `lmtp:HOST:PORT` or `lmtp:unix:PATH`. Empty: the domain's default_forward, else the own Maildir. */
  readonly deliver: readonly string[];
  /** Recipients a day. */
  readonly sendLimit: number;
  /** Spam score above which mail is refused, and refusals above which its host is banned; absent: the config's. */
  readonly spamLimit?: number;
  readonly spamTimes?: number;
  /** What the user submits tells how to get no more of it. */
  readonly newsletter?: true;
  /** False: no login and nothing can be submitted. Mail for the user still arrives, so that nothing is lost meanwhile. */
  readonly enabled: boolean;
  /** Milliseconds since 1970. */
  readonly created: number;
}

export interface Alias {
  readonly address: string;
  /** Each `local@domain`, ours or elsewhere. */
  readonly targets: readonly string[];
  /** Milliseconds since 1970. From then on the address is closed: refused, and not left to the catch-all. */
  readonly until?: number;
  readonly created: number;
}

/** What one address belongs to. One key for each address: it cannot belong to two. */
export type Owner = { readonly of: "user"; readonly login: string } | ({ readonly of: "alias" } & Alias);

/** A change that is not made. The message is one sentence for whoever asked for it. */
export class Refused extends Error {
  override readonly name: string = "Refused";
}

/**
 * Makes one change of users and aliases. `plan` reads what it needs and adds its writes; it throws Refused if it may
 * not be. All changes check and move one version key, so whatever `plan` has read is still true when it is committed,
 * also with other processes at work; otherwise it is asked again.
 */
export async function changePeople<T>(
  kv: Deno.Kv,
  plan: (change: Deno.AtomicOperation) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; attempt <= 100; attempt++) {
    const version = await kv.get(KEY.people);
    const change = kv.atomic().check(version);
    const result = await plan(change);
    if (await commit(change.set(KEY.people, true))) return result;
    await pause(Math.random() * 4 * attempt);
  }
  throw new Refused("Cannot make the change: others keep changing users and aliases at the same time. Try again.");
}

export async function readUser(kv: Deno.Kv, mailbox: Mailbox): Promise<User | undefined> {
  return (await kv.get<User>(KEY.user(mailbox))).value ?? undefined;
}

export async function readOwner(kv: Deno.Kv, addressKey: string): Promise<Owner | undefined> {
  return (await kv.get<Owner>(KEY.address(addressKey))).value ?? undefined;
}

/** In order of domain and name; those of one domain when it is given. */
export async function readUsers(kv: Deno.Kv, domain?: string): Promise<User[]> {
  const users: User[] = [];
  const prefix = domain === undefined ? KEY.users : KEY.usersOf(domain);
  for await (const { value } of kv.list<User>({ prefix })) users.push(value);
  return users;
}

/** Reads `local@domain` out of what a person or a record says; throws Refused with the reason when it is none. */
export function demandMailbox(text: string, what: string): Mailbox {
  const shown = JSON.stringify(text);
  if (INVISIBLE.test(text)) throw new Refused(`${what} ${shown} contains control characters.`);
  const special = /^"?[|:\/]/.exec(text)?.[0].slice(-1);
  if (special !== undefined) {
    throw new Refused(`${what} ${shown} ${MEANING[special]}: give an address like ann@example.com.`);
  }
  const mailbox = parseMailbox(text);
  if (mailbox === undefined) throw new Refused(`${what} ${shown} is not an address: write it like ann@example.com.`);
  if (isSrs(mailbox)) {
    throw new Refused(`${what} ${shown} is a return path of forwarded mail: it takes bounces alone, and expires.`);
  }
  return mailbox;
}

// Controls, line separators, signs that turn the direction of text, halves of pairs.
// deno-lint-ignore no-control-regex
const INVISIBLE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\p{Cs}]/u;

// What other mail servers would do with it. Here no mail goes to programs or to files named in a target.
const MEANING: Readonly<Record<string, string>> = {
  "|": "is a command, and mail is never given to programs",
  ":": "is a list in a file, and none is read",
  "/": "is the name of a file, and mail is never written to one",
};
