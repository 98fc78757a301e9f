/** Whether everything in a store can be read. Only reads, and bears with a server that works there meanwhile. */

import { join } from "node:path";
import { reasonOf } from "../log.ts";
import { HeldJournal } from "../queue/held_journal.ts";
import type { KeptMessage } from "../queue/kept_message.ts";
import { StoreTooNew } from "../store/kv.ts";
import { kvFaults } from "../store/kv_file.ts";
import { peopleFaults } from "../store/kv_faults.ts";
import { readHeld } from "../tls/acme_folder.ts";
import { bytesOf, walkMail } from "./maildirs.ts";

export interface Place {
  readonly store: string;
  readonly kv?: string;
}

export interface Fault {
  readonly part: "records" | "queue" | "mail" | "acme" | "stories";
  /** One sentence. */
  readonly fault: string;
}

export interface Soundness {
  readonly users: number;
  readonly queued: number;
  readonly mails: number;
  readonly faults: readonly Fault[];
}

/** `tell`: what is being looked at. Throws StoreTooNew, and what says that a newer program wrote the journal. */
export async function soundnessOf(place: Place, tell: (what: string) => void): Promise<Soundness> {
  const faults: Fault[] = [];
  const found = (part: Fault["part"], sentences: Iterable<string>) => {
    for (const fault of sentences) faults.push({ part, fault });
  };
  tell("users, aliases and hosts");
  const people = await recordsOf(place);
  found("records", people.faults);
  tell("the queue");
  const queue = await queueOf(join(place.store, "queue"));
  found("queue", queue.faults);
  found("acme", await acmeFaults(place.store));
  found("stories", (await filesIn(join(place.store, "stories"), tell)).faults);
  const mail = await filesIn(join(place.store, "mail"), tell);
  found("mail", mail.faults);
  return { users: people.users, queued: queue.queued, mails: mail.mails, faults };
}

async function recordsOf(
  { store, kv }: Place,
): Promise<{ readonly users: number; readonly faults: readonly string[] }> {
  const faults = kv === undefined ? kvFaults(store) : [];
  // What cannot be decoded ends every list it is in.
  if (faults.length > 0) return { users: 0, faults };
  try {
    return await peopleFaults({ store, ...kv !== undefined && { kv } });
  } catch (error) {
    if (error instanceof StoreTooNew) throw error;
    // The rest can be looked at all the same.
    return { users: 0, faults: [`${kv ?? "kv.sqlite"} cannot be read: ${sentenceOf(error)}`] };
  }
}

async function queueOf(folder: string): Promise<{ readonly queued: number; readonly faults: readonly string[] }> {
  using journal = await HeldJournal.open(folder);
  const { messages, unreadable, gaps } = journal.read({ bodies: true });
  const aside = await asideIn(join(folder, "damaged"));
  return {
    queued: messages.size,
    faults: [
      ...Array.from(unreadable, ([id, why]) => `Message ${id} cannot be read whole: ${why}.`),
      // Those that a start has seen are kept beside.
      ...gaps.filter(({ name, from }) => !aside.includes(`${name}-${from}.bytes`))
        .map(({ name, from, to }) => `${to - from} bytes of ${name} from byte ${from} on are no records.`),
      ...[...messages.values()].filter(isOdd).map(({ id }) => `Message ${id} says of its recipients what cannot be.`),
      ...aside.filter((name) => !name.endsWith(".eml") || !aside.includes(name.replace(/eml$/, "json")))
        .map((name) => `damaged/${name} was set aside, as it could not be read: look at it, then remove it.`),
    ],
  };
}

const STATES = ["waiting", "held", "delivered", "failed", "dropped"];

function isOdd({ envelope, standings }: KeptMessage): boolean {
  return standings.length !== envelope.recipients.length ||
    standings.some(({ state, attempts, due }) =>
      !STATES.includes(state) || !Number.isSafeInteger(attempts) || attempts < 0 || !Number.isFinite(due)
    );
}

async function asideIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function acmeFaults(store: string): Promise<string[]> {
  const faults: string[] = [];
  for (const name of await asideIn(join(store, "acme"))) {
    if (!name.endsWith(".pem")) continue;
    const held = await readHeld(store, name.replace(/\.pem$/, ""));
    if (held === undefined) {
      faults.push(`acme/${name} holds no certificate with its key: remove it, and the server gets a new one.`);
    }
  }
  return faults;
}

/** Whether all that is below the folder can be read, and how many messages of Maildirs there are. */
async function filesIn(folder: string, tell: (what: string) => void): Promise<{ mails: number; faults: string[] }> {
  let mails = 0;
  const faults: string[] = [];
  const failed = (error: unknown) => void faults.push(sentenceOf(error));
  for await (const found of walkMail(folder, failed)) {
    tell(found.name);
    if ("folder" in found) continue;
    const { name, file, info } = found;
    if (/(^|\/)(new|cur)\/[^/]+$/.test(name)) mails++;
    try {
      for await (const _ of bytesOf(file, info.size, join(folder, name)));
    } catch (error) {
      failed(error);
    }
  }
  return { mails, faults };
}

function sentenceOf(error: unknown): string {
  return `${reasonOf(error).replace(/\.$/, "")}.`;
}
