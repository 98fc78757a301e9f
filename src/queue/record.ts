/**
 * One record of the journal as bytes: a header of fixed length, the meta (JSON), the body (bytes of a message).
 *
 *      0  mark         8  drawn at random for each segment, part of its file name
 *      8  version      1
 *      9  kind         1
 *     10  reserved     2  zero
 *     12  id          12  ASCII
 *     24  meta length  4  little endian, as all that follow
 *     28  body length  4
 *     32  body check   4  CRC-32 of the body
 *     36  head check   4  CRC-32 of the 36 bytes before and the meta
 *
 * Two checksums, so that a start can trust headers and metas without reading bodies. A random mark instead of a
 * constant, because after damage the next record is searched for among bytes that senders chose: with a known mark
 * somebody could send a message that contains records.
 */
import { crc32 } from "node:zlib";

const KINDS = ["begin", "message", "part", "sealed", "outcome", "gone"] as const;
export type Kind = typeof KINDS[number];

export const MARK_LENGTH = 8;
export const HEADER_LENGTH = 40;
const ID_LENGTH = 12;
/** Of records: what a later program writes differently gets a higher one, and an earlier program leaves it alone. */
export const JOURNAL_VERSION = 1;
const HEAD_CHECK = 36;

export interface JournalRecord {
  readonly kind: Kind;
  readonly id: string;
  readonly meta: Uint8Array;
  readonly body: Uint8Array;
  readonly bodyCheck: number;
}

/** What a header says. */
export interface Head {
  readonly kind: Kind;
  readonly id: string;
  readonly metaLength: number;
  readonly bodyLength: number;
  readonly bodyCheck: number;
}

export const NOTHING = new Uint8Array(0);
const ascii = new TextDecoder("latin1");

export function checksum(bytes: Uint8Array, before = 0): number {
  return crc32(bytes, before);
}

/** Bytes of the whole record. */
export function recordLength({ meta, body }: Pick<JournalRecord, "meta" | "body">): number {
  return HEADER_LENGTH + meta.length + body.length;
}

/** Writes the record into `target` at `at` and returns where the next one goes. `target` must have room for it. */
export function encodeRecord(
  target: DataView<ArrayBuffer>,
  at: number,
  mark: Uint8Array,
  record: JournalRecord,
): number {
  const { kind, id, meta, body, bodyCheck } = record;
  const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
  bytes.set(mark, at);
  target.setUint8(at + 8, JOURNAL_VERSION);
  target.setUint8(at + 9, KINDS.indexOf(kind));
  target.setUint16(at + 10, 0);
  for (let i = 0; i < ID_LENGTH; i++) target.setUint8(at + 12 + i, id.charCodeAt(i));
  target.setUint32(at + 24, meta.length, true);
  target.setUint32(at + 28, body.length, true);
  target.setUint32(at + 32, bodyCheck, true);
  const metaAt = at + HEADER_LENGTH, bodyAt = metaAt + meta.length;
  target.setUint32(at + HEAD_CHECK, checksum(meta, checksum(bytes.subarray(at, at + HEAD_CHECK))), true);
  bytes.set(meta, metaAt);
  bytes.set(body, bodyAt);
  return bodyAt + body.length;
}

/** Reads a header; undefined when these 40 bytes are none. Whether it can be trusted, `isSound` says. */
export function decodeHead(header: Uint8Array, mark: Uint8Array): Head | undefined {
  for (let i = 0; i < MARK_LENGTH; i++) if (header[i] !== mark[i]) return undefined;
  const view = new DataView(header.buffer, header.byteOffset, HEADER_LENGTH);
  const kind = KINDS[view.getUint8(9)];
  if (kind === undefined) return undefined;
  return {
    kind,
    id: ascii.decode(header.subarray(12, 12 + ID_LENGTH)),
    metaLength: view.getUint32(24, true),
    bodyLength: view.getUint32(28, true),
    bodyCheck: view.getUint32(32, true),
  };
}

/** True when header and meta are as they were written. */
export function isSound(header: Uint8Array, meta: Uint8Array): boolean {
  const view = new DataView(header.buffer, header.byteOffset, HEADER_LENGTH);
  return checksum(meta, checksum(header.subarray(0, HEAD_CHECK))) === view.getUint32(HEAD_CHECK, true);
}

/** False for a sound header that only a later version of this program can read. */
export function isKnownVersion(header: Uint8Array): boolean {
  return header[8] === JOURNAL_VERSION;
}
