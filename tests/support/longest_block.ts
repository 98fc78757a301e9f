/** How long one piece of work keeps everything else from its turn. */

import assert from "node:assert/strict";

/** Milliseconds: the others may be held up for this long. */
const MOST = 100;
/** Tests run beside each other: what another process took is not what the work took. */
const TRIES = 6;

/** Does the work, again when it held up the others for too long, and gives what came out of the last time. */
export async function holdsNobodyUp<T>(what: string, work: () => Promise<T>): Promise<T> {
  const blocks: number[] = [];
  for (let left = TRIES; left > 0; left--) {
    const { longest, done } = await longestBlock(work);
    if (longest < MOST) return done;
    blocks.push(Math.round(longest));
  }
  assert.fail(`${what}: held up the others for ${blocks.join(", ")} ms, ${MOST} are allowed`);
}

/** Milliseconds between two turns of a timer while `work` runs, at the worst; and what came out of it. */
async function longestBlock<T>(work: () => Promise<T>): Promise<{ readonly longest: number; readonly done: T }> {
  let last = performance.now(), longest = 0;
  const tick = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(tick, 1);
  try {
    const done = await work();
    tick();
    return { longest, done };
  } finally {
    clearInterval(timer);
  }
}
