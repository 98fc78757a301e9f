/** One line at a terminal that says how far something is; nothing where nobody looks. */

import { printable } from "./table.ts";

export interface Progress extends Disposable {
  /** Takes the place of what it said before. */
  say(text: string): void;
}

/** Milliseconds between two of them. */
const PAUSE = 100;
const MOST = 76;

export function openProgress(): Progress {
  const stream = Deno.stderr, isSeen = stream.isTerminal(), utf8 = new TextEncoder();
  let last = -Infinity, isThere = false;
  const write = (text: string) => void stream.writeSync(utf8.encode(text));
  return {
    say(text) {
      const now = performance.now();
      if (!isSeen || now - last < PAUSE) return;
      last = now;
      isThere = true;
      write(`\r\x1b[K${printable(text).slice(0, MOST)}`);
    },
    [Symbol.dispose]() {
      if (isThere) write("\r\x1b[K");
    },
  };
}

/** `12.3 MiB`. */
export function sizeText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0, size = bytes;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}
