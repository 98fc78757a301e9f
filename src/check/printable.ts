/** What others said, as it may stand in a line of ours. */

/** One line of printable ASCII with at most `most` signs; a question mark stands for each one that is not. */
export function printable(said: string, most: number): string {
  return said.slice(0, most).replace(/[^\x20-\x7e]/g, "?");
}
