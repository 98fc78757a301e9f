/** A message in flight as it stands in memory, and how its records write it down. */
import type { Envelope, Standing } from "./entry.ts";
import { checksum, type JournalRecord, NOTHING } from "./record.ts";
import type { Place } from "./segment.ts";

/** What is known of one message in flight. The spool changes it, nobody else. */
export interface Entry {
  /** 12 characters, ordered by time. */
  readonly id: string;
  readonly envelope: Envelope;
  /** In the order of `envelope.recipients`. */
  readonly standings: readonly Standing[];
  /** Bytes of the message as stored. */
  readonly size: number;
  /** Read back at start, not accepted by this process. */
  readonly recovered: boolean;
}

export interface KeptMessage extends Entry {
  standings: readonly Standing[];
  /** First the record with the envelope, which has the beginning of the message, then its parts in order. */
  places: readonly Place[];
}

export interface KeptMeta {
  readonly envelope: Envelope;
  readonly standings: readonly Standing[];
}

export interface SealedMeta extends KeptMeta {
  /** How many parts go before. */
  readonly parts: number;
}

/** Standings by index of the recipient. */
export type OutcomeMeta = readonly (readonly [number, Standing])[];

const utf8 = new TextEncoder(), text = new TextDecoder();

/** `parts`: how many records of the rest of the body go before; 0 when `body` is all. */
export function messageRecord(
  id: string,
  { envelope, standings }: KeptMeta,
  parts: number,
  body: Uint8Array,
  bodyCheck = checksum(body),
): JournalRecord {
  return parts === 0
    ? { kind: "message", id, meta: encode({ envelope, standings }), body, bodyCheck }
    : { kind: "sealed", id, meta: encode({ envelope, standings, parts }), body, bodyCheck };
}

/** `index` counts from 0, which begins anew: a copy that a crash cut short may lie before. */
export function partRecord(id: string, index: number, body: Uint8Array, bodyCheck = checksum(body)): JournalRecord {
  return { kind: "part", id, meta: encode(index), body, bodyCheck };
}

export function outcomeRecord(id: string, standings: ReadonlyMap<number, Standing>): JournalRecord {
  const meta: OutcomeMeta = [...standings];
  return { kind: "outcome", id, meta: encode(meta), body: NOTHING, bodyCheck: checksum(NOTHING) };
}

export function goneRecord(id: string): JournalRecord {
  return { kind: "gone", id, meta: NOTHING, body: NOTHING, bodyCheck: checksum(NOTHING) };
}

/** The new standings after an outcome. What does not concern a recipient of the message is left out. */
export function withOutcome(was: readonly Standing[], changes: Iterable<readonly [number, Standing]>): Standing[] {
  const standings = [...was];
  for (const [recipient, standing] of changes) if (recipient in standings) standings[recipient] = standing;
  return standings;
}

/** Throws when it is no JSON, which a meta with a good checksum always is. */
export function decodeMeta<Meta>(meta: Uint8Array): Meta {
  return JSON.parse(text.decode(meta));
}

export function encode(meta: unknown): Uint8Array {
  return utf8.encode(JSON.stringify(meta));
}
