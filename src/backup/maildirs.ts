/**
 * The files of a folder that others change meanwhile: Maildirs. A reader of mail renames a file when it sets a flag,
 * and moves it from folder to folder, so it may be missed under the old name and under the new one. But it stays the
 * same file: the folder is walked again until a walk finds none that was not known, and known is what it is, not how
 * it is called. Mail that comes meanwhile is taken when it is met, and need not be: no walk is made for it.
 */

import { join } from "node:path";
import { reasonOf } from "../log.ts";

export interface FoundFile {
  /** Below the folder that was walked. */
  readonly name: string;
  readonly file: Deno.FsFile;
  readonly info: Deno.FileInfo;
}

export interface FoundFolder {
  readonly name: string;
  readonly folder: Deno.FileInfo;
}

const MOST_WALKS = 10;
/** Milliseconds by which the clock of a file server may be ahead of ours. */
const AHEAD = 60_000;

/**
 * Each file is closed when the next is asked for. `failed`: something is there and cannot be opened; what it throws ends
 * the walk.
 */
export async function* walkMail(
  root: string,
  failed: (error: unknown) => void = rethrow,
): AsyncGenerator<FoundFile | FoundFolder> {
  const known = new Set<string>(), reported = new Set<string>();
  const once = (path: string, error: unknown) => {
    if (reported.has(path)) return;
    reported.add(path);
    failed(error);
  };
  const latest = Date.now() + AHEAD;
  for (let walk = 1, found = 1; found > 0 && walk <= MOST_WALKS; walk++) {
    found = 0;
    for await (const path of walkFiles(root, "", once)) {
      if ("folder" in path) {
        if (walk === 1) yield path;
        continue;
      }
      const opened = await openFile(join(root, path.name), once);
      if (opened === undefined) continue;
      const { file, info } = opened;
      try {
        const identity = identityOf(path.name, info);
        if (known.has(identity)) continue;
        known.add(identity);
        if ((info.mtime?.getTime() ?? 0) < latest) found++;
        yield { name: path.name, file, info };
      } finally {
        file.close();
      }
    }
  }
}

function identityOf(name: string, { dev, ino, nlink, size, mtime }: Deno.FileInfo): string {
  // The mail reader copies by giving a file a second name: both are wanted.
  if ((nlink ?? 1) > 1) return name;
  // A number may be used again for another file, at another time and with another length.
  return `${dev} ${ino} ${size} ${mtime?.getTime()}`;
}

/** Undefined when it is gone: renamed, or deleted. */
async function openFile(
  path: string,
  failed: (path: string, error: unknown) => void,
): Promise<{ file: Deno.FsFile; info: Deno.FileInfo } | undefined> {
  let file: Deno.FsFile | undefined;
  try {
    file = await Deno.open(path);
    const info = await file.stat();
    if (info.isFile) return { file, info };
  } catch (error) {
    file?.close();
    // Names come as UTF-8; what is none cannot be said.
    const isNameless = path.includes("\ufffd");
    if (!(error instanceof Deno.errors.NotFound) || isNameless) failed(path, asSentence(`Cannot read ${path}`, error));
    return undefined;
  }
  file.close();
  return undefined;
}

async function* walkFiles(
  root: string,
  below: string,
  failed: (path: string, error: unknown) => void,
): AsyncGenerator<{ name: string } | FoundFolder> {
  for (const { name, isFile, isDirectory } of await entriesOf(join(root, below), failed)) {
    const path = below === "" ? name : `${below}/${name}`;
    // What is being delivered is not promised to be there yet.
    if (isFile && !/(^|\/)tmp$/.test(below)) yield { name: path };
    if (!isDirectory) continue;
    const folder = await Deno.stat(join(root, path)).catch(() => undefined);
    if (folder !== undefined) yield { name: path, folder };
    yield* walkFiles(root, path, failed);
  }
}

/** In order: `cur` before `new`. None when the folder is gone. */
async function entriesOf(
  folder: string,
  failed: (path: string, error: unknown) => void,
): Promise<Deno.DirEntry[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(folder));
    return entries.sort((one, other) => one.name < other.name ? -1 : 1);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) failed(folder, asSentence(`Cannot read the folder ${folder}`, error));
    return [];
  }
}

function rethrow(error: unknown): never {
  throw error;
}

function asSentence(what: string, error: unknown): Error {
  return new Error(`${what}: ${reasonOf(error)}.`);
}

/** So many bytes of it from its beginning, and no more. Rejects when it has fewer. */
export async function* bytesOf(file: Deno.FsFile, size: number, path: string): AsyncGenerator<Uint8Array> {
  for (let left = size; left > 0;) {
    const piece = new Uint8Array(Math.min(left, 1 << 18));
    const got = await file.read(piece);
    if (got === null) throw new Error(`${path} became shorter while it was read. Try again.`);
    yield piece.subarray(0, got);
    left -= got;
  }
}
