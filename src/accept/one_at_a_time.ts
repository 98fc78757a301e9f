/** For work that holds a whole long message in memory: fifty at once would be more than a small machine has. */

/** So many may wait, and for so many milliseconds; who comes then is told to try again rather than kept for ever. */
const MOST_WAITING = 100, PATIENCE = 30_000;

/** Gives a function that does one work after the other, in order. It rejects when too many wait, or for too long. */
export function oneAtATime(
  mostWaiting: number = MOST_WAITING,
  patience: number = PATIENCE,
): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve(), waiting = 0;
  return async (work) => {
    if (waiting >= mostWaiting) throw new Error(`${waiting} long messages wait already`);
    waiting++;
    let timer: ReturnType<typeof setTimeout> | undefined, tooLate = false;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        tooLate = true;
        reject(new Error(`no turn for a long message within ${patience / 1000} s`));
      }, patience);
    });
    const turn = last.then(() => {
      clearTimeout(timer);
      return tooLate ? late : work();
    });
    last = turn.then(() => waiting--, () => waiting--);
    return await Promise.race([turn, late]);
  };
}
