/**
 * Where in a TOML text each key stands. The parser does not tell; this scanner reads only as much of the notation as
 * it takes to find keys, and only texts that the parser has accepted: it judges nothing and always comes to an end.
 */

import { formatKey, type KeyPath } from "./problem.ts";

/** Line, from 1, of each table, key and list element, under its formatted path. */
export type Lines = ReadonlyMap<string, number>;

/** The line of the value at `path`, else of what it is missing from, else 1. */
export function lineOf(lines: Lines, path: KeyPath): number {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(formatKey(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return 1;
}

export function findLines(text: string): Lines {
  return new Scanner(text).scan();
}

class Scanner {
  readonly #text: string;
  #at = 0;
  readonly #lines = new Map<string, number>();
  /** How many elements each array of tables has so far: `[a.b]` speaks of the last element of `a`. */
  readonly #lengths = new Map<string, number>();
  /** Line ends are counted once: marks are set in the order of the text. */
  readonly #counted = { at: 0, line: 1 };

  constructor(text: string) {
    this.#text = text;
  }

  scan(): Lines {
    let table: KeyPath = [];
    if (this.#text.startsWith("\ufeff")) this.#at = 1;
    for (this.#skipBlank(); this.#at < this.#text.length; this.#skipBlank()) {
      const start = this.#at;
      if (this.#take("[[")) table = this.#listHeader(start);
      else if (this.#take("[")) table = this.#tableHeader(start);
      else this.#entry(table);
      this.#skipLine();
    }
    return this.#lines;
  }

  #tableHeader(start: number): KeyPath {
    return this.#resolve([], this.#dottedKey(), start);
  }

  #listHeader(start: number): KeyPath {
    const keys = this.#dottedKey();
    const list = [...this.#resolve([], keys.slice(0, -1), start), keys.at(-1) ?? ""];
    const index = this.#lengths.get(formatKey(list)) ?? 0;
    this.#lengths.set(formatKey(list), index + 1);
    this.#mark(list, start);
    this.#mark([...list, index], start);
    return [...list, index];
  }

  /** Marks each table on the way, because a dotted key is often the only place where it is named. */
  #resolve(from: KeyPath, keys: readonly string[], start: number): KeyPath {
    let path = from;
    for (const key of keys) {
      path = [...path, key];
      this.#mark(path, start);
      const length = this.#lengths.get(formatKey(path));
      if (length !== undefined) path = [...path, length - 1];
    }
    return path;
  }

  #entry(table: KeyPath): void {
    const start = this.#at;
    const path = this.#resolve(table, this.#dottedKey(), start);
    this.#skipBlank();
    this.#take("=");
    this.#skipBlank();
    this.#value(path);
  }

  #value(path: KeyPath): void {
    if (this.#take("[")) this.#list(path);
    else if (this.#take("{")) this.#inlineTable(path);
    else if (this.#peek() === '"' || this.#peek() === "'") this.#string();
    else this.#takeAll(/[^,\]}\n#]*/y);
  }

  #list(path: KeyPath): void {
    for (let index = 0; this.#more("]"); index++) {
      this.#mark([...path, index], this.#at);
      this.#value([...path, index]);
    }
  }

  #inlineTable(path: KeyPath): void {
    while (this.#more("}")) this.#entry(path);
  }

  /** Goes to the next element, or behind the closing bracket. */
  #more(close: string): boolean {
    this.#skipBlank();
    while (this.#take(",")) this.#skipBlank();
    return this.#at < this.#text.length && !this.#take(close) && !this.#atForeignBracket();
  }

  /** Cannot happen in a text the parser took; but nothing may loop for ever if it does. */
  #atForeignBracket(): boolean {
    return this.#peek() === "]" || this.#peek() === "}";
  }

  #dottedKey(): string[] {
    const keys: string[] = [];
    do {
      this.#takeAll(/[ \t]*/y);
      const quoted = this.#peek() === '"' || this.#peek() === "'";
      keys.push(quoted ? unquote(this.#string()) : this.#takeAll(/[^\s.=\]"'{}[,#]*/y));
      this.#takeAll(/[ \t]*/y);
    } while (this.#take("."));
    return keys;
  }

  /** Steps over a string of any of the four kinds and returns it with its quotes. */
  #string(): string {
    return this.#takeAll(/"""(?:\\[^]|[^\\])*?"{3,5}|'''[^]*?'{3,5}|"(?:\\[^\n]|[^"\\\n])*"?|'[^'\n]*'?/y);
  }

  #mark(path: KeyPath, at: number): void {
    const key = formatKey(path);
    if (this.#lines.has(key)) return;
    for (; this.#counted.at < at; this.#counted.at++) {
      if (this.#text[this.#counted.at] === "\n") this.#counted.line++;
    }
    this.#lines.set(key, this.#counted.line);
  }

  /** Blanks, line ends and comments. */
  #skipBlank(): void {
    this.#takeAll(/(?:\s|#[^\n]*)*/y);
  }

  #skipLine(): void {
    this.#takeAll(/[^\n]*/y);
  }

  #peek(): string | undefined {
    return this.#text[this.#at];
  }

  #take(sign: string): boolean {
    if (!this.#text.startsWith(sign, this.#at)) return false;
    this.#at += sign.length;
    return true;
  }

  /** What the sticky pattern matches here, possibly nothing. */
  #takeAll(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const taken = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += taken.length;
    return taken;
  }
}

function unquote(quoted: string): string {
  if (quoted.startsWith("'")) return quoted.slice(1, -1);
  try {
    return String(JSON.parse(quoted));
  } catch {
    // TOML knows a few escapes that JSON does not. Such a key is nobody's; its text as written will do.
    return quoted.slice(1, -1);
  }
}
