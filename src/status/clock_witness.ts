/** What the messages that come say about our clock: nobody is asked for the time, it comes by itself. */

import type { Handler } from "./control.ts";

/** So many messages are remembered: a spammer's dates must not become the usual ones by one flood long ago. */
const REMEMBERED = 101;

export class ClockWitness {
  readonly #offsets: number[] = [];

  /** `date`: the body of the field. What is no date is passed over. `now` in milliseconds since 1970. */
  saw(date: string, now: number = Date.now()): void {
    // RFC 5322 §3.3: a zone in words stands behind in a comment.
    const at = Date.parse(date.replace(/\([^()]*\)/g, " ").trim());
    if (Number.isNaN(at)) return;
    this.#offsets.push(now - at);
    if (this.#offsets.length > REMEMBERED) this.#offsets.shift();
  }

  /**
   * `offset`: milliseconds that our clock is ahead, in the middle of all. Single messages come late or lie; most of
   * them were written a moment ago.
   */
  report(): { readonly messages: number; readonly offset?: number } {
    const sorted = this.#offsets.toSorted((one, other) => one - other), offset = sorted[sorted.length >> 1];
    return { messages: sorted.length, ...(offset !== undefined && { offset }) };
  }
}

/** The request `clock`. */
export function clockHandler(witness: ClockWitness): Handler {
  return () => Promise.resolve(witness.report());
}
