/**
 * Reads a segment at start, record by record and past the bodies. Synchronous: nothing else runs yet, and a read of a
 * few hundred bytes costs less than a turn of the event loop.
 */
import { Buffer } from "node:buffer";
import { readSync } from "node:fs";
import {
  checksum,
  decodeHead,
  type Head,
  HEADER_LENGTH,
  isKnownVersion,
  isSound,
  MARK_LENGTH,
  NOTHING,
} from "./record.ts";
import type { Segment } from "./segment.ts";

export interface Found {
  readonly what: "record";
  readonly head: Head;
  /** Only until the next one is asked for. */
  readonly meta: Uint8Array;
  readonly offset: number;
  /** False when the body was verified and is not as it was written. */
  readonly sound: boolean;
}

/** Bytes that are no record, followed by one (`damage`) or by none up to the end (`tail`). */
export interface Gap {
  readonly what: "damage" | "tail";
  readonly from: number;
  readonly to: number;
}

const NEAR = 64 * 1024, FAR = 4096, STRIDE = 256 * 1024;

/** `end`: bytes of the file that count. `verify`: bodies are read and held against their checksums. */
export function* scan(segment: Segment, fd: number, end: number, verify: boolean): Generator<Found | Gap> {
  const window = openWindow(fd, end);
  const bodyIsSound = (at: number, { metaLength, bodyLength, bodyCheck }: Head) =>
    !verify || checkBody(fd, at + HEADER_LENGTH + metaLength, bodyLength) === bodyCheck;

  const next = (from: number): number | undefined => {
    for (const at of occurrences(fd, segment.mark, from, end)) {
      const head = headAt(window, at, end, segment);
      if (head !== undefined && bodyIsSound(at, head)) return at;
    }
    return undefined;
  };

  for (let at = 0, resume: number | undefined = 0; at < end;) {
    const head = headAt(window, at, end, segment);
    const sound = head !== undefined && bodyIsSound(at, head);
    // The search begins inside the record: its length may be sound and the bytes that it spans lost.
    if (!sound && resume !== undefined && resume <= at) resume = next(at + 1);
    if (!sound && resume === undefined) return yield { what: "tail", from: at, to: end };
    const length = head === undefined ? 0 : HEADER_LENGTH + head.metaLength + head.bodyLength;
    if (head !== undefined && (sound || resume === undefined || resume >= at + length)) {
      yield { what: "record", head, meta: window(at + HEADER_LENGTH, head.metaLength) ?? NOTHING, offset: at, sound };
      window.hint(head.bodyLength);
      at += length;
    } else {
      yield { what: "damage", from: at, to: resume ?? end };
      at = resume ?? end;
    }
  }
}

/** The first record, which says where the segments before this one end; undefined when there is no sound one. */
export function firstRecord(segment: Segment, fd: number, end: number): Found | undefined {
  const window = openWindow(fd, end);
  const head = headAt(window, 0, end, segment);
  const meta = head === undefined ? undefined : window(HEADER_LENGTH, head.metaLength);
  return head && meta && { what: "record", head, meta, offset: 0, sound: true };
}

export function isZero(fd: number, end: number): boolean {
  const buffer = new Uint8Array(STRIDE);
  for (let at = 0; at < end; at += STRIDE) {
    const piece = buffer.subarray(0, Math.min(STRIDE, end - at));
    fill(fd, piece, at);
    if (piece.some((byte) => byte !== 0)) return false;
  }
  return true;
}

type Window = ((at: number, length: number) => Uint8Array | undefined) & { hint(skipped: number): void };

/** Gives any range of the file, mostly without reading again. Undefined beyond the end. */
function openWindow(fd: number, end: number): Window {
  let buffer = new Uint8Array(NEAR), start = 0, filled = 0, reach = NEAR;
  const window = (at: number, length: number): Uint8Array | undefined => {
    if (at + length > end) return undefined;
    if (at < start || at + length > start + filled) {
      if (length > buffer.length) buffer = new Uint8Array(length);
      start = at;
      filled = Math.min(Math.max(length, reach), buffer.length, end - at);
      fill(fd, buffer.subarray(0, filled), at);
    }
    return buffer.subarray(at - start, at - start + length);
  };
  // Behind a long body there is no use in reading much more than a header.
  const hint = (skipped: number) => void (reach = skipped < 2 * FAR ? NEAR : FAR);
  return Object.assign(window, { hint });
}

function headAt(window: Window, at: number, end: number, segment: Segment): Head | undefined {
  const first = window(at, HEADER_LENGTH);
  const head = first && decodeHead(first, segment.mark);
  if (head === undefined || at + HEADER_LENGTH + head.metaLength + head.bodyLength > end) return undefined;
  const whole = window(at, HEADER_LENGTH + head.metaLength);
  if (whole === undefined) return undefined;
  const header = whole.subarray(0, HEADER_LENGTH);
  if (!isSound(header, whole.subarray(HEADER_LENGTH))) return undefined;
  if (!isKnownVersion(header)) {
    throw new Error(`Cannot read ${segment.path}: a newer maildemon wrote it. Start that one again`);
  }
  return head;
}

/** CRC-32 of so many bytes. */
export function checkBody(fd: number, from: number, length: number): number {
  const buffer = new Uint8Array(Math.min(length, STRIDE));
  let sum = checksum(NOTHING);
  for (let done = 0; done < length;) {
    const piece = buffer.subarray(0, Math.min(buffer.length, length - done));
    fill(fd, piece, from + done);
    sum = checksum(piece, sum);
    done += piece.length;
  }
  return sum;
}

/** Places from `from` on where the mark stands. */
function* occurrences(fd: number, mark: Uint8Array, from: number, end: number): Generator<number> {
  const buffer = Buffer.alloc(STRIDE);
  for (let start = from; start + MARK_LENGTH <= end; start += buffer.length - MARK_LENGTH + 1) {
    const piece = buffer.subarray(0, Math.min(buffer.length, end - start));
    fill(fd, piece, start);
    for (let at = piece.indexOf(mark); at >= 0; at = piece.indexOf(mark, at + 1)) yield start + at;
  }
}

/** What cannot be read counts as zeros: a bad sector costs the records on it, not the start. */
function fill(fd: number, buffer: Uint8Array, position: number): void {
  for (let done = 0; done < buffer.length;) {
    try {
      const got = readSync(fd, buffer, done, buffer.length - done, position + done);
      if (got === 0) return void buffer.fill(0, done);
      done += got;
    } catch {
      const rest = Math.min(FAR - (position + done) % FAR, buffer.length - done);
      if (!readShort(fd, buffer.subarray(done, done + rest), position + done)) buffer.fill(0, done, done + rest);
      done += rest;
    }
  }
}

function readShort(fd: number, buffer: Uint8Array, position: number): boolean {
  try {
    return readSync(fd, buffer, 0, buffer.length, position) === buffer.length;
  } catch {
    return false;
  }
}
