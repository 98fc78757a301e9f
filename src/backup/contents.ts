/**
 * What a backup holds, and in which order it is read from a store on which a server works. The moment that it shows is
 * that at which the journal is held:
 *
 * 1. The journal: all its files are opened in one go and read no further than they were long (queue/held_journal.ts).
 *    What was promised with 250 before that moment and is not done then is in it.
 * 2. The records, a copy of one moment after that: whatever the messages in the journal rely on, such as the keys of
 *    return paths, is in them.
 * 3. Certificates, stories, the configuration and the files it names. Each is written whole or only at its end.
 * 4. The Maildirs, last. A message that was on its way into one is in the journal, or in the Maildir, or in both, and
 *    then the next attempt to store it finds it there. The other way round it could be in neither.
 *
 * What was in the journal at that moment and has been sent since is sent once more by a server that starts on a
 * restored copy: no backup can know better.
 */

import { dirname, join, relative } from "node:path";
import type { HeldJournal } from "../queue/held_journal.ts";
import { bytesOf, walkMail } from "./maildirs.ts";
import { FORMAT, MANIFEST, type Manifest } from "./manifest.ts";
import type { Pack } from "./pack.ts";

export interface Contents {
  /** The data folder. */
  readonly store: string;
  readonly journal: HeldJournal;
  /** The copy of the records; absent when they are on another server. */
  readonly kv?: { readonly path: string };
  /** The configuration, and the files it names; absolute. */
  readonly config: { readonly file: string; readonly names: readonly string[] };
  readonly about: Omit<Manifest, "format" | "taken" | "store" | "elsewhere">;
  /** Does what touches the store: as somebody whom a link in it leads no further than its owner gets. */
  readonly inStore: (work: () => Promise<void>) => Promise<void>;
  /** Has been begun with this. */
  readonly tell: (what: string) => void;
}

/** Files that the configuration names and that lie outside of its folder. */
const ELSEWHERE = "config/elsewhere";

export async function writeContents(pack: Pack, contents: Contents, now: Date): Promise<void> {
  const { store, journal, kv, config, about, inStore, tell } = contents;
  const named = namesOf(config);
  const elsewhere = Object.fromEntries([...named].filter(([name]) => name.startsWith(`${ELSEWHERE}/`)));
  const manifest: Manifest = { format: FORMAT, taken: now.toISOString(), store, ...about, elsewhere };
  await pack.text(MANIFEST, `${JSON.stringify(manifest, null, 2)}\n`, now);

  tell("the queue");
  for (const held of journal.files) {
    const { name, segment: { length }, modified } = held;
    await pack.file({ name: `queue/${name}`, size: length, mode: 0o600, modified, pieces: journal.bytes(held) });
  }
  await inStore(async () => {
    await copyFolder(pack, join(store, "queue/damaged"), "queue/damaged");
    if (kv !== undefined) {
      tell("users, aliases and hosts");
      await copyFile(pack, kv.path, "kv.sqlite");
    }
    for (const part of ["acme", "stories"]) await copyFolder(pack, join(store, part), part);
  });
  tell("the configuration");
  for (const [name, path] of named) await copyFile(pack, path, name);
  if (about.mail) await inStore(() => copyFolder(pack, join(store, "mail"), "mail", tell));
}

/** The name in the archive, and the file. */
function namesOf({ file, names }: Contents["config"]): Map<string, string> {
  const folder = dirname(file), found = new Map([["config/config.toml", file]]);
  for (const path of names) {
    const inside = relative(folder, path);
    found.set(inside.startsWith("..") ? ELSEWHERE + path : `config/${inside}`, path);
  }
  return found;
}

async function copyFile(pack: Pack, path: string, name: string): Promise<void> {
  using file = await Deno.open(path);
  await put(pack, name, file, await file.stat(), path);
}

async function copyFolder(
  pack: Pack,
  folder: string,
  name: string,
  tell: (what: string) => void = () => {},
): Promise<void> {
  for await (const found of walkMail(folder)) {
    tell(found.name);
    if ("folder" in found) {
      await pack.folder({ name: `${name}/${found.name}`, ...lookOf(found.folder) });
    } else await put(pack, `${name}/${found.name}`, found.file, found.info, join(folder, found.name));
  }
}

async function put(pack: Pack, name: string, file: Deno.FsFile, info: Deno.FileInfo, path: string): Promise<void> {
  await pack.file({ name, size: info.size, ...lookOf(info), pieces: bytesOf(file, info.size, path) });
}

function lookOf({ mode, mtime }: Deno.FileInfo): { mode: number; modified: Date } {
  return { mode: (mode ?? 0o600) & 0o777, modified: new Date(Math.max(0, mtime?.getTime() ?? 0)) };
}
