/**
 * Into a Maildir: the message is written and synced in tmp/, then renamed into new/, so that a reader never sees half
 * of it and a crash leaves either nothing or all of it. That is done on another thread (worker/store_mail.ts).
 *
 * The bytes stay as they came, with CRLF: a signature (DKIM, S/MIME, OpenPGP) of the message in the folder can be
 * verified, and every reader of Maildirs takes both line ends.
 */

import { reasonOf } from "../log.ts";
import type { Job, Outcome, RemoteReply } from "../queue/entry.ts";
import { WORKER_POOL, WorkerPool } from "../worker/pool.ts";
import type { Letter, Stored } from "../worker/store_mail.ts";
import { localReply, oneLine, outcomes } from "./remote_reply.ts";
import { spamLine } from "./spam_line.ts";

export interface MailboxSettings {
  /** Our name, part of each file name. */
  readonly hostname: string;
}

/** A disk may take its time (milliseconds), and one thread is enough for one disk. */
const DISK = { ...WORKER_POOL, workers: 1, deadline: 120_000, patience: 240_000 };
/** Of a longer message so many bytes at a time are in memory. */
const PIECE = 1 << 18;
const utf8 = new TextEncoder();

interface Waiting {
  readonly letter: Letter;
  readonly resolve: (stored: Stored) => void;
  readonly reject: (error: unknown) => void;
}

export class Mailboxes {
  readonly #host: string;
  readonly #pool: WorkerPool<null, readonly Letter[], readonly Stored[]>;
  #waiting: Waiting[] = [];
  #writing = false;

  constructor({ hostname }: MailboxSettings) {
    // The Maildir convention for the two characters that a name cannot hold.
    this.#host = hostname.replaceAll("/", "\\057").replaceAll(":", "\\072");
    this.#pool = new WorkerPool(
      () => new Worker(new URL("../worker/store_mail.ts", import.meta.url), { type: "module" }),
      null,
      DISK,
    );
  }

  /** One copy for each of these recipients of the job, all of whose targets are Maildirs. Never rejects. */
  async deliver(job: Job, recipients: readonly number[]): Promise<Outcome[]> {
    const done: Outcome[] = [];
    for (const recipient of recipients) {
      const target = job.envelope.recipients[recipient]?.target;
      if (target?.to !== "maildir") continue;
      const reply = await this.#store(job, recipient, target.path).then(
        (stored) =>
          stored === undefined ? localReply(250, "2.1.5", `stored in ${target.path}`) : refusal(stored, target.path),
        (error) => refusal({ message: reasonOf(error) }, target.path),
      );
      done.push(...outcomes([recipient], reply, reply.code === 250 ? "delivered" : "later"));
    }
    return done;
  }

  /** Ends the thread. What it has not stored yet is rejected, and stays in the queue. */
  close(): void {
    this.#pool.close();
  }

  async #store(job: Job, recipient: number, folder: string): Promise<Stored> {
    const name = `${Math.trunc(job.envelope.arrived / 1000)}.${job.id}_${recipient}.${this.#host}`;
    let at = 0;
    for await (const { bytes, more } of pieces(job, traceLines(job, recipient))) {
      const size = bytes.length;
      const stored = await this.#post({ folder, name, bytes, at, more, uncertain: job.uncertain });
      if (stored !== undefined || !more) return stored;
      at += size;
    }
    // What is in tmp/ now is only a part; to say that it is stored would lose the rest.
    throw new Error(`the message is shorter than its ${job.content.size} bytes`);
  }

  #post(letter: Letter): Promise<Stored> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ letter, resolve, reject });
      if (!this.#writing) this.#write();
    });
  }

  /** Whatever waits when the disk is done shares the next steps. */
  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const letters = batch.map(({ letter }) => letter);
        const stored = await this.#pool.run(letters, letters.map(({ bytes }) => bytes.buffer as ArrayBuffer));
        for (const [index, { resolve }] of batch.entries()) resolve(stored[index]);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = false;
  }
}

/** RFC 5321 §4.4: final delivery says who sent it. Delivered-To is how a loop through another server is found. */
function traceLines({ envelope }: Job, recipient: number): Uint8Array {
  const { address = "", target } = envelope.recipients[recipient] ?? {};
  const path = `Return-Path: <${oneLine(envelope.sender)}>\r\nDelivered-To: ${oneLine(address)}\r\n`;
  return utf8.encode(`${path}${spamLine(target)}`);
}

/** The message below its trace lines, in buffers of its own that may be given away. The last one says so. */
async function* pieces(
  { content }: Job,
  trace: Uint8Array,
): AsyncGenerator<{ readonly bytes: Uint8Array; readonly more: boolean }> {
  let left = trace.length + content.size, filled = 0;
  let bytes = new Uint8Array(Math.min(PIECE, left));
  const all = async function* () {
    yield trace;
    yield* content.pieces();
  };
  for await (const piece of all()) {
    for (let read = 0; read < piece.length;) {
      const part = piece.subarray(read, read + bytes.length - filled);
      bytes.set(part, filled);
      filled += part.length;
      read += part.length;
      if (filled < bytes.length) continue;
      left -= filled;
      yield { bytes, more: left > 0 };
      bytes = new Uint8Array(Math.min(PIECE, left));
      filled = 0;
    }
  }
}

/** A mailbox that cannot be written is our trouble or its owner's, and both can be mended: never a reason to bounce. */
function refusal({ code, message }: { readonly code?: string; readonly message: string }, folder: string): RemoteReply {
  if (code === "ENOSPC" || /no space left/i.test(message)) {
    return localReply(452, "4.3.1", `no space left for ${folder}`);
  }
  if (code === "EDQUOT" || /quota/i.test(message)) {
    return localReply(452, "4.2.2", `the quota for ${folder} is used up`);
  }
  return localReply(451, "4.3.0", `cannot write to ${folder}: ${message}`);
}
