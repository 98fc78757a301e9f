/**
 * A look at every byte before any of it leaves (security: only CRLF ends a line on our wire, no NUL). The intake has
 * checked the same, but signing, forwarding and bounces add lines afterwards, and a bare CR or LF that slips out lets
 * somebody end our message early at a server that is less strict than we are.
 */

import type { Content } from "../queue/entry.ts";

export interface Contents {
  /** Bytes above 127 anywhere: needs 8BITMIME. */
  readonly eightBit: boolean;
  /** Bytes above 127 in the header: needs SMTPUTF8 (RFC 6532). */
  readonly utf8Header: boolean;
  /** The last line has its CRLF. Only what came by BDAT can lack it. */
  readonly endsLine: boolean;
  /** Lines that begin with a dot. */
  readonly dots: number;
  readonly size: number;
  /** Why DATA cannot carry these bytes. */
  readonly flaw?: "a NUL byte" | "a bare CR" | "a bare LF";
}

const CR = 13, LF = 10, DOT = 46;

/** Reads the whole message once. Throws what `pieces()` throws, or when there are more or fewer bytes than `size`. */
export async function checkContent(content: Content): Promise<Contents> {
  let eightBit = false, utf8Header = false, inHeader = true, dots = 0, size = 0, column = 0, last = LF;
  let flaw: NonNullable<Contents["flaw"]> | undefined;
  for await (const piece of content.pieces()) {
    size += piece.length;
    for (let at = 0; at < piece.length; at++) {
      const byte = piece[at] as number;
      if (byte === LF) {
        if (last !== CR) flaw ??= "a bare LF";
        if (column === 1) inHeader = false;
        column = 0;
      } else {
        if (last === CR) flaw ??= "a bare CR";
        if (byte === DOT && column === 0) dots++;
        else if (byte === 0) flaw ??= "a NUL byte";
        else if (byte > 127) {
          eightBit = true;
          if (inHeader) utf8Header = true;
        }
        column++;
      }
      last = byte;
    }
    if (flaw !== undefined) break;
  }
  if (last === CR) flaw ??= "a bare CR";
  const found = { eightBit, utf8Header, endsLine: last === LF, dots, size };
  if (flaw !== undefined) return { ...found, flaw };
  if (size !== content.size) {
    throw new Error(`Cannot read message: ${content.size} bytes were stored, ${size} are there`);
  }
  return found;
}
