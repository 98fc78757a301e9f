/** How what was opened is closed: the last first, so that nothing is closed before what stands on it, and with an end. */

import { type Log, reasonOf } from "../log.ts";

export class Closing {
  readonly #closers: (() => void | Promise<void>)[] = [];
  readonly #log: Log;
  isBegun = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Has it closed by `close`, before everything that was given here earlier. Returns the part itself. */
  add<T>(part: T, close: (part: T) => void | Promise<void>): T {
    this.#closers.push(() => close(part));
    return part;
  }

  /** Settles when all is closed. Never rejects: what cannot be closed is said in the log, and the next one's turn comes. */
  async close(): Promise<void> {
    this.isBegun = true;
    for (const close of this.#closers.splice(0).toReversed()) {
      try {
        await close();
      } catch (error) {
        this.#log("error", "close-failed", { error: reasonOf(error) });
      }
    }
  }
}

/** Waits for the work, but no longer than that, milliseconds: what is left of it is a courtesy. */
export async function within(patience: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await Promise.race([work, new Promise<void>((done) => timer = setTimeout(done, patience))]);
  } finally {
    clearTimeout(timer);
  }
}
