/** The message on its way out, piece by piece. */

import type { Content } from "../queue/entry.ts";

/** How much goes out between two looks at the clock. */
export const BLOCK = 16 * 1024;

export class OutgoingBody {
  /** It could not be read. */
  error: Error | undefined;

  constructor(
    private readonly content: Content,
    private readonly on: {
      readonly mayBegin: () => boolean;
      readonly block: () => void;
      readonly ended: () => void;
    },
  ) {}

  async *pieces(): AsyncGenerator<Uint8Array> {
    // nodemailer goes on after any 2yz and 3yz; a server that is out of step would take the message for commands.
    if (!this.on.mayBegin()) throw new Error("the server is out of step");
    const { content } = this;
    let left = content.size;
    try {
      for await (const piece of content.pieces()) {
        left -= piece.length;
        for (let at = 0; at < piece.length; at += BLOCK) {
          this.on.block();
          yield piece.subarray(at, at + BLOCK);
        }
      }
      if (left !== 0) throw new Error(`its size is off by ${left} bytes`);
    } catch (error) {
      this.error = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
    this.on.ended();
  }
}
