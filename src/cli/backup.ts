import { basename, dirname, join, resolve } from "node:path";
import { writeContents } from "../backup/contents.ts";
import { Pack } from "../backup/pack.ts";
import { type Config, loadConfig } from "../config.ts";
import { HeldJournal } from "../queue/held_journal.ts";
import { JOURNAL_VERSION } from "../queue/record.ts";
import { demandKnown } from "../store/kv.ts";
import { copyKv } from "../store/kv_file.ts";
import { Refused } from "../store/people.ts";
import { VERSION } from "../version.ts";
import type { Command, Context } from "./arguments.ts";
import { DONE } from "./arguments.ts";
import { openProgress, sizeText } from "./progress.ts";
import { printable } from "./table.ts";

export const backup: Command = {
  name: "backup",
  summary: "copy everything into one file, also while the server runs",
  examples: ["backup /media/disk/maildemon.tar.gz", "backup --no-mail - | ssh backup.example.net 'cat > mail.tar.gz'"],
  arguments: [{ name: "file", explain: "a .tar.gz that does not exist yet; - for standard output" }],
  options: [{ name: "no-mail", explain: "leave the Maildirs out: users, queue, configuration and keys alone" }],
  async run(args, options, context) {
    const config = await loadConfig(context.configFile), file = args.text("file"), mail = !options.has("no-mail");
    if (file === "-") await toStandardOutput(config, mail, context);
    else await toFile(config, mail, resolve(file), context);
    if (config.kv !== undefined) {
      context.note(`Users, aliases and hosts are at ${config.kv} and not in it: back that server up as well.`);
    }
    return DONE;
  },
};

async function toStandardOutput(config: Config, mail: boolean, context: Context): Promise<void> {
  if (Deno.stdout.isTerminal()) {
    throw new Refused("A backup is no text for a terminal: send it to a file or a program.");
  }
  await write(config, mail, Deno.stdout.writable, "standard output", context);
}

async function toFile(config: Config, mail: boolean, file: string, context: Context): Promise<void> {
  const part = `${file}.part`;
  await demandPlace(config.store, file);
  // Not `createNew`: what a backup that was killed has left is of no use to anybody.
  const sink = await Deno.open(part, { write: true, create: true, mode: 0o600 });
  try {
    if (!await sink.tryLock(true)) throw new Refused(`${part} is being written by another backup. Wait for its end.`);
    try {
      await sink.truncate(0);
      await Deno.chmod(part, 0o600);
      await write(config, mail, streamTo(sink), file, context);
      await sink.sync();
      await demandPlace(config.store, file);
      await Deno.rename(part, file);
    } catch (error) {
      await Deno.remove(part);
      throw error;
    }
  } finally {
    sink.close();
  }
  using folder = await Deno.open(dirname(file));
  await folder.sync();
}

async function write(
  config: Config,
  mail: boolean,
  sink: WritableStream<Uint8Array<ArrayBuffer>>,
  where: string,
  { note }: Context,
): Promise<void> {
  const { store, kv: shared, hostname } = config, now = new Date();
  try {
    using progress = openProgress();
    using journal = await HeldJournal.open(join(store, "queue"));
    const { messages: { size: queued } } = journal.read({ bodies: false });
    await using kv = shared === undefined ? await copyKv(store) : undefined;
    const schema = kv?.schema ?? 0;
    demandKnown(schema, `Cannot copy the store ${store}`);
    const pack = new Pack(sink);
    try {
      await writeContents(pack, {
        store,
        journal,
        ...kv && { kv },
        config: { file: config.file, names: namedBy(config) },
        about: {
          version: VERSION,
          schema,
          journal: JOURNAL_VERSION,
          hostname,
          ...shared !== undefined && { kv: shared },
          queued,
          mail,
        },
        tell: (what) => progress.say(`${pack.files} files, ${sizeText(pack.bytes)}: ${what}`),
      }, now);
      await pack.finish(now);
    } catch (error) {
      await pack.abandon();
      throw error;
    }
    note(
      `Copied ${pack.files} files, ${sizeText(pack.bytes)}, ${queued} ${
        queued === 1 ? "message" : "messages"
      } of the queue.`,
    );
  } catch (error) {
    throw new Error(`Cannot make the backup ${printable(where)}: ${reasonOf(error)}`);
  }
}

/** Every file that the configuration names. */
function namedBy({ domains, certificates, secrets }: Config): string[] {
  return [
    ...domains.flatMap(({ dkim }) => dkim.map(({ key }) => key)),
    ...certificates.flatMap(({ certificateFile, keyFile }) => [certificateFile, keyFile]),
    ...secrets.keys(),
  ];
}

async function demandPlace(store: string, file: string): Promise<void> {
  const there = await Deno.lstat(file).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  if (there !== undefined) {
    throw new Refused(`${printable(file)} exists, and a backup never overwrites a file: choose another name.`);
  }
  const folder = await realPath(dirname(file)), inside = `${folder}/`.startsWith(`${await realPath(store)}/`);
  if (inside) {
    throw new Refused(
      `${
        printable(basename(file))
      } would lie in the store itself and be lost with it: choose a place outside of ${store}.`,
    );
  }
}

async function realPath(folder: string): Promise<string> {
  try {
    return await Deno.realPath(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new Refused(`There is no folder ${printable(folder)}.`);
    throw error;
  }
}

/** That of the file would close it: it has to be synced yet. */
function streamTo(file: Deno.FsFile): WritableStream<Uint8Array<ArrayBuffer>> {
  return new WritableStream({
    async write(piece) {
      for (let done = 0; done < piece.length;) done += await file.write(piece.subarray(done));
    },
  });
}

function reasonOf(error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error);
  if (/No space left|disk is full/i.test(reason)) {
    return "the disk is full. Nothing was left there; make room, or choose another place.";
  }
  return /[.!?]$/.test(reason) ? reason : `${reason}.`;
}
