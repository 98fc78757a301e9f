/**
 * The text between 354 and the final dot (RFC 5321 §4.5.2): exactly one leading dot of a line is removed, and only
 * CRLF `.` CRLF ends it. Line ends of any other kind are how messages are smuggled: they are noticed here and the
 * message is refused, at its true end, by the session.
 */

const CR = 13, LF = 10, DOT = 46;

/** What is wrong with a body, the first fault found. */
export type Fault = "bare line end" | "line too long";

/** Notices bare CR and LF and over-long lines in text that arrives in pieces. */
export class LineEnds {
  fault: Fault | undefined;
  #afterCr = false;
  #length = 0;

  /** `maxLine`: octets of a line with its CRLF. */
  constructor(readonly maxLine: number) {}

  /** At the end of the text: a CR that waits for its LF is bare. */
  end(): void {
    if (this.#afterCr) this.fault ??= "bare line end";
  }

  look(bytes: Uint8Array): void {
    let afterCr = this.#afterCr, length = this.#length;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at];
      length++;
      if (byte === LF) {
        if (!afterCr) this.fault ??= "bare line end";
        if (length > this.maxLine) this.fault ??= "line too long";
        length = 0;
        afterCr = false;
      } else {
        if (afterCr) this.fault ??= "bare line end";
        afterCr = byte === CR;
      }
    }
    if (length > this.maxLine) this.fault ??= "line too long";
    this.#afterCr = afterCr;
    this.#length = length;
  }
}

/** Where in a line the last byte stood. `dot` and `dot CR` hold bytes back that may be the end of everything. */
type Place = "start" | "text" | "cr" | "dot" | "dot cr";

export class DataBody {
  #place: Place = "start";

  /**
   * Reads `bytes` up to the end of the message. Gives the unstuffed pieces (views of `bytes`, valid as long as it
   * is) and how many bytes were read; `ended` when the final dot was among them.
   */
  read(bytes: Uint8Array): { readonly pieces: readonly Uint8Array[]; readonly used: number; readonly ended: boolean } {
    const pieces: Uint8Array[] = [];
    let place = this.#place, from = 0, at = 0;
    const flush = (to: number) => {
      if (to > from) pieces.push(bytes.subarray(from, to));
    };
    for (; at < bytes.length; at++) {
      const byte = bytes[at];
      if (place === "start" && byte === DOT) {
        flush(at);
        from = at + 1;
        place = "dot";
      } else if (place === "dot" && byte === CR) {
        place = "dot cr";
      } else if (place === "dot cr") {
        if (byte === LF) {
          this.#place = "start";
          return { pieces, used: at + 1, ended: true };
        }
        // The CR that was held back is part of the text after all; it may have come with an earlier piece.
        if (from === at && at === 0) pieces.push(ONE_CR);
        place = byte === CR ? "cr" : "text";
      } else if (byte === CR) {
        place = "cr";
      } else {
        place = byte === LF && place === "cr" ? "start" : "text";
      }
    }
    if (place === "dot cr") flush(at - 1);
    else flush(at);
    this.#place = place;
    return { pieces, used: at, ended: false };
  }
}

const ONE_CR = Uint8Array.of(CR);
