/** For work that holds a whole long message in memory: fifty at once would be more than a small machine has. */

/** So many may wait; who comes then is told to try again rather than kept until the other side gives up. */
const MOST_WAITING = 100;

/** Gives a function that does one work after the other, in order. It rejects when too many wait already. */
export function oneAtATime(mostWaiting: number = MOST_WAITING): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve(), waiting = 0;
  return async (work) => {
    if (waiting >= mostWaiting) throw new Error(`${waiting} long messages wait already`);
    waiting++;
    const turn = last.then(work);
    last = turn.then(() => waiting--, () => waiting--);
    return await turn;
  };
}
