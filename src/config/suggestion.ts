/** What somebody probably meant to write. */

/** The candidate nearest to `word`, or undefined when none is near enough to be a slip of the hand. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.min(3, Math.max(1, Math.floor(word.length / 3))) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(plain(word), plain(candidate));
    if (distance < least) [best, least] = [candidate, distance];
  }
  // Half a word is no slip of the hand but just as clear: `warn` is `warning`.
  return best ?? candidates.find((candidate) => word.length >= 3 && plain(candidate).startsWith(plain(word)));
}

/** `Max-Recipients` is `max_recipients` to the hand that wrote it. */
function plain(word: string): string {
  return word.toLowerCase().replaceAll("-", "_");
}

/** Letters to insert, drop, replace or swap with their neighbour to make `b` of `a` (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  // A key of a megabyte is no slip of the hand, and comparing it would take minutes.
  if (Math.abs(a.length - b.length) > 3) return Infinity;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      }
      row.push(cost);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length]!;
}
