/** A message while it arrives: its beginning in memory, the rest already in the journal, as parts. */
import type { Content, Envelope } from "./entry.ts";
import { StoreFailed } from "./failures.ts";
import type { Journal } from "./journal.ts";
import { type Entry, partRecord } from "./kept_message.ts";
import { reasonOf } from "../log.ts";
import { isIntact, type Place } from "./segment.ts";
import { PIECE_LENGTH, readBodies } from "./stored_body.ts";

/** What a draft needs of the spool. */
export interface DraftHome {
  readonly journal: Journal;
  /** Writes the record that makes the message one of the queue's. From its resolution on, the parts are the spool's. */
  keep(id: string, envelope: Envelope, start: Uint8Array, parts: readonly Place[]): Promise<Entry>;
  /** Nothing more is written under this id. */
  closed(id: string): void;
}

export class Draft {
  readonly id: string;
  readonly #home: DraftHome;
  #size = 0;
  #start: Uint8Array = new Uint8Array(0);
  #rest: Uint8Array | undefined;
  #restLength = 0;
  #parts: Place[] = [];
  #appended = 0;
  #appending: Promise<void> | undefined;
  #failure: StoreFailed | undefined;
  #state: "open" | "committing" | "closed" = "open";

  constructor(id: string, home: DraftHome) {
    this.id = id;
    this.#home = home;
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#size;
  }

  /** The first bytes, at most 256 KiB: the whole header is in here. Not to be changed; empty after commit or discard. */
  get start(): Uint8Array {
    return this.#start.subarray(0, Math.min(this.#size, PIECE_LENGTH));
  }

  /**
   * Copies the bytes. The promise, when there is one, is back-pressure: whoever waits for it holds no more than two
   * pieces of 256 KiB besides the start. Never throws or rejects: `commit` tells of a failure.
   */
  write(bytes: Uint8Array): void | Promise<void> {
    if (this.#state !== "open") return;
    const fits = Math.max(Math.min(PIECE_LENGTH - this.#size, bytes.length), 0);
    if (fits > 0) this.#growStart(this.#size + fits).set(bytes.subarray(0, fits), this.#size);
    this.#size += bytes.length;
    // After a failure only the size counts on: the message may still be refused for it.
    if (fits === bytes.length || this.#failure !== undefined) return;
    const before = this.#appended;
    for (let at = fits; at < bytes.length;) {
      const rest: Uint8Array = this.#rest ??= new Uint8Array(PIECE_LENGTH);
      const piece = bytes.subarray(at, at + PIECE_LENGTH - this.#restLength);
      rest.set(piece, this.#restLength);
      this.#restLength += piece.length;
      at += piece.length;
      if (this.#restLength === PIECE_LENGTH) this.#appendRest();
    }
    if (this.#appended > before) return this.#appending;
  }

  /** The message again from its beginning, as far as it was written. Throws StoreFailed when parts of it are lost. */
  content(): Content {
    return { size: this.#size, pieces: () => this.#pieces() };
  }

  /**
   * Stores `start`, the possibly rewritten beginning, followed by what came after the first 256 KiB. Resolves when body
   * and envelope are on disk: only now may 250 be said. Rejects with StoreFailed; then nothing was stored.
   */
  async commit(envelope: Envelope, start: Uint8Array): Promise<Entry> {
    if (this.#state !== "open") throw new Error(`Draft ${this.id} was already committed or discarded`);
    this.#state = "committing";
    try {
      if (this.#restLength > 0) this.#appendRest();
      if (this.#appending !== undefined) await this.#appending;
      this.#failIfLost();
      const entry = await this.#home.keep(this.id, envelope, start, this.#parts);
      this.#parts = [];
      return entry;
    } finally {
      this.#close();
    }
  }

  /** Gives up the message. Harmless at any time; once commit was called, the commit decides. */
  discard(): void {
    if (this.#state === "open") this.#close();
  }

  #close(): void {
    this.#state = "closed";
    this.#home.closed(this.id);
    for (const place of this.#parts) this.#home.journal.release(place);
    this.#parts = [];
    this.#rest = undefined;
    this.#start = new Uint8Array(0);
  }

  #appendRest(): void {
    const part = partRecord(this.id, this.#appended++, this.#rest?.subarray(0, this.#restLength) ?? new Uint8Array(0));
    this.#rest = undefined;
    this.#restLength = 0;
    this.#appending = this.#home.journal.append(part, false).then(
      (place) => {
        if (this.#state === "closed") this.#home.journal.release(place);
        else this.#parts.push(place);
      },
      (error) => void (this.#failure ??= asFailure(error)),
    );
  }

  /** A part that was written and not yet synced is lost when a later sync fails, whoever asked for that. */
  #failIfLost(): void {
    if (!this.#parts.every(isIntact)) this.#failure ??= new StoreFailed(`The disk failed while ${this.id} arrived`);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async *#pieces(): AsyncGenerator<Uint8Array> {
    if (this.#state === "closed") throw new Error(`Draft ${this.id} was already committed or discarded`);
    const start = this.start.slice(), rest = this.#rest?.slice(0, this.#restLength), parts = this.#appended;
    if (start.length > 0) yield start;
    await this.#appending;
    this.#failIfLost();
    yield* readBodies(this.#home.journal, () => this.#parts.slice(0, parts));
    if (rest !== undefined && rest.length > 0) yield rest;
  }

  /** Room for so many bytes. Most messages come in one piece, which then is all that is taken. */
  #growStart(length: number): Uint8Array {
    if (length <= this.#start.length) return this.#start;
    const larger = new Uint8Array(Math.max(length, Math.min(4 * this.#start.length, PIECE_LENGTH)));
    larger.set(this.#start.subarray(0, this.#size));
    return this.#start = larger;
  }
}

function asFailure(error: unknown): StoreFailed {
  return error instanceof StoreFailed ? error : new StoreFailed(reasonOf(error));
}
