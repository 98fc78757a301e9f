/** What cannot be read back goes to the folder `damaged`, under names that say what it was, for a person to look at. */
import { basename, join } from "node:path";
import type { KeptMessage } from "./kept_message.ts";
import { syncFolder, writeAll } from "../durable_file.ts";
import type { Place, Segment } from "./segment.ts";

const STRIDE = 256 * 1024;

/**
 * Writes ID.json (envelope, standings, reason) and ID.eml (the bytes as far as they can be read). Resolves when that is
 * on disk.
 */
export async function setMessageAside(folder: string, message: KeptMessage, reason: string): Promise<void> {
  const { id, envelope, standings, size, places } = message;
  const damaged = await damagedFolder(folder);
  const note = `${JSON.stringify({ id, reason, size, envelope, standings }, null, 2)}\n`;
  await write(join(damaged, `${id}.json`), [new TextEncoder().encode(note)]);
  await write(join(damaged, `${id}.eml`), bodies(places));
  await syncFolder(damaged);
}

/**
 * Copies bytes that are no record to SEGMENT-OFFSET.bytes. False when an earlier start has done so: the segment keeps
 * them until it is deleted.
 */
export async function setBytesAside(folder: string, segment: Segment, from: number, to: number): Promise<boolean> {
  const damaged = await damagedFolder(folder);
  const path = join(damaged, `${basename(segment.path)}-${from}.bytes`);
  const known = await Deno.stat(path).catch(() => undefined);
  if (known?.size === to - from) return false;
  await write(path, range(segment.path, from, to));
  await syncFolder(damaged);
  return true;
}

/** Moves a whole segment, in which nothing could be recognized, out of the way. */
export async function setSegmentAside(folder: string, segment: Segment): Promise<void> {
  const damaged = await damagedFolder(folder);
  await Deno.rename(segment.path, join(damaged, `${basename(segment.path)}.bytes`));
  await syncFolder(damaged);
}

async function damagedFolder(folder: string): Promise<string> {
  const damaged = join(folder, "damaged");
  await Deno.mkdir(damaged, { recursive: true, mode: 0o700 });
  return damaged;
}

async function write(path: string, pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const file = await Deno.open(path, { write: true, create: true, truncate: true, mode: 0o600 });
  try {
    for await (const piece of pieces) await writeAll(file, piece);
    await file.sync();
  } finally {
    file.close();
  }
}

async function* bodies(places: readonly Place[]): AsyncGenerator<Uint8Array> {
  for (const { segment, offset, head, body } of places) yield* range(segment.path, offset + head, offset + head + body);
}

/** Ends early where the file ends, or where it cannot be read. */
async function* range(path: string, from: number, to: number): AsyncGenerator<Uint8Array> {
  const file = await Deno.open(path).catch(() => undefined);
  if (file === undefined) return;
  try {
    await file.seek(from, Deno.SeekMode.Start);
    for (let left = to - from; left > 0;) {
      const piece = new Uint8Array(Math.min(STRIDE, left));
      const got = await file.read(piece).catch(() => null);
      if (got === null) return;
      yield piece.subarray(0, got);
      left -= got;
    }
  } finally {
    file.close();
  }
}
