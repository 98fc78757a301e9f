/** Reads bodies back from the journal, and trusts none that its checksum does not confirm. */
import { Damaged } from "./failures.ts";
import type { Journal } from "./journal.ts";
import { reasonOf } from "../log.ts";
import { checksum } from "./record.ts";
import type { Place } from "./segment.ts";

/** The most that a piece of content has, that a draft keeps in memory, and that one part holds. */
export const PIECE_LENGTH = 256 * 1024;

/**
 * The bodies at the places that `find` gives when reading begins, in pieces that belong to the caller. A body of one piece is verified before it is given
 * out, a longer one before its last piece is. Throws Damaged. The segments stay until the reader is done or has left.
 */
export async function* readBodies(journal: Journal, find: () => readonly Place[]): AsyncGenerator<Uint8Array> {
  const places = find();
  for (const place of places) journal.need(place);
  try {
    for (const place of places) yield* readBody(place);
  } finally {
    for (const place of places) journal.release(place);
  }
}

async function* readBody({ segment, offset, head, body, bodyCheck }: Place): AsyncGenerator<Uint8Array> {
  if (body === 0) return;
  await segment.beginReading().catch(asDamage);
  try {
    let sum = 0;
    for (let done = 0; done < body;) {
      const piece = new Uint8Array(Math.min(PIECE_LENGTH, body - done));
      await segment.read(piece, offset + head + done).catch(asDamage);
      sum = checksum(piece, sum);
      done += piece.length;
      if (done === body && (sum | 0) !== (bodyCheck | 0)) {
        throw new Damaged(`${segment.path} has a wrong checksum at byte ${offset}`);
      }
      yield piece;
    }
  } finally {
    await segment.endReading();
  }
}

/** The body of one record as it lies there, whatever its checksum says. Its place must be needed by the caller. */
export async function readUnverified({ segment, offset, head, body }: Place): Promise<Uint8Array> {
  const bytes = new Uint8Array(body);
  await segment.beginReading().catch(asDamage);
  try {
    await segment.read(bytes, offset + head).catch(asDamage);
  } finally {
    await segment.endReading();
  }
  return bytes;
}

/** A file that is gone or a bad sector will not come back; anything else, such as too many open files, may pass. */
function asDamage(error: unknown): never {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  throw code === "ENOENT" || code === "EIO" ? new Damaged(reasonOf(error)) : error;
}
