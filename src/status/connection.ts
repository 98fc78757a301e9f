/** Reading and writing where a request comes in and an answer leaves. Deadlines are the caller's. */

import { Buffer } from "node:buffer";

/** What comes in, first by the line, then by count. */
export class Input {
  readonly #connection: Deno.Conn;
  #rest: Uint8Array<ArrayBuffer> = new Uint8Array();

  constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  async line(most: number): Promise<string> {
    const pieces: Uint8Array[] = [];
    for (let length = 0; length <= most;) {
      const piece = await this.#next();
      const end = piece.indexOf(0x0a);
      pieces.push(end < 0 ? piece : piece.subarray(0, end));
      length += piece.length;
      if (end < 0) continue;
      this.#rest = piece.subarray(end + 1);
      return Buffer.concat(pieces).toString();
    }
    throw new Error(`a line of more than ${most} bytes came`);
  }

  async *bytes(count: number): AsyncIterable<Uint8Array<ArrayBuffer>> {
    for (let left = count; left > 0;) {
      const piece = await this.#next();
      const taken = piece.subarray(0, left);
      this.#rest = piece.subarray(taken.length);
      left -= taken.length;
      yield taken;
    }
  }

  async #next(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = new Uint8Array();
      return rest;
    }
    const buffer = new Uint8Array(64 * 1024);
    const count = await this.#connection.read(buffer);
    if (count === null) throw new Error("the connection ended early");
    return buffer.subarray(0, count);
  }
}

export async function writeAll(connection: Deno.Conn, what: string | Uint8Array): Promise<void> {
  let left = typeof what === "string" ? new TextEncoder().encode(what) : what;
  while (left.length > 0) left = left.subarray(await connection.write(left));
}
