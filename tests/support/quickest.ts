/** Milliseconds of the best of five: what the work costs, not what else the machine has to do meanwhile. */
export function quickest(work: () => unknown): number {
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const began = performance.now();
    work();
    best = Math.min(best, performance.now() - began);
  }
  return best;
}
