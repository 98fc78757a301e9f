/** One file of the journal, what of it is still needed, and how it is read. */
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { Damaged } from "./failures.ts";
import { MARK_LENGTH } from "./record.ts";

/** Where a record lies. */
export interface Place {
  readonly segment: Segment;
  readonly offset: number;
  /** Bytes of header and meta, then of the body. */
  readonly head: number;
  readonly body: number;
  readonly bodyCheck: number;
}

const NAME = /^(\d{10})-([0-9a-f]{16})\.segment$/;

export class Segment {
  readonly number: number;
  readonly mark: Uint8Array;
  readonly path: string;
  /** Bytes that count. What the file has beyond them was refused and is not to be read. */
  length = 0;
  /** Bytes that are certainly on disk. */
  synced = 0;
  /** A write or a sync failed: what was not synced before is lost, and nothing is appended any more. */
  broken = false;
  /** Places in it that are needed: by messages, by drafts, by whoever is reading. */
  needed = 0;
  #handle: Promise<FileHandle> | undefined;
  #readers = 0;

  constructor(folder: string, number: number, mark: Uint8Array) {
    this.number = number;
    this.mark = mark;
    this.path = join(folder, `${String(number).padStart(10, "0")}-${hex(mark)}.segment`);
  }

  static create(folder: string, number: number): Segment {
    return new Segment(folder, number, crypto.getRandomValues(new Uint8Array(MARK_LENGTH)));
  }

  /** The segment that a file of this name is; undefined when it is none of ours. */
  static named(folder: string, name: string): Segment | undefined {
    const [, number, mark] = NAME.exec(name) ?? [];
    if (number === undefined || mark === undefined) return undefined;
    return new Segment(folder, Number(number), unhex(mark));
  }

  /** Reads up to `buffer.length` bytes; fills the buffer or throws Damaged. Between `beginReading` and `endReading`. */
  async read(buffer: Uint8Array, position: number): Promise<void> {
    const handle = await this.#handle;
    for (let done = 0; done < buffer.length;) {
      const got = await handle?.read(buffer, done, buffer.length - done, position + done);
      if (got === undefined || got.bytesRead === 0) {
        throw new Damaged(`${this.path} ends before byte ${position + buffer.length}`);
      }
      done += got.bytesRead;
    }
  }

  /** One handle serves all who read at the same time; nobody reading, none is open. */
  async beginReading(): Promise<void> {
    this.#readers++;
    const handle = this.#handle ??= open(this.path, "r");
    try {
      await handle;
    } catch (error) {
      this.#readers--;
      if (this.#handle === handle) this.#handle = undefined;
      throw error;
    }
  }

  async endReading(): Promise<void> {
    if (--this.#readers > 0) return;
    const handle = this.#handle;
    this.#handle = undefined;
    await (await handle)?.close();
  }
}

/** Bytes of the whole record. */
export function sizeOf({ head, body }: Place): number {
  return head + body;
}

/** False when a failure took the record away before it was synced. */
export function isIntact({ segment, offset, head, body }: Place): boolean {
  return !segment.broken || offset + head + body <= segment.synced;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
