/**
 * The journal: segment files to which records are appended, and nothing else.
 *
 * Group commit: whatever is appended while a write is under way goes into the next one, and all of it shares that
 * write and one fdatasync. The order of the calls is the order in the files.
 *
 * After a failed write or sync nobody knows what the disk holds: the kernel may have dropped the pages and will call
 * the next fdatasync a success. So everybody who waits is told that it failed, the segment is cut back to what was
 * synced before and never appended to again, and each new segment begins by saying where those before it end.
 */
import { type Log, reasonOf } from "../log.ts";
import { StoreFailed } from "./failures.ts";
import { syncFolder } from "../durable_file.ts";
import { cutFile } from "./folder.ts";
import { checksum, encodeRecord, HEADER_LENGTH, type JournalRecord, NOTHING, recordLength } from "./record.ts";
import { type Place, Segment, sizeOf } from "./segment.ts";

/** A file that can only be appended to: what the journal asks of the disk. */
export type AppendFile = Pick<Deno.FsFile, "write" | "syncData" | "close">;

export interface JournalSettings {
  readonly folder: string;
  readonly log: Log;
  /** Bytes after which a new segment is begun. */
  readonly segmentSize?: number;
  /** Creates the file of a new segment. Tests put failing disks here. */
  readonly create?: (path: string) => Promise<AppendFile>;
}

const SEGMENT_SIZE = 64 * 1024 * 1024;
/** One write takes no more than this (or one record), so that the first of many does not wait for the last. */
const BATCH_SIZE = 4 * 1024 * 1024;

/** Segment number and its length: what the record at the beginning of each segment says about those before it. */
export type Ends = readonly (readonly [number, number])[];

interface Waiting {
  readonly record: JournalRecord;
  readonly durable: boolean;
  readonly resolve: (place: Place) => void;
  readonly reject: (error: StoreFailed) => void;
}

export class Journal {
  /** Oldest first. The last one is being written, unless it is broken or was found at start. */
  readonly segments: Segment[];
  readonly segmentSize: number;
  /** Bytes of all segments, and of the records in them that are needed. */
  held = 0;
  live = 0;
  /** fdatasync calls so far. */
  syncs = 0;
  /** When the last write failed, by `performance.now()`. */
  failedAt = -Infinity;
  /** Called when the oldest segment may have become superfluous. */
  freed: () => void = () => {};

  readonly #folder: string;
  readonly #log: Log;
  readonly #create: (path: string) => Promise<AppendFile>;
  #current: { readonly segment: Segment; readonly file: AppendFile } | undefined;
  #number: number;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;
  #buffer = new DataView(new ArrayBuffer(64 * 1024));

  /** `segments`: what was found at start. They are never appended to. */
  constructor({ folder, log, segmentSize = SEGMENT_SIZE, create = createFile }: JournalSettings, segments: Segment[]) {
    this.segments = segments;
    this.segmentSize = segmentSize;
    this.#folder = folder;
    this.#log = log;
    this.#create = create;
    this.#number = segments.at(-1)?.number ?? 0;
    for (const segment of segments) this.held += segment.length;
  }

  /**
   * Appends a record; the bytes must not change until this settles. Resolves when it is written, with `durable` when
   * it is on disk. Rejects with StoreFailed; then the record is not in the journal. Records of a body are needed from
   * here on until they are released.
   */
  append(record: JournalRecord, durable: boolean): Promise<Place> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new StoreFailed(`The queue in ${this.#folder} is closed`));
      this.#waiting.push({ record, durable, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** The segment of this place stays until `release`. */
  need(place: Place): void {
    place.segment.needed++;
    this.live += sizeOf(place);
  }

  release(place: Place): void {
    place.segment.needed--;
    this.live -= sizeOf(place);
    this.freed();
  }

  isCurrent(segment: Segment): boolean {
    return segment === this.#current?.segment;
  }

  /** Deletes the oldest segment, which must not be needed or current. */
  async removeOldest(): Promise<void> {
    const [oldest] = this.segments;
    if (oldest === undefined) return;
    // A crash must not bring back the one removed before this, but not this: it may say which of its messages are gone.
    await syncFolder(this.#folder);
    await Deno.remove(oldest.path).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    this.segments.shift();
    this.held -= oldest.length;
  }

  /** Waits for what is being written; later appends are refused. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    this.#current?.file.close();
    this.#current = undefined;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    await Promise.resolve(); // All that is appended in this turn shares the first write.
    while (this.#waiting.length > 0) {
      const batch: Waiting[] = [];
      try {
        const segment = await this.#segmentFor(this.#waiting[0]);
        await this.#write(segment, batch);
      } catch (error) {
        await this.#fail(batch, error);
      }
    }
    this.#running = undefined;
  }

  async #segmentFor(first: Waiting | undefined): Promise<Segment> {
    const size = first === undefined ? 0 : recordLength(first.record);
    if (this.#current !== undefined) {
      const { segment, file } = this.#current;
      if (segment.length === 0 || segment.length + size <= this.segmentSize) return segment;
      if (segment.synced < segment.length) await this.#sync(segment, file);
      this.#current = undefined;
      file.close();
    }
    const segment = Segment.create(this.#folder, ++this.#number);
    const file = await this.#create(segment.path);
    this.#current = { segment, file };
    this.segments.push(segment);
    await syncFolder(this.#folder);
    this.freed();
    return segment;
  }

  async #write(segment: Segment, batch: Waiting[]): Promise<void> {
    const records = this.#take(segment, batch);
    const size = records.reduce((sum, record) => sum + recordLength(record), 0);
    const buffer = this.#room(size), places: Place[] = [];
    let at = 0;
    for (const record of records) {
      const { meta, body, bodyCheck } = record, head = HEADER_LENGTH + meta.length;
      places.push({ segment, offset: segment.length + at, head, body: body.length, bodyCheck });
      at = encodeRecord(buffer, at, segment.mark, record);
    }
    if (records.length > batch.length) places.shift(); // The record at the beginning is nobody's.

    const file = this.#current?.file;
    if (file === undefined) throw new Error("the segment was closed");
    for (let done = 0; done < size;) {
      const written = await file.write(new Uint8Array(buffer.buffer, done, size - done));
      if (written === 0) throw new Error("the disk takes nothing");
      done += written;
    }
    segment.length += size;
    this.held += size;
    this.#settle(batch, places, false);
    if (!batch.some(({ durable }) => durable)) return;
    await this.#sync(segment, file);
    this.#settle(batch, places, true);
  }

  /** Moves what goes into the next write from those who wait to `batch`. */
  #take(segment: Segment, batch: Waiting[]): JournalRecord[] {
    const records = segment.length === 0 ? [this.#beginning()] : [];
    const room = Math.min(BATCH_SIZE, this.segmentSize - segment.length);
    let size = 0;
    for (const waiting of this.#waiting) {
      size += recordLength(waiting.record);
      if (size > room && batch.length > 0) break;
      batch.push(waiting);
      records.push(waiting.record);
    }
    this.#waiting = this.#waiting.slice(batch.length);
    return records;
  }

  #beginning(): JournalRecord {
    const ends: Ends = this.segments.slice(0, -1).map(({ number, length }) => [number, length]);
    const meta = new TextEncoder().encode(JSON.stringify(ends));
    return { kind: "begin", id: "-".repeat(12), meta, body: NOTHING, bodyCheck: checksum(NOTHING) };
  }

  #room(size: number): DataView<ArrayBuffer> {
    if (size <= this.#buffer.byteLength) return this.#buffer;
    const larger = new DataView(new ArrayBuffer(Math.max(size, 2 * this.#buffer.byteLength)));
    if (size <= BATCH_SIZE) this.#buffer = larger;
    return larger;
  }

  async #sync(segment: Segment, file: AppendFile): Promise<void> {
    const { length } = segment;
    this.syncs++;
    await file.syncData();
    segment.synced = length;
  }

  #settle(batch: Waiting[], places: Place[], durable: boolean): void {
    for (const [index, waiting] of batch.entries()) {
      const place = places[index];
      if (waiting.durable !== durable || place === undefined) continue;
      if (isNeeded(waiting.record)) this.need(place);
      waiting.resolve(place);
    }
  }

  async #fail(batch: Waiting[], cause: unknown): Promise<void> {
    // Those behind the batch too: they may rely on parts that are lost now.
    const failed = [...batch, ...this.#waiting];
    this.#waiting = [];
    const where = this.#current?.segment.path ?? this.#folder;
    this.failedAt = performance.now();
    this.#log("error", "journal-write-failed", { file: where, waiting: failed.length, reason: reasonOf(cause) });
    if (this.#current !== undefined) await this.#abandon(this.#current.segment, this.#current.file);
    const error = new StoreFailed(
      `Cannot append to ${where}: ${reasonOf(cause)}. Nothing was accepted; check the disk and the space left on it`,
    );
    for (const { reject } of failed) reject(error);
  }

  async #abandon(segment: Segment, file: AppendFile): Promise<void> {
    segment.broken = true;
    this.#current = undefined;
    this.held -= segment.length - segment.synced;
    segment.length = segment.synced;
    try {
      file.close();
    } catch (error) {
      this.#log("debug", "journal-not-closed", { file: segment.path, reason: reasonOf(error) });
    }
    if (segment.length === 0) {
      const removed = await Deno.remove(segment.path).then(() => true, () => false);
      if (removed) return void this.segments.splice(this.segments.indexOf(segment), 1);
    }
    const reason = await cutFile(segment.path, segment.length);
    // Not fatal: the beginning of the next segment says that the rest does not count.
    if (reason !== undefined) this.#log("warning", "journal-not-cut", { file: segment.path, reason });
  }
}

/** True when its bytes have to stay: a start reads outcomes and goings from any segment, they hold none. */
function isNeeded({ kind }: JournalRecord): boolean {
  return kind === "message" || kind === "part" || kind === "sealed";
}

function createFile(path: string): Promise<AppendFile> {
  return Deno.open(path, { append: true, createNew: true, mode: 0o600 });
}
