/**
 * The journal as it is at one moment, for those who only read, while a server appends to it and deletes from it.
 *
 * A journal is only ever appended to at its end and shortened at its beginning, and what every prefix of it means is
 * what a start finds after a crash at that moment. So it is enough to hold all its files open in one go, and to read
 * none of them further than it was long then: an open file stays, whatever becomes of its name. No lock is needed.
 *
 * They are opened from the newest to the oldest: when one has just been deleted, so have all before it, and no older one
 * is held whose messages the missing one may say to be gone. A folder that has new files afterwards is opened again:
 * what the deleted ones held may lie in these.
 */
import { Buffer } from "node:buffer";
import { closeSync, fstatSync, openSync, read as readAt } from "node:fs";
import { promisify } from "node:util";
import { basename } from "node:path";
import type { Ends } from "./journal.ts";
import { decodeMeta, type KeptMessage } from "./kept_message.ts";
import { Index } from "./recovery.ts";
import { Segment } from "./segment.ts";
import { checkBody, firstRecord, type Gap, scan } from "./segment_scan.ts";

const TRIES = 100, PIECE = 1 << 20;

export interface HeldFile {
  readonly name: string;
  /** Its length is that of the moment. */
  readonly segment: Segment;
  readonly fd: number;
  readonly modified: Date;
}

/** What a journal says. */
export interface Reading {
  readonly messages: ReadonlyMap<string, KeptMessage>;
  /** Ids of messages that cannot be read whole, and why. */
  readonly unreadable: ReadonlyMap<string, string>;
  /** Ranges of bytes that are no records. */
  readonly gaps: readonly (Omit<Gap, "what"> & { readonly name: string })[];
}

export class HeldJournal implements Disposable {
  /** Oldest first. */
  readonly files: readonly HeldFile[];

  private constructor(files: readonly HeldFile[]) {
    this.files = files;
  }

  /** Empty when there is no folder. Rejects when it cannot be read, or changes without end. */
  static async open(folder: string): Promise<HeldJournal> {
    for (let tried = 1;; tried++) {
      const held = openAll(folder);
      if (namesIn(folder).every((name) => held.has(name))) return new HeldJournal(measured(folder, held));
      for (const fd of held.values()) closeSync(fd);
      if (tried === TRIES) {
        throw new Error(`Cannot read the queue in ${folder}: its files come and go too fast. Try again in a moment.`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.files) closeSync(fd);
  }

  /**
   * Throws, as a start does, when a newer program wrote it. `bodies`: those of messages in the queue are held against
   * their checksums.
   */
  read({ bodies }: { readonly bodies: boolean }): Reading {
    const index = new Index(), gaps: Reading["gaps"][number][] = [];
    const ends = new Map(this.#ends());
    for (const { name, segment, fd } of this.files) {
      const end = Math.min(segment.length, ends.get(segment.number) ?? segment.length);
      const missing = (ends.get(segment.number) ?? end) - end;
      if (missing > 0) gaps.push({ name, from: end, to: end + missing });
      const isLast = name === this.files.at(-1)?.name;
      for (const found of scan(segment, fd, end, isLast)) {
        if (found.what === "record") index.take(found, segment);
        // It is being written, or was when the process ended.
        else if (isLast && found.what === "tail") continue;
        else gaps.push({ name, from: found.from, to: found.to });
      }
    }
    const { messages, unreadable } = index.finish();
    const damaged = bodies ? this.#damaged(messages) : [];
    return { messages, unreadable: new Map([...unreadable, ...damaged]), gaps };
  }

  /** The bytes of a file, as many as there were. Rejects when there are fewer now. */
  async *bytes({ name, segment, fd }: HeldFile): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < segment.length;) {
      const piece = Buffer.alloc(Math.min(PIECE, segment.length - at));
      const { bytesRead } = await readFrom(fd, piece, 0, piece.length, at);
      if (bytesRead === 0) throw new Error(`The queue file ${name} became shorter while it was read. Try again.`);
      yield new Uint8Array(piece.buffer, piece.byteOffset, bytesRead);
      at += bytesRead;
    }
  }

  /** Bodies that are not as they were written. */
  *#damaged(messages: ReadonlyMap<string, KeptMessage>): Generator<[string, string]> {
    const fds = new Map(this.files.map(({ segment, fd }) => [segment, fd]));
    for (const [id, { places }] of messages) {
      for (const { segment, offset, head, body, bodyCheck } of places) {
        if ((checkBody(fds.get(segment)!, offset + head, body) | 0) === (bodyCheck | 0)) continue;
        yield [id, `Wrong checksum at byte ${offset} of ${basename(segment.path)}`];
      }
    }
  }

  #ends(): Ends {
    for (const { segment, fd } of this.files.toReversed()) {
      const first = firstRecord(segment, fd, segment.length);
      if (first?.head.kind === "begin") return decodeMeta<Ends>(first.meta);
    }
    return [];
  }
}

const readFrom = promisify(readAt);

function openAll(folder: string): Map<string, number> {
  const held = new Map<string, number>();
  for (const name of namesIn(folder)) {
    try {
      held.set(name, openSync(`${folder}/${name}`, "r"));
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") continue;
      for (const fd of held.values()) closeSync(fd);
      throw error;
    }
  }
  return held;
}

/** Newest first. */
function namesIn(folder: string): string[] {
  try {
    const names = Deno.readDirSync(folder).filter(({ name, isFile }) => isFile && Segment.named(folder, name));
    return Array.from(names, ({ name }) => name).sort().reverse();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The newest is measured first: once it is there, nothing is appended to the others. */
function measured(folder: string, held: ReadonlyMap<string, number>): HeldFile[] {
  const files = Array.from(held, ([name, fd]): HeldFile => {
    const segment = Segment.named(folder, name)!, { size, mtime } = fstatSync(fd);
    segment.length = segment.synced = size;
    return { name, segment, fd, modified: mtime };
  });
  return files.reverse();
}
