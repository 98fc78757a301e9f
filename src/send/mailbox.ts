/**
 * Into a Maildir: the message is written and synced in tmp/, then renamed into new/, so that a reader never sees half
 * of it and a crash leaves either nothing or all of it.
 *
 * The bytes stay as they came, with CRLF: a signature (DKIM, S/MIME, OpenPGP) of the message in the folder can be
 * verified, and every reader of Maildirs takes both line ends.
 */

import type { Job, Outcome, RemoteReply } from "../queue/entry.ts";
import { localReply, oneLine, outcomes } from "./remote_reply.ts";

export interface MailboxSettings {
  /** Our name, part of each file name. */
  readonly hostname: string;
}

const utf8 = new TextEncoder();

export class Mailboxes {
  readonly #host: string;
  readonly #syncs = new Map<string, FolderSync>();

  constructor({ hostname }: MailboxSettings) {
    // The Maildir convention for the two characters that a name cannot hold.
    this.#host = hostname.replaceAll("/", "\\057").replaceAll(":", "\\072");
  }

  /** One copy for each of these recipients of the job, all of whose targets are Maildirs. Never rejects. */
  async deliver(job: Job, recipients: readonly number[]): Promise<Outcome[]> {
    const done: Outcome[] = [];
    for (const recipient of recipients) {
      const target = job.envelope.recipients[recipient]?.target;
      if (target?.to !== "maildir") continue;
      const reply = await this.#store(job, recipient, target.path).then(
        () => localReply(250, "2.1.5", `stored in ${target.path}`),
        (error) => refusal(error, target.path),
      );
      done.push(...outcomes([recipient], reply, reply.code === 250 ? "delivered" : "later"));
    }
    return done;
  }

  async #store(job: Job, recipient: number, folder: string): Promise<void> {
    const name = `${Math.trunc(job.envelope.arrived / 1000)}.${job.id}_${recipient}.${this.#host}`;
    if (job.uncertain && await holds(folder, name)) {
      // It may have been renamed a moment before the crash: what is promised is a name that is on disk.
      await this.#sync(`${folder}/new`);
      return;
    }
    const draft = `${folder}/tmp/${name}`;
    const file = await create(draft, folder);
    try {
      try {
        await writeAll(file, traceLines(job, recipient));
        for await (const piece of job.content.pieces()) await writeAll(file, piece);
        await file.sync();
      } finally {
        file.close();
      }
      await move(draft, name, folder);
    } catch (error) {
      await Deno.remove(draft).catch(() => {}); // It is what made the disk full, perhaps.
      throw error;
    }
    await this.#sync(`${folder}/new`);
  }

  async #sync(folder: string): Promise<void> {
    let sync = this.#syncs.get(folder);
    if (sync === undefined) this.#syncs.set(folder, sync = new FolderSync(folder));
    try {
      await sync.run();
    } finally {
      if (sync.idle) this.#syncs.delete(folder);
    }
  }
}

/** Puts the names of a folder on disk, once for all who wait: whoever comes while a sync runs shares the next one. */
class FolderSync {
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(private readonly folder: string) {}

  get idle(): boolean {
    return this.#running === undefined && this.#next === undefined;
  }

  run(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    // The one that runs may have begun before this caller's rename.
    this.#next ??= this.#running.then(() => {}, () => {}).then(() => {
      this.#next = undefined;
      return this.#start();
    });
    return this.#next;
  }

  #start(): Promise<void> {
    return this.#running = syncFolder(this.folder).finally(() => this.#running = undefined);
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await Deno.open(folder);
  try {
    await handle.sync();
  } finally {
    handle.close();
  }
}

async function create(draft: string, folder: string): Promise<Deno.FsFile> {
  // The name belongs to this message alone, so what is there is a torn draft of an earlier attempt.
  const open = () => Deno.open(draft, { write: true, create: true, truncate: true, mode: 0o600 });
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await makeFolder(folder);
  return await open();
}

async function move(draft: string, name: string, folder: string): Promise<void> {
  const rename = () => Deno.rename(draft, `${folder}/new/${name}`);
  try {
    await rename();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    await makeFolder(folder);
    await rename();
  }
}

/** Makes a Maildir and what is missing above it, on disk before anything is promised to be in it. */
async function makeFolder(folder: string): Promise<void> {
  const above: string[] = [];
  for (let path = folder; path.includes("/");) {
    path = path.slice(0, path.lastIndexOf("/")) || "/";
    above.push(path);
    if (path === "/" || await Deno.stat(path).then(() => true, () => false)) break;
  }
  for (const part of ["tmp", "new", "cur"]) await Deno.mkdir(`${folder}/${part}`, { recursive: true, mode: 0o700 });
  for (const path of [folder, ...above]) await syncFolder(path);
}

/** True when the message lies in new/ or, seen by a reader and with flags, in cur/. */
async function holds(folder: string, name: string): Promise<boolean> {
  for (const part of ["new", "cur"]) {
    try {
      for await (const entry of Deno.readDir(`${folder}/${part}`)) {
        if (entry.name === name || entry.name.startsWith(`${name}:2,`)) return true;
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return false;
}

/** RFC 5321 §4.4: final delivery says who sent it. Delivered-To is how a loop through another server is found. */
function traceLines({ envelope }: Job, recipient: number): Uint8Array {
  const address = envelope.recipients[recipient]?.address ?? "";
  return utf8.encode(`Return-Path: <${oneLine(envelope.sender)}>\r\nDelivered-To: ${oneLine(address)}\r\n`);
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

/** A mailbox that cannot be written is our trouble or its owner's, and both can be mended: never a reason to bounce. */
function refusal(error: unknown, folder: string): RemoteReply {
  const said = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOSPC" || /no space left/i.test(said)) return localReply(452, "4.3.1", `no space left for ${folder}`);
  if (code === "EDQUOT" || /quota/i.test(said)) return localReply(452, "4.2.2", `the quota for ${folder} is used up`);
  return localReply(451, "4.3.0", `cannot write to ${folder}: ${said}`);
}
