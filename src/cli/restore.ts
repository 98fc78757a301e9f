import { dirname, join, resolve } from "node:path";
import { firstOf, isInStore, type Manifest } from "../backup/manifest.ts";
import { syncAll, unpack } from "../backup/unpack.ts";
import { loadConfig, parseConfig } from "../config.ts";
import { syncFolder, writeAll } from "../durable_file.ts";
import { reasonOf, silent } from "../log.ts";
import { JOURNAL_VERSION } from "../queue/record.ts";
import { Spool } from "../queue/spool.ts";
import { SCHEMA } from "../store/kv.ts";
import { Refused } from "../store/people.ts";
import type { Command, Context } from "./arguments.ts";
import { DONE } from "./arguments.ts";
import { openProgress, sizeText } from "./progress.ts";
import { shellWord } from "./shell_word.ts";
import { printable } from "./table.ts";
import { idleQueue } from "./with_queue.ts";

export const restore: Command = {
  name: "restore",
  summary: "put a backup into an empty store",
  examples: [
    "restore /media/disk/maildemon.tar.gz",
    "restore maildemon.tar.gz --config-dir /etc/maildemon --store /var/lib/maildemon",
  ],
  arguments: [{ name: "file", explain: "what backup made; - for standard input" }],
  options: [
    { name: "store", value: "DIR", explain: "where the store goes: missing or empty (default: `store` of the config)" },
    {
      name: "config-dir",
      value: "DIR",
      explain: "where the configuration and its keys go; nothing there is overwritten (default: they stay in the file)",
    },
  ],
  async run(args, options, context) {
    const file = args.text("file"), configDir = options.maybe("config-dir");
    const store = resolve(options.maybe("store") ?? await storeOf(context.configFile));
    const place = await demandEmpty(store), draft = `${place}.restoring`;
    // The one file that every backup has there: it need not be unpacked for this.
    if (configDir !== undefined && await isThere(join(configDir, "config.toml"))) throw configThere(configDir);
    await makeDraft(draft);
    try {
      const { manifest, files, bytes } = await read(file, draft, configDir === undefined);
      const damaged = manifest.store === store ? 0 : await moveQueue(draft, manifest.store, store);
      await syncAll(draft);
      const config = configDir === undefined ? undefined : await placeConfig(join(draft, "config"), resolve(configDir));
      await intoPlace(draft, place, config ?? []);
      context.out(
        `Restored ${files} files, ${sizeText(bytes)}, taken ${printable(manifest.taken)} from ${
          printable(manifest.hostname)
        }.`,
      );
      say(context, { file, store, manifest, configDir, damaged });
    } catch (error) {
      await Deno.remove(draft, { recursive: true }).catch(() => {});
      if (error instanceof Refused) throw error;
      throw new Error(`Cannot restore ${printable(file)}: ${whyNot(error)}. Nothing was changed.`);
    }
    return DONE;
  },
};

function whyNot(error: unknown): string {
  const reason = reasonOf(error);
  if (/No space left|quota exceeded/i.test(reason)) return "The disk is full: make room, or name another --store";
  return printable(reason).replace(/\.$/, "");
}

async function read(file: string, draft: string, withoutConfig: boolean) {
  using progress = openProgress();
  let done = 0;
  const archive = file === "-" ? Deno.stdin.readable : (await Deno.open(file)).readable;
  return await unpack(archive, {
    folder: draft,
    known: { schema: SCHEMA, journal: JOURNAL_VERSION },
    ...withoutConfig && { leaveOut: "config" },
    tell: (bytes) => progress.say(`${sizeText(done += bytes)} read`),
  });
}

/**
 * The queue names Maildirs by their paths. What goes into those of the old store goes into those of this one. Resolves
 * with the number of messages that could not be read.
 */
async function moveQueue(draft: string, from: string, to: string): Promise<number> {
  const folder = join(draft, "queue"), old = join(draft, "queue-of-the-old-store");
  try {
    await Deno.rename(folder, old);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
  const spool = await Spool.open({ folder, log: silent });
  let damaged: number;
  try {
    ({ damaged } = await idleQueue(spool).byHand.adopt({ folder: old, moved: { from, to } }));
  } finally {
    await spool.close();
  }
  await Deno.rename(join(old, "damaged"), join(folder, "damaged")).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.remove(old, { recursive: true });
  return damaged;
}

/** The files that were made. None of them existed. */
async function placeConfig(from: string, folder: string): Promise<string[]> {
  const made: string[] = [];
  try {
    for (const name of await namesBelow(from, "")) {
      const path = join(folder, name);
      await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const { mode } = await Deno.stat(join(from, name));
      using file = await Deno.open(path, { write: true, createNew: true, mode: (mode ?? 0o600) & 0o777 });
      made.push(path);
      await writeAll(file, await Deno.readFile(join(from, name)));
      await file.sync();
    }
    await Deno.remove(from, { recursive: true });
    return made;
  } catch (error) {
    await removeAll(made);
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw configThere(folder);
  }
}

function configThere(folder: string): Refused {
  return new Refused(
    `A file of the configuration exists in ${printable(folder)} already, and none is overwritten. Nothing was changed.`,
  );
}

function isThere(path: string): Promise<boolean> {
  return Deno.lstat(path).then(() => true, () => false);
}

async function intoPlace(draft: string, place: string, made: readonly string[]): Promise<void> {
  try {
    // In one step, over the empty folder that may be there.
    await Deno.rename(draft, place);
  } catch (error) {
    await removeAll(made);
    throw new Error(
      `${
        reasonOf(error)
      }; it cannot be put into place as ${place}: give --store another folder, or remove that one if it is empty`,
    );
  }
  await syncFolder(dirname(place));
}

interface Restored {
  readonly file: string;
  readonly store: string;
  readonly manifest: Manifest;
  readonly configDir: string | undefined;
  /** Messages of the queue that could not be read. */
  readonly damaged: number;
}

function say({ note }: Context, { file, store, manifest, configDir, damaged }: Restored): void {
  const { kv, mail, elsewhere } = manifest;
  if (!mail) note("The backup was made with --no-mail: the Maildirs are empty.");
  if (kv !== undefined) note(`Users, aliases and hosts are not in it: they are at ${printable(kv)}, as before.`);
  if (damaged > 0) note(`${damaged} of the queue could not be read: see ${printable(join(store, "queue/damaged"))}.`);
  sayMaildirs(note, manifest, store);
  if (configDir === undefined) {
    const from = file === "-" ? "FILE" : shellWord(printable(file));
    note(`The configuration and its keys are in the backup as well: tar xzf ${from} config`);
  } else {
    note(`The configuration is ${printable(join(configDir, "config.toml"))}. Its "store" must be ${store}.`);
    for (const [name, path] of Object.entries(elsewhere)) {
      note(
        `${printable(path)} lies in ${
          printable(join(configDir, name.replace(/^config\//, "")))
        }: put it back where it was.`,
      );
    }
  }
  if (Deno.build.os !== "windows" && Deno.uid() === 0) {
    note(
      "It belongs to root. A service with StateDirectory= takes it over at its start; " +
        `else: chown -R USER ${shellWord(printable(store))}`,
    );
  }
}

function sayMaildirs(note: Context["note"], { maildirs, store: old }: Manifest, store: string): void {
  const outside = maildirs.filter((path) => !isInStore(path, old));
  const moved = old === store ? [] : maildirs.filter((path) => isInStore(path, old));
  if (outside.length > 0) {
    note(`Maildirs outside of the store were not in it, copy them as well: ${printable(firstOf(outside))}`);
  }
  if (moved.length > 0) {
    note(
      `Users name Maildirs where the store was, say where they are now (user set ADDRESS --deliver maildir:PATH): ${
        printable(firstOf(moved))
      }`,
    );
  }
}

/** A config whose keys are still missing says where its store is, too. */
async function storeOf(configFile: string): Promise<string> {
  const text = await Deno.readTextFile(configFile).catch(() => undefined);
  if (text === undefined) {
    throw new Refused(
      `There is no configuration ${printable(configFile)} that says where the store is: give --store DIR.`,
    );
  }
  const parsed = parseConfig(text, configFile);
  return "config" in parsed ? parsed.config.store : (await loadConfig(configFile)).store;
}

/** The folder itself, when `store` is a link to it. */
async function demandEmpty(store: string): Promise<string> {
  let place: string;
  try {
    place = await Deno.realPath(store);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return store;
    throw error;
  }
  const [{ dev, isDirectory }, above] = await Promise.all([Deno.stat(place), Deno.stat(dirname(place))]);
  if (!isDirectory) throw new Refused(`${printable(store)} is not a folder.`);
  if (dev !== above.dev) {
    throw new Refused(
      `${printable(store)} is a disk of its own, and a store is put into place in one step: give --store a folder ` +
        `on it, such as ${printable(join(store, "maildemon"))}, and name that in the configuration.`,
    );
  }
  for await (const { name } of Deno.readDir(place)) {
    throw new Refused(
      `${printable(store)} is not empty, it has ${printable(name)} in it: a backup is only put into an empty store.`,
    );
  }
  return place;
}

async function makeDraft(draft: string): Promise<void> {
  try {
    await Deno.mkdir(draft, { mode: 0o700 });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new Refused(
        `${printable(draft)} is there from a restore that was broken off, or is under way: remove it first.`,
      );
    }
    if (error instanceof Deno.errors.NotFound) {
      throw new Refused(`There is no folder ${printable(dirname(draft))} for the store.`);
    }
    throw new Error(
      `Cannot make the folder ${printable(draft)} beside the store: ${
        printable(reasonOf(error))
      }. Run this as somebody who may.`,
    );
  }
}

async function namesBelow(folder: string, below: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(join(folder, below))) {
    if (isDirectory) names.push(...await namesBelow(folder, join(below, name)));
    else names.push(join(below, name));
  }
  return names.sort();
}

async function removeAll(paths: readonly string[]): Promise<void> {
  for (const path of paths) await Deno.remove(path).catch(() => {});
}
