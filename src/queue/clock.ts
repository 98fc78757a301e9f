/** Time as the queue needs it: one clock that people set, one that only goes forward, and a timer on the latter. */
export interface Clock {
  /** Milliseconds since 1970. May jump in either direction. */
  now(): number;
  /** Milliseconds since some beginning. Never jumps. */
  monotonic(): number;
  /** Calls `ring` once, about `wait` ms later; the answer cancels it. */
  after(wait: number, ring: () => void): () => void;
}

// A longer wait overflows the timer's 32 bits and would ring at once.
const LONGEST_TIMER = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(wait, ring) {
    const timer = setTimeout(ring, Math.min(Math.max(wait, 0), LONGEST_TIMER));
    return () => clearTimeout(timer);
  },
};
