/**
 * The door to Deno KV: small records that commands and several processes change while the server runs.
 *
 * Every key stands here. `LOCAL` and `DOMAIN` are the two halves of `addressKey`.
 *
 * | key                                | value                                | written by          |
 * | ---------------------------------- | ------------------------------------ | ------------------- |
 * | `schema`                           | number                               | this file           |
 * | `version` `people`                 | its versionstamp is what counts      | people.ts           |
 * | `user` DOMAIN LOCAL                | User (people.ts)                     | users.ts            |
 * | `credentials` DOMAIN LOCAL         | Credentials (passwords.ts)           | users.ts            |
 * | `address` ADDRESSKEY               | Owner (people.ts): a user, an alias  | users.ts aliases.ts |
 * | `sent` LOGIN DAY                   | number of recipients, gone in 2 days | sent.ts             |
 * | `secret` NAME                      | 32 random bytes                      | secrets.ts          |
 * | `acme-account` DIRECTORY           | private key in PEM                   | acme_accounts.ts    |
 * | `srs-keys`                         | SrsKey[] (return_paths.ts)           | return_paths.ts     |
 * | `unsubscribed` DOMAIN LOCAL ADDRESSKEY | Unsubscription (unsubscribed.ts) | unsubscribed.ts     |
 * | `webhook` ID                       | WebhookCall (webhook_calls.ts)       | unsubscribed.ts     |
 * | `sender` TOKEN                     | of a return path, gone in 60 days    | return_paths.ts     |
 * | `host` NETWORK                     | StoredHost (host_record.ts)          | hosts.ts            |
 * | `near` NETWORK                     | hosts in it + banned ones × 2^32     | hosts.ts            |
 * | `release` MS NETWORK               | true: when a ban of `host` ends      | hosts.ts            |
 * | `counting`                         | how `near` is counted, or who counts | host_counting.ts    |
 * | `born`                             | ms since 1970: the store's first day | born.ts             |
 * | `strikes` `network` NETWORK        | failed logins (lockouts.ts)          | lockouts.ts         |
 * | `strikes` `login` LOGINKEY         | the same                             | lockouts.ts         |
 * | `signed-in` LOGINKEY NETWORK       | ms since 1970, gone in 30 days       | lockouts.ts         |
 */

import { join } from "node:path";
import { reasonOf } from "../log.ts";
import type { Mailbox } from "../smtp/address.ts";
import { addressKey } from "../smtp/address.ts";

/**
 * Brings a store from one schema to the next. Reads what it needs and adds its writes to `change`, which holds the new
 * number as well: a crash finds the store before the step or behind it. What does not fit into one commit (1,000
 * mutations, 800 KiB) is written before, and has to be harmless to the program of the old schema and when done twice.
 */
export type Migration = (kv: Deno.Kv, change: Deno.AtomicOperation) => Promise<void>;

/** The step at index n makes schema n + 1 of schema n. Never changed once it was released; new ones go to the end. */
const MIGRATIONS: readonly Migration[] = [
  // An empty store becomes the first.
  () => Promise.resolve(),
];

export const SCHEMA = MIGRATIONS.length;

export const KEY = {
  schema: ["schema"],
  people: ["version", "people"],
  users: ["user"],
  usersOf: (domain: string) => ["user", domain],
  user: (mailbox: Mailbox) => ["user", mailbox.domain, localKey(mailbox)],
  allCredentials: ["credentials"],
  credentials: (mailbox: Mailbox) => ["credentials", mailbox.domain, localKey(mailbox)],
  addresses: ["address"],
  address: (key: string) => ["address", key],
  sent: (login: string, day: string) => ["sent", login, day],
  secret: (name: string) => ["secret", name],
  unsubscribedOf: (login: Mailbox) => ["unsubscribed", login.domain, localKey(login)],
  unsubscribed: (login: Mailbox, address: string) => ["unsubscribed", login.domain, localKey(login), address],
  webhookCalls: ["webhook"],
  webhookCall: (id: string) => ["webhook", id],
  acmeAccount: (directory: string) => ["acme-account", directory],
  srsKeys: ["srs-keys"],
  sender: (token: string) => ["sender", token],
  hosts: ["host"],
  host: (network: Uint8Array) => ["host", network],
  nears: ["near"],
  near: (network: Uint8Array) => ["near", network],
  releases: ["release"],
  release: (at: number, network: Uint8Array) => ["release", at, network],
  counting: ["counting"],
  born: ["born"],
  strikesOf: (side: string) => ["strikes", side],
  strikes: (side: string, name: string) => ["strikes", side, name],
  signedIn: (login: string, network: string) => ["signed-in", login, network],
} satisfies Record<string, Deno.KvKey | ((...parts: never[]) => Deno.KvKey)>;

function localKey(mailbox: Mailbox): string {
  return addressKey(mailbox).slice(0, -mailbox.domain.length - 1);
}

export interface KvSettings {
  /** The data folder; made, for its owner alone, when it is missing. */
  readonly store: string;
  /** `https://…` of a Deno KV server that several machines share, instead of `STORE/kv.sqlite`. */
  readonly kv?: string;
}

export class StoreTooNew extends Error {
  override readonly name = "StoreTooNew";
}

/**
 * Opens the store and brings its schema up to date. Rejects with a sentence when it cannot be opened, StoreTooNew when
 * a newer program has written it.
 */
export async function openKv(settings: KvSettings): Promise<Deno.Kv> {
  const where = settings.kv ?? settings.store;
  let kv: Deno.Kv | undefined;
  try {
    const path = settings.kv ?? await kvFile(settings.store);
    // Two processes that make a new file at once get in each other's way for a moment.
    kv = await whileBusy(() => Deno.openKv(path));
    await migrate(kv, where);
    return kv;
  } catch (error) {
    kv?.close();
    throw error instanceof StoreTooNew ? error : new Error(`Cannot open the store ${where}: ${whyNot(error)}.`);
  }
}

function whyNot(error: unknown): string {
  const message = reasonOf(error);
  if (/disk is full|No space left/i.test(message)) return "the disk is full; make room, and nothing is lost";
  if (/Read-only file system/i.test(message)) return "its disk can only be read; choose another folder for store";
  if (error instanceof Deno.errors.PermissionDenied || /readonly database|unable to open/i.test(message)) {
    return "this user may not write there; run this as root or as the user that the folder belongs to";
  }
  if (/disk I\/O error/i.test(message)) return "the disk is full or fails; make room, or look into the kernel's log";
  if (/DENO_KV_ACCESS_TOKEN/.test(message)) {
    return "its server wants a token; put that into the variable DENO_KV_ACCESS_TOKEN (for the service: " +
      "/etc/maildemon/environment)";
  }
  if (/deserialize/i.test(message)) return "a newer program wrote it in a way that this one cannot read; run that one";
  if (/malformed|not a database/i.test(message)) return `kv.sqlite is damaged (${message}); restore a backup`;
  return message;
}

async function kvFile(store: string): Promise<string> {
  await Deno.mkdir(store, { recursive: true, mode: 0o700 });
  const path = join(store, "kv.sqlite");
  // SQLite would make it readable by all, with the password hashes in it; its -wal and -shm take over our mode.
  (await Deno.open(path, { create: true, append: true, mode: 0o600 })).close();
  return path;
}

/**
 * Takes all steps that are missing. Several processes may do so at once: of two that take the same step one commits, and
 * the other looks again. Rejects with StoreTooNew.
 */
export async function migrate(kv: Deno.Kv, where: string, steps: readonly Migration[] = MIGRATIONS): Promise<void> {
  for (;;) {
    const found = await kv.get<number>(KEY.schema), schema = found.value ?? 0;
    demandKnown(schema, `Cannot open the store ${where}`, steps.length);
    const step = steps[schema];
    if (step === undefined) return;
    const change = kv.atomic().check(found);
    await step(kv, change);
    await commit(change.set(KEY.schema, schema + 1));
  }
}

/** Throws StoreTooNew for a schema that only a later program knows. `failure`: what cannot be done because of it. */
export function demandKnown(schema: number, failure: string, known = SCHEMA): void {
  if (schema <= known) return;
  throw new StoreTooNew(
    `${failure}: a newer maildemon wrote it (schema ${schema}, this program knows up to ${known}). ` +
      "Run the newer program, or restore a backup from before the update.",
  );
}

const BUSY_LIMIT = 10_000;

/**
 * Commits. The versionstamp of what was written, or undefined when a check did not hold. The only way to write: with
 * two processes on one file a commit fails at once with "database is locked" whenever the other is writing. Nothing is
 * applied then, so it is safe to try again. Rejects when the file stays locked for ten seconds.
 */
export async function commit(change: Deno.AtomicOperation): Promise<string | undefined> {
  const done = await whileBusy(() => change.commit());
  return done.ok ? done.versionstamp : undefined;
}

async function whileBusy<T>(work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + BUSY_LIMIT;
  for (let wait = 2;; wait = Math.min(wait * 2, 50)) {
    try {
      return await work();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
    }
    await pause(wait * (0.5 + Math.random()));
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && /database (table )?is locked|database is busy/i.test(error.message);
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
