/** When a message is tried again, and when we stop trying. Pure: time and chance come in. */

export interface RetrySettings {
  /** Milliseconds to wait after the first, second, … attempt. The last one repeats. */
  readonly intervals: readonly number[];
  /** Each wait is this much longer or shorter at random, 0.1 for ± 10 %, so that what failed together spreads out. */
  readonly jitter: number;
  /** Milliseconds since arrival after which we give up … */
  readonly giveUpAfter: number;
  /** … provided that it was tried at least this often: a clock that jumps ahead must not bounce what was never tried. */
  readonly leastAttempts: number;
}

const MINUTE = 60_000, HOUR = 60 * MINUTE;

export const defaultRetry: RetrySettings = {
  intervals: [5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR],
  jitter: 0.1,
  giveUpAfter: 5 * 24 * HOUR,
  leastAttempts: 8,
};

export interface Tries {
  /** Attempts made so far, the one that has just failed included: at least 1. */
  readonly attempts: number;
  /** When the message was queued, and the time now; milliseconds since 1970. */
  readonly arrived: number;
  readonly now: number;
}

/** Milliseconds until the next attempt. `random` is in [0, 1). */
export function waitBeforeRetry(attempts: number, settings: RetrySettings, random: number): number {
  const { intervals, jitter } = settings;
  const interval = intervals[Math.min(attempts, intervals.length) - 1] ?? 4 * HOUR;
  return Math.round(interval * (1 + jitter * (2 * random - 1)));
}

export function isTooOld({ attempts, arrived, now }: Tries, settings: RetrySettings): boolean {
  return now - arrived >= settings.giveUpAfter && attempts >= settings.leastAttempts;
}

/** No wait that these settings ask for is longer than this many milliseconds. */
export function longestWait({ intervals, jitter }: RetrySettings): number {
  return Math.round(Math.max(...intervals) * (1 + jitter));
}
