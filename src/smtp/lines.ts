/**
 * Bytes in, lines out. A line ends at CRLF and nowhere else; its bytes wait in one buffer that never grows beyond
 * the cap, however small the pieces in which they come.
 */

const CR = 13, LF = 10;

export type Line =
  /** The line without its CRLF. `bare`: it holds a CR or LF of its own. */
  | { readonly kind: "line"; readonly bytes: Uint8Array; readonly bare: boolean }
  /** It was longer than the cap and has been read to its end. */
  | { readonly kind: "too long" }
  /** No end in sight after `FLOOD` bytes. */
  | { readonly kind: "flood" };

/** So much of one over-long line is read in the hope of its end. */
const FLOOD = 1 << 20;

export class Input {
  #bytes: Uint8Array = new Uint8Array(0);
  #from = 0;
  /** Where the search for the line end goes on: no byte is looked at twice. */
  #searched = 0;
  #skipped = 0;

  get length(): number {
    return this.#bytes.length - this.#from;
  }

  /** Takes the bytes as they are. The caller may reuse them after `settle`. */
  add(bytes: Uint8Array): void {
    if (this.length === 0) {
      this.#bytes = bytes;
    } else {
      const joined = new Uint8Array(this.length + bytes.length);
      joined.set(this.#bytes.subarray(this.#from));
      joined.set(bytes, this.length);
      this.#bytes = joined;
    }
    this.#searched -= this.#from;
    this.#from = 0;
  }

  /** Copies what is left, so that nothing of the caller's buffer is held. */
  settle(): void {
    this.#searched = Math.max(0, this.#searched - this.#from);
    this.#bytes = this.length === 0 ? EMPTY : this.#bytes.slice(this.#from);
    this.#from = 0;
  }

  /** Forgets everything, a half-read line included. */
  clear(): void {
    this.#bytes = EMPTY;
    this.#from = this.#searched = this.#skipped = 0;
  }

  /** All that is here, without a copy; `drop` says how much of it was used. */
  peek(): Uint8Array {
    return this.#bytes.subarray(this.#from);
  }

  drop(count: number): void {
    this.#from += count;
    this.#searched = this.#from;
  }

  /** The next line of at most `cap` bytes with its CRLF, or undefined until more has come. */
  line(cap: number): Line | undefined {
    for (let at = Math.max(this.#searched, this.#from);;) {
      const end = this.#bytes.indexOf(LF, at);
      if (end < 0) break;
      at = end + 1;
      if (end > this.#from && this.#bytes[end - 1] === CR) return this.#finish(end, cap);
    }
    this.#searched = this.#bytes.length;
    if (this.length <= cap && this.#skipped === 0) return undefined;
    // Too long already: keep only what may be the first half of its CRLF.
    const keep = this.#bytes[this.#bytes.length - 1] === CR ? 1 : 0;
    this.#skipped += this.length - keep;
    this.#from = this.#bytes.length - keep;
    return this.#skipped > FLOOD ? { kind: "flood" } : undefined;
  }

  #finish(end: number, cap: number): Line {
    const bytes = this.#bytes.subarray(this.#from, end - 1);
    const tooLong = this.#skipped > 0 || bytes.length + 2 > cap;
    this.drop(end + 1 - this.#from);
    this.#skipped = 0;
    return tooLong ? { kind: "too long" } : { kind: "line", bytes, bare: bytes.includes(CR) || bytes.includes(LF) };
  }
}

const EMPTY = new Uint8Array(0);
