import { basename, dirname, join, resolve } from "node:path";
import { writeContents } from "../backup/contents.ts";
import { firstOf, isInStore, type Manifest } from "../backup/manifest.ts";
import { Pack } from "../backup/pack.ts";
import { type Config, loadConfig } from "../config.ts";
import { syncFolder, writeAll } from "../durable_file.ts";
import { reasonOf } from "../log.ts";
import { HeldJournal } from "../queue/held_journal.ts";
import type { KeptMessage } from "../queue/kept_message.ts";
import { JOURNAL_VERSION } from "../queue/record.ts";
import { demandKnown } from "../store/kv.ts";
import { copyKv } from "../store/kv_file.ts";
import { namedMaildirs } from "../store/named_maildirs.ts";
import { Refused } from "../store/people.ts";
import { VERSION } from "../version.ts";
import type { Command } from "./arguments.ts";
import { DONE } from "./arguments.ts";
import { withAdvice } from "./missing_rights.ts";
import { openProgress, sizeText } from "./progress.ts";
import { asOwner } from "./store_owner.ts";
import { counted, printable } from "./table.ts";

export const backup: Command = {
  name: "backup",
  summary: "copy everything into one file, also while the server runs",
  examples: ["backup /media/disk/maildemon.tar.gz", "backup --no-mail - | ssh backup.example.net 'cat > mail.tar.gz'"],
  arguments: [{ name: "file", explain: "a .tar.gz that does not exist yet; - for standard output" }],
  options: [{ name: "no-mail", explain: "leave the Maildirs out: users, queue, configuration and keys alone" }],
  async run(args, options, { configFile, note }) {
    const config = await loadConfig(configFile), file = args.text("file"), mail = !options.has("no-mail");
    const made = file === "-" ? await toStandardOutput(config, mail) : await toFile(config, mail, resolve(file));
    const { files, bytes, queued, maildirs } = made;
    note(`Copied ${files} files, ${sizeText(bytes)}, ${counted(queued, "message")} of the queue.`);
    const outside = maildirs.filter((path) => !isInStore(path, config.store));
    if (mail && outside.length > 0) {
      note(`Maildirs outside of the store are not in it, copy them as well: ${printable(firstOf(outside))}`);
    }
    if (config.kv !== undefined) {
      note(`Users, aliases and hosts are at ${config.kv} and not in it: back that server up as well.`);
    }
    return DONE;
  },
};

/** What went into a backup. */
interface Made {
  readonly files: number;
  readonly bytes: number;
  /** Messages. */
  readonly queued: number;
  readonly maildirs: Manifest["maildirs"];
}

async function toStandardOutput(config: Config, mail: boolean): Promise<Made> {
  if (Deno.stdout.isTerminal()) {
    throw new Refused("A backup is no text for a terminal: send it to a file or a program.");
  }
  return await saying(config.store, "to standard output", () => write(config, mail, Deno.stdout.writable));
}

async function toFile(config: Config, mail: boolean, file: string): Promise<Made> {
  const part = `${file}.part`;
  await demandPlace(config.store, file);
  const sink = await saying(config.store, file, () => removeLeft(part).then(() => open(part)));
  try {
    return await saying(config.store, file, async () => {
      try {
        // Again: what is locked now may have become the file of another backup meanwhile.
        await demandPlace(config.store, file);
        const made = await write(config, mail, streamTo(sink));
        await sink.sync();
        await demandPlace(config.store, file);
        await Deno.rename(part, file);
        await syncFolder(dirname(file));
        return made;
      } catch (error) {
        await Deno.remove(part).catch(() => {});
        throw error;
      }
    });
  } finally {
    sink.close();
  }
}

/** What a backup that was killed has left is of no use to anybody. It is not written to: it may be somebody else's. */
async function removeLeft(part: string): Promise<void> {
  const left = await lookAt(part);
  if (left === undefined) return;
  if (!left.isFile) {
    throw new Refused(`${printable(part)} is ${left.isSymlink ? "a link" : "no file"}: remove it first.`);
  }
  using file = await Deno.open(part);
  if (!await lockAt(part, file)) throw beingWritten(part);
  await Deno.remove(part);
}

/** In a folder where others may write, too, it is a new one of our own, and locked for us. */
async function open(part: string): Promise<Deno.FsFile> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(part, { write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    throw error instanceof Deno.errors.AlreadyExists ? beingWritten(part) : error;
  }
  try {
    if (await lockAt(part, file)) return file;
    throw beingWritten(part);
  } catch (error) {
    file.close();
    // A disk that knows no locks.
    if (!(error instanceof Refused)) await Deno.remove(part).catch(() => {});
    throw error;
  }
}

/** False when another process has it, or when something else has its name meanwhile. */
async function lockAt(path: string, file: Deno.FsFile): Promise<boolean> {
  if (!await file.tryLock(true)) return false;
  const [there, here] = [await lookAt(path), await file.stat()];
  return there?.isFile === true && there.ino === here.ino && there.dev === here.dev;
}

function beingWritten(part: string): Refused {
  return new Refused(`${printable(part)} is being written by another backup. Wait for its end.`);
}

/** What `work` rejects with says which backup could not be made. */
async function saying<T>(store: string, where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Error(`Cannot make the backup ${printable(where)}: ${whyNot(withAdvice(error, store))}`);
  }
}

async function write(config: Config, mail: boolean, sink: WritableStream<Uint8Array<ArrayBuffer>>): Promise<Made> {
  const { store, kv: shared, hostname } = config, now = new Date();
  using progress = openProgress();
  const inStore = <T>(work: () => Promise<T>) => asOwner(store, work);
  using journal = await inStore(() => HeldJournal.open(join(store, "queue")));
  const { messages } = journal.read({ bodies: false }), queued = messages.size;
  await using kv = shared === undefined ? await inStore(() => copyKv(store)) : undefined;
  const schema = kv?.schema ?? 0;
  demandKnown(schema, `Cannot copy the store ${store}`);
  const named = kv === undefined ? [] : await inStore(() => namedMaildirs(store));
  const maildirs = [...new Set([...named, ...outsideOf(store, messages.values())])];
  const pack = new Pack(sink);
  try {
    await writeContents(pack, {
      store,
      journal,
      ...kv && { kv },
      config: { file: config.file, names: config.files.filter((file) => file !== config.file) },
      about: {
        version: VERSION,
        schema,
        journal: JOURNAL_VERSION,
        hostname,
        ...shared !== undefined && { kv: shared },
        queued,
        mail,
        maildirs,
      },
      inStore,
      tell: (what) => progress.say(`${pack.files} files, ${sizeText(pack.bytes)}: ${what}`),
    }, now);
    await pack.finish(now);
  } catch (error) {
    await pack.abandon();
    throw error;
  }
  return { files: pack.files, bytes: pack.bytes, queued, maildirs };
}

/** Maildirs for which messages wait. */
function* outsideOf(store: string, messages: Iterable<KeptMessage>): Generator<string> {
  for (const { envelope: { recipients } } of messages) {
    for (const { target } of recipients) {
      if (target.to === "maildir" && !isInStore(target.path, store)) yield target.path;
    }
  }
}

async function demandPlace(store: string, file: string): Promise<void> {
  if (await lookAt(file) !== undefined) {
    throw new Refused(`${printable(file)} exists, and a backup never overwrites a file: choose another name.`);
  }
  const folder = await realPath(dirname(file), "There is no folder");
  if (`${folder}/`.startsWith(`${await realPath(store, "There is nothing to copy, as there is no store")}/`)) {
    throw new Refused(
      `${
        printable(basename(file))
      } would lie in the store itself and be lost with it: choose a place outside of ${store}.`,
    );
  }
}

/** Undefined when nothing has this name. A link is not followed. */
async function lookAt(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function realPath(folder: string, otherwise: string): Promise<string> {
  try {
    return await Deno.realPath(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new Refused(`${otherwise} ${printable(folder)}.`);
    throw error;
  }
}

/** That of the file would close it: it has to be synced yet. */
function streamTo(file: Deno.FsFile): WritableStream<Uint8Array<ArrayBuffer>> {
  return new WritableStream({
    write: (piece) => writeAll(file, piece),
  });
}

function whyNot(error: unknown): string {
  const reason = reasonOf(error);
  if (/No space left|disk is full|quota exceeded/i.test(reason)) {
    return "the disk is full. Nothing was left there; make room, or choose another place.";
  }
  return /[.!?]$/.test(reason) ? reason : `${reason}.`;
}
