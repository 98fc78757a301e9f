/** How commands show what they found: an aligned table for people, JSON for programs. */

export interface Column<Row> {
  readonly head: string;
  readonly cell: (row: Row) => string | number;
  readonly align?: "right";
}

/** One line for the heads and one for each row, without a line end at the end. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], colour: boolean): string {
  const heads = columns.map(({ head }) => head);
  const cells = rows.map((row) => columns.map(({ cell }) => printable(String(cell(row)))));
  const widths = columns.map((_, at) => Math.max(...[heads, ...cells].map((line) => width(line[at] ?? ""))));
  const line = (texts: readonly string[]) =>
    columns.map(({ align }, at) => {
      const text = texts[at] ?? "", gap = " ".repeat((widths[at] ?? 0) - width(text));
      return align === "right" ? gap + text : text + gap;
    }).join("  ").trimEnd();
  const [head = "", ...lines] = [heads, ...cells].map(line);
  return [colour ? bold(head) : head, ...lines].join("\n");
}

/** `1 message`, `2 messages`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** `name: value` for one thing with many sides; a side with several values has a line for each. */
export function formatSides(
  sides: readonly (readonly [string, string | readonly string[]])[],
  colour: boolean,
): string {
  const widest = Math.max(...sides.map(([name]) => width(name)));
  return sides.flatMap(([name, value]) => {
    const values = typeof value === "string" ? [value] : value.length > 0 ? value : ["-"];
    return values.map((one, at) => {
      const head = (at === 0 ? name : "").padEnd(widest);
      return `${colour ? bold(head) : head}  ${printable(one)}`;
    });
  }).join("\n");
}

export function formatJson(value: unknown): string {
  return escape(JSON.stringify(value, null, 2), (code) => `\\u${code.toString(16).padStart(4, "0")}`, false);
}

/** Text from anybody, for a terminal: nothing in it can move the cursor, colour the line or turn its direction. */
export function printable(text: string): string {
  return escape(text, (code) => code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`);
}

// C0, DEL, C1, line separators, signs that turn the direction of text, halves of pairs.
// deno-lint-ignore no-control-regex
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\p{Cs}]/gu;

function escape(text: string, write: (code: number) => string, lineEnds = true): string {
  return text.replace(UNSAFE, (sign) => sign === "\n" && !lineEnds ? sign : write(sign.codePointAt(0) ?? 0));
}

/** The same, but line ends stay: for text of our own that quotes somebody. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

function width(text: string): number {
  return [...text.replace(/\p{M}/gu, "")].length;
}

function bold(text: string): string {
  return `\x1b[1m${text}\x1b[0m`;
}
