/**
 * Writes an archive that every tar can read: one file after the other, nothing of which is ever whole in memory, and at
 * its end the checksums of all.
 */

import { createHash } from "node:crypto";
import { createTarPacker } from "modern-tar";
import { sumLine, SUMS } from "./manifest.ts";

export interface Packed {
  /** Below the top of the archive, with `/` between folders. */
  readonly name: string;
  readonly mode: number;
  readonly modified: Date;
}

export interface PackedFile extends Packed {
  /** Bytes; `pieces` must give exactly as many. */
  readonly size: number;
  readonly pieces: AsyncIterable<Uint8Array>;
}

export class Pack {
  readonly #packer = createTarPacker();
  readonly #written: Promise<void>;
  readonly #sums: string[] = [];
  /** Bytes of files so far. */
  bytes = 0;

  /** What goes wrong with `sink` is what the methods reject with. It is not closed. */
  constructor(sink: WritableStream<Uint8Array<ArrayBuffer>>) {
    this.#written = this.#packer.readable.pipeThrough(new CompressionStream("gzip"))
      .pipeTo(sink, { preventClose: true, preventAbort: true });
    // Heard of in `finish`, or by the next write.
    this.#written.catch(() => {});
  }

  get files(): number {
    return this.#sums.length;
  }

  async folder({ name, mode, modified }: Packed): Promise<void> {
    const header = { name: `${name}/`, type: "directory", size: 0, mode, mtime: modified } as const;
    await this.#packer.controller.add(header).close();
  }

  async file({ name, size, mode, modified, pieces }: PackedFile): Promise<void> {
    const writer = this.#packer.controller.add({ name, size, mode, mtime: modified }).getWriter();
    // A writer that is never closed would fail on its own.
    writer.closed.catch(() => {});
    const hash = createHash("sha256");
    for await (const piece of pieces) {
      hash.update(piece);
      await writer.write(piece);
      this.bytes += piece.length;
    }
    await writer.close();
    this.#sums.push(sumLine(name, hash.digest("hex")));
  }

  async text(name: string, text: string, modified: Date): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    await this.file({ name, size: bytes.length, mode: 0o600, modified, pieces: onePiece(bytes) });
  }

  /** Resolves when the sink has all. */
  async finish(modified: Date): Promise<void> {
    await this.text(SUMS, this.#sums.join(""), modified);
    this.#packer.controller.finalize();
    await this.#written;
  }

  /** Gives it up. Resolves when the sink is not written to any more. */
  async abandon(): Promise<void> {
    this.#packer.controller.error(new Error("given up"));
    await this.#written.catch(() => {});
  }
}

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield bytes;
}
