/** A word of a command line that is to be copied into a shell, in quotes when it would not stay one word otherwise. */
export function shellWord(text: string): string {
  return /^[\w.,:=@%+/-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
