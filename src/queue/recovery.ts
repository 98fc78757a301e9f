/**
 * Reads the journal back at start.
 *
 * Bytes that are no record and have no sound record behind them, in this segment or a later one, are a torn tail: what
 * was being written when the process ended, and never acknowledged. They are cut off. With a sound record behind them
 * they are damage, and set aside. Bodies are verified where a tail can be torn; elsewhere when they are read.
 */
import { closeSync, openSync } from "node:fs";
import { type Log, reasonOf } from "../log.ts";
import { setBytesAside, setSegmentAside } from "./damaged.ts";
import { syncFolder } from "../durable_file.ts";
import { cutFile } from "./folder.ts";
import type { Ends } from "./journal.ts";
import {
  decodeMeta,
  type KeptMessage,
  type KeptMeta,
  type OutcomeMeta,
  type SealedMeta,
  withOutcome,
} from "./kept_message.ts";
import { HEADER_LENGTH } from "./record.ts";
import { type Place, Segment } from "./segment.ts";
import { firstRecord, type Found, type Gap, isZero, scan } from "./segment_scan.ts";

export interface Recovered {
  /** Oldest first. */
  readonly messages: Map<string, KeptMessage>;
  readonly segments: Segment[];
  /** The highest id that was found, of whatever kind. */
  readonly lastId: string | undefined;
  /** Messages that cannot be read whole, and why. */
  readonly unreadable: ReadonlyMap<string, string>;
  /** Ranges of bytes newly set aside. */
  readonly setAside: number;
}

interface Part {
  readonly place: Place;
  readonly sound: boolean;
}

export async function recover(folder: string, log: Log): Promise<Recovered> {
  const segments = await findSegments(folder, log);
  let setAside = await dropUnwritten(folder, segments, log);
  const ends = new Map(segments.length > 0 ? readEnds(segments) : []);
  const index = new Index();
  for (const segment of segments) {
    // A server that takes over another's journal answers its sessions in between.
    await new Promise((resolve) => setTimeout(resolve));
    const fd = openSync(segment.path, "r");
    const gaps: Gap[] = [];
    const last = segment === segments.at(-1);
    try {
      const end = Math.min(segment.length, ends.get(segment.number) ?? segment.length);
      const missing = (ends.get(segment.number) ?? end) - end;
      if (missing > 0) log("error", "journal-bytes-missing", { file: segment.path, bytes: missing });
      segment.length = segment.synced = end;
      for (const found of scan(segment, fd, end, last)) {
        if (found.what === "record") index.take(found, segment);
        else gaps.push(found);
      }
    } finally {
      closeSync(fd);
    }
    for (const gap of gaps) {
      if (last && gap.what === "tail") await cutTail(segment, gap, log);
      else if (await saveDamage(folder, segment, gap, log)) setAside++;
    }
  }
  return { ...index.finish(), segments, setAside };
}

async function findSegments(folder: string, log: Log): Promise<Segment[]> {
  const segments: Segment[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    const segment = isFile ? Segment.named(folder, name) : undefined;
    if (segment !== undefined) {
      segment.length = (await Deno.stat(segment.path)).size;
      segments.push(segment);
    } else if (name !== "lock" && name !== "damaged") log("warning", "journal-unknown-file", { folder, name });
  }
  return segments.sort((a, b) => a.number - b.number);
}

/** Takes away segments at the end that have no record. Returns how many of them were not blank. */
async function dropUnwritten(folder: string, segments: Segment[], log: Log): Promise<number> {
  let unrecognized = 0;
  for (let last = segments.at(-1); last !== undefined && !hasRecord(last); last = segments.at(-1)) {
    segments.pop();
    if (isBlank(last)) await Deno.remove(last.path);
    else {
      log("error", "journal-damage", { file: last.path, bytes: last.length });
      await setSegmentAside(folder, last);
      unrecognized++;
    }
    await syncFolder(folder);
  }
  return unrecognized;
}

function hasRecord(segment: Segment): boolean {
  const fd = openSync(segment.path, "r");
  try {
    if (firstRecord(segment, fd, segment.length) !== undefined) return true;
    for (const found of scan(segment, fd, segment.length, false)) if (found.what === "record") return true;
    return false;
  } finally {
    closeSync(fd);
  }
}

/** True when it has nothing but zeros: created, and perhaps made longer, but nothing reached the disk. */
function isBlank(segment: Segment): boolean {
  const fd = openSync(segment.path, "r");
  try {
    return isZero(fd, segment.length);
  } finally {
    closeSync(fd);
  }
}

/** What the newest beginning says about the segments before it. */
function readEnds(segments: readonly Segment[]): Ends {
  for (const segment of segments.toReversed()) {
    const fd = openSync(segment.path, "r");
    try {
      const first = firstRecord(segment, fd, segment.length);
      if (first?.head.kind === "begin") return decodeMeta<Ends>(first.meta);
    } finally {
      closeSync(fd);
    }
  }
  return [];
}

async function cutTail(segment: Segment, { from, to }: Gap, log: Log): Promise<void> {
  segment.length = segment.synced = from;
  log("info", "journal-tail-cut", { file: segment.path, offset: from, bytes: to - from });
  const reason = await cutFile(segment.path, from);
  // Not fatal: the beginning of the next segment says that the rest does not count.
  if (reason !== undefined) log("warning", "journal-not-cut", { file: segment.path, reason });
}

/** True when it was not known before. Failing to save damage must not keep the sound messages from being served. */
async function saveDamage(folder: string, segment: Segment, { from, to }: Gap, log: Log): Promise<boolean> {
  try {
    if (!await setBytesAside(folder, segment, from, to)) return false;
    log("error", "journal-damage", { file: segment.path, offset: from, bytes: to - from });
  } catch (error) {
    log("error", "journal-damage", { file: segment.path, offset: from, bytes: to - from, unsaved: reasonOf(error) });
  }
  return true;
}

/** What the records read so far add up to. */
export class Index {
  readonly #messages = new Map<string, KeptMessage>();
  readonly #drafts = new Map<string, Part[]>();
  readonly #unreadable = new Map<string, string>();
  #lastId: string | undefined;

  take({ head, meta, offset, sound }: Found, segment: Segment): void {
    const { kind, id, bodyLength: body, bodyCheck } = head;
    const place = { segment, offset, head: HEADER_LENGTH + meta.length, body, bodyCheck: bodyCheck | 0 };
    if (kind !== "begin" && id > (this.#lastId ?? "")) this.#lastId = id;
    switch (kind) {
      case "begin":
        return;
      case "message":
        return this.#keep(id, decodeMeta<KeptMeta>(meta), [{ place, sound }], sound ? undefined : "Wrong checksum");
      case "part":
        if (decodeMeta<number>(meta) === 0) this.#drafts.set(id, []);
        return void this.#drafts.get(id)?.push({ place, sound });
      case "sealed": {
        const kept = decodeMeta<SealedMeta>(meta);
        const parts = [{ place, sound }, ...this.#drafts.get(id) ?? []];
        const whole = parts.length === kept.parts + 1, wrong = parts.some((part) => !part.sound);
        this.#drafts.delete(id);
        return this.#keep(id, kept, parts, !whole ? "Parts are missing" : wrong ? "Wrong checksum" : undefined);
      }
      case "outcome": {
        const message = this.#messages.get(id);
        if (message) message.standings = withOutcome(message.standings, decodeMeta<OutcomeMeta>(meta));
        return;
      }
      case "gone":
        return this.#forget(id);
      default:
        kind satisfies never;
    }
  }

  /** A later record of the same message is a copy made to free an old segment: it replaces the first. */
  #keep(id: string, { envelope, standings }: KeptMeta, parts: readonly Part[], wrong: string | undefined): void {
    const places = parts.map(({ place }) => place);
    const size = places.reduce((sum, { body }) => sum + body, 0);
    if (this.#messages.has(id)) this.#forget(id);
    this.#messages.set(id, { id, envelope, standings, size, recovered: true, places });
    if (wrong !== undefined) this.#unreadable.set(id, wrong);
  }

  #forget(id: string): void {
    if (this.#messages.delete(id)) this.#unreadable.delete(id);
  }

  finish(): Pick<Recovered, "messages" | "lastId" | "unreadable"> {
    return { messages: inOrderOfAge(this.#messages), lastId: this.#lastId, unreadable: this.#unreadable };
  }
}

function inOrderOfAge(messages: Map<string, KeptMessage>): Map<string, KeptMessage> {
  let last = "";
  for (const id of messages.keys()) {
    if (id < last) return new Map([...messages].sort(([a], [b]) => a < b ? -1 : 1));
    last = id;
  }
  return messages;
}
