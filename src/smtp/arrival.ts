/** A message on its way in, by DATA or in chunks: how much of it has come, and whether it can still be taken. */

import { DataBody, LineEnds } from "./body.ts";
import type { Sender } from "./command.ts";
import * as say from "./replies.ts";
import type { Reply } from "./reply.ts";

export interface ArrivalLimits {
  /** Octets. */
  readonly maxMessageSize: number;
  readonly maxLine: number;
}

export class Arrival {
  readonly #limits: ArrivalLimits;
  readonly #data = new DataBody();
  readonly #lines: LineEnds;
  /** RFC 3030 §3: only then may CR and LF stand anywhere. */
  readonly #binary: boolean;
  #size = 0;

  constructor(limits: ArrivalLimits, body: Sender["body"]) {
    this.#limits = limits;
    this.#lines = new LineEnds(limits.maxLine);
    this.#binary = body === "BINARYMIME";
  }

  /** True when that many octets more would be too many. */
  overflows(octets: number): boolean {
    return this.#size + octets > this.#limits.maxMessageSize;
  }

  /** Stuffed text behind 354. Gives the pieces to keep (none once there is a fault) and whether the final dot was in it. */
  data(bytes: Uint8Array): { readonly pieces: readonly Uint8Array[]; readonly used: number; readonly ended: boolean } {
    const { pieces, used, ended } = this.#data.read(bytes);
    return { pieces: pieces.filter((piece) => this.#keeps(piece)), used, ended };
  }

  /** Octets of a chunk. True when they are to be kept. */
  chunk(bytes: Uint8Array): boolean {
    return this.#keeps(bytes);
  }

  /** What is wrong with the message as far as it has come; with `ended`, as a whole. */
  fault(ended: boolean): Reply | undefined {
    if (this.overflows(0)) return say.TOO_BIG;
    if (ended) this.#lines.end();
    switch (this.#lines.fault) {
      case undefined:
        return undefined;
      case "bare line end":
        return say.BARE_LINE_END;
      case "line too long":
        return say.LINE_TOO_LONG;
      default:
        return this.#lines.fault satisfies never;
    }
  }

  #keeps(bytes: Uint8Array): boolean {
    this.#size += bytes.length;
    if (!this.#binary) this.#lines.look(bytes);
    return this.fault(false) === undefined;
  }
}
