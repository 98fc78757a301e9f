/**
 * For work that holds a message in memory. When a place is given up, all that waited for it is to be written about in
 * the same moment: that may be 100,000 messages.
 */

/** Lets so many work at one time; the others wait in the order in which they came. */
export function fewAtATime(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting = new Set<() => void>();
  let running = 0;
  return async (work) => {
    if (running < most) running++;
    else await new Promise<void>((begin) => waiting.add(begin));
    try {
      return await work();
    } finally {
      const [next] = waiting;
      if (next === undefined) running--;
      else {
        waiting.delete(next);
        next();
      }
    }
  };
}
