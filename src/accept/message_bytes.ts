/** The bytes of a message that arrives, with a beginning that was looked at and completed. */

import type { Content, Envelope } from "../queue/entry.ts";
import type { Entry } from "../queue/spool.ts";
import type { Header } from "../smtp/headers.ts";
import { prepend } from "./originate.ts";

const LF = 10;

/** What has come so far. */
export interface Arrived {
  readonly size: number;
  /** The beginning that is still in memory; the whole header is in it. */
  readonly start: Uint8Array;
  content(): Content;
}

/** What intake needs of the journal (`queue/spool`). */
export interface Draft extends Arrived {
  readonly id: string;
  write(bytes: Uint8Array): void | Promise<void>;
  /** Resolves when it is on disk, rejects when it cannot be stored. */
  commit(envelope: Envelope, start: Uint8Array): Promise<Entry>;
  discard(): void;
}

/** Whether the header goes on behind `start`. A name that was cut before its colon looks like a line that is no field. */
export function isCut(start: Uint8Array, { end, closed }: Header): boolean {
  return end === start.length || (!closed && !start.includes(LF, end));
}

/**
 * Where our header ends with a line that is no field, others may read on, and find there what was not looked at: an
 * empty line ends it for everybody. So does text without any header, which our trace lines would run into.
 */
export function closed(start: Uint8Array, end: number): Uint8Array {
  const rest = prepend("\r\n", start.subarray(end)), all = new Uint8Array(end + rest.length);
  all.set(start.subarray(0, end));
  all.set(rest, end);
  return all;
}

/** Octets with `start` as its beginning. */
export function sizeWith(arrived: Arrived, start: Uint8Array): number {
  return arrived.size - arrived.start.length + start.length;
}

/** The message with `start` as its beginning, in one piece. */
export async function wholeWith(arrived: Arrived, start: Uint8Array): Promise<Uint8Array> {
  if (arrived.size === arrived.start.length) return start;
  const whole = new Uint8Array(sizeWith(arrived, start));
  whole.set(start);
  let skip = arrived.start.length, at = start.length;
  for await (const piece of arrived.content().pieces()) {
    const rest = piece.subarray(Math.min(skip, piece.length));
    skip -= piece.length - rest.length;
    whole.set(rest, at);
    at += rest.length;
  }
  return whole;
}
