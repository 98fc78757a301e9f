/**
 * Reads an archive that may be anybody's: nothing is believed before its checksums have been compared, and no name in it
 * leads out of the folder it is unpacked into.
 */

import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { createTarDecoder } from "modern-tar";
import { syncFile, syncFolder, writeAll } from "../durable_file.ts";
import { MANIFEST, type Manifest, parseManifest, sumLine, SUMS } from "./manifest.ts";

export interface Unpacking {
  /** Must exist, and be empty. */
  readonly folder: string;
  readonly known: { readonly schema: number; readonly journal: number };
  /** What is below it is looked at and not unpacked. */
  readonly leaveOut?: string;
  /** Bytes more of the archive have been read. */
  readonly tell?: (bytes: number) => void;
}

export interface Unpacked {
  readonly manifest: Manifest;
  readonly files: number;
  readonly bytes: number;
}

const RECORDS = "kv.sqlite";
/** What a backup has at its top. */
const PARTS = [MANIFEST, SUMS, RECORDS, "queue", "mail", "acme", "stories", "config"];
/** Characters of a manifest. */
const MOST_MANIFEST = 16 << 20;
const NO_BACKUP = "It is no backup of maildemon", INCOMPLETE = "It is not whole: files are missing";

/** Rejects with a sentence without its full stop when it is not whole and as it was made. */
export async function unpack(
  archive: ReadableStream<Uint8Array<ArrayBuffer>>,
  unpacking: Unpacking,
): Promise<Unpacked> {
  const { folder, known, leaveOut, tell = () => {} } = unpacking;
  const counted = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(piece, controller) {
      tell(piece.length);
      controller.enqueue(piece);
    },
  });
  const tar = archive.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"));
  const entries = tar.pipeThrough(createTarDecoder({ strict: true }) as ReadableWritablePair<Entry, Uint8Array>);
  const sums: string[] = [];
  let manifest: Manifest | undefined, hasRecords = false, compared = false, bytes = 0;
  for await (const { header, body } of sound(entries)) {
    const name = demandName(header.name);
    if (compared) throw new Error(`It has something behind its ${SUMS}`);
    if ((name === MANIFEST) !== (manifest === undefined)) throw new Error(NO_BACKUP);
    if (header.type === "directory") {
      if (!isBelow(name, leaveOut)) await makeFolder(join(folder, name), header.mode);
      continue;
    }
    if (header.type !== "file") {
      throw new Error(`It has a ${header.type} in it, ${JSON.stringify(name)}, and a backup has none`);
    }
    if (name === SUMS) {
      const expected = sums.join("");
      // A list that is longer by far is that of other files, and may be without end.
      compare(await textOf(body, 2 * expected.length + MOST_MANIFEST, INCOMPLETE), expected, sums);
      compared = true;
      continue;
    }
    if (name === MANIFEST) {
      const text = await textOf(body, MOST_MANIFEST, NO_BACKUP);
      manifest = parseManifest(text, known);
      sums.push(sumLine(name, createHash("sha256").update(text).digest("hex")));
      continue;
    }
    const digest = isBelow(name, leaveOut) ? await digestOf(body) : await write(join(folder, name), header, body);
    sums.push(sumLine(name, digest));
    hasRecords ||= name === RECORDS;
    bytes += header.size;
  }
  if (manifest === undefined) throw new Error(NO_BACKUP);
  if (!compared) throw new Error("It is not whole: its end is missing");
  if (manifest.kv === undefined && !hasRecords) throw new Error(`It is not whole: ${RECORDS} is missing`);
  return { manifest, files: sums.length - 1, bytes };
}

/** Everything that the folder holds, down to its last name, is on disk when this resolves. */
export async function syncAll(folder: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) await syncAll(join(folder, name));
    else await syncFile(join(folder, name));
  }
  await syncFolder(folder);
}

type Body = ReadableStream<Uint8Array>;
interface Header {
  readonly name: string;
  readonly size: number;
  readonly mode?: number;
  readonly mtime?: Date;
  readonly type?: string;
}
interface Entry {
  readonly header: Header;
  readonly body: Body;
}

/** What the libraries say of bytes that are wrong means one thing. */
async function* sound(entries: ReadableStream<Entry>): AsyncGenerator<Entry> {
  const reader = entries.getReader();
  try {
    for (;;) {
      const { done, value } = await orDamaged(() => reader.read());
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function* piecesOf(body: Body): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await orDamaged(() => reader.read());
    if (done) return;
    yield value;
  }
}

async function orDamaged<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/\.$/, "") : String(error);
    throw new Error(`It is not whole, or was changed: ${reason}`);
  }
}

function demandName(name: string): string {
  const parts = name.replace(/\/$/, "").split("/");
  const leadsOut = parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"));
  if (leadsOut || parts[0]?.includes("\\")) {
    throw new Error(`It has a file that would lie outside of the store: ${JSON.stringify(name)}`);
  }
  if (!PARTS.includes(parts[0] ?? "")) throw new Error(NO_BACKUP);
  return parts.join("/");
}

function isBelow(name: string, folder: string | undefined): boolean {
  return folder !== undefined && (name === folder || name.startsWith(`${folder}/`));
}

async function makeFolder(path: string, mode = 0o700): Promise<void> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  await Deno.chmod(path, mode & 0o777 | 0o700);
}

async function write(path: string, { name, mode = 0o600, mtime }: Header, body: Body): Promise<string> {
  await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const hash = createHash("sha256");
  const file = await open(path, name);
  try {
    for await (const piece of piecesOf(body)) {
      hash.update(piece);
      await writeAll(file, piece);
    }
  } finally {
    file.close();
  }
  await Deno.chmod(path, mode & 0o777);
  // When a message came, many readers of mail know from here alone.
  if (mtime !== undefined) await Deno.utime(path, mtime, mtime);
  return hash.digest("hex");
}

async function open(path: string, name: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new Error(`It has two files of the name ${JSON.stringify(name)}`);
    }
    throw error;
  }
}

async function digestOf(body: Body): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of piecesOf(body)) hash.update(piece);
  return hash.digest("hex");
}

/** Throws an Error with `otherwise` when it is longer. */
async function textOf(body: Body, most: number, otherwise: string): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of piecesOf(body)) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > most) throw new Error(otherwise);
  }
  return text + decoder.decode();
}

/** The whole list in its order: a file that is missing, added or exchanged shows. */
function compare(text: string, expected: string, sums: readonly string[]): void {
  if (text === expected) return;
  const lines = new Set(text.split("\n"));
  const changed = sums.find((line) => !lines.has(line.trimEnd()));
  throw new Error(
    changed === undefined
      ? INCOMPLETE
      : `It was changed: ${
        changed.trimEnd().replace(/^\\?[0-9a-f]{64} {2}/, "")
      } does not have the checksum in ${SUMS}`,
  );
}
