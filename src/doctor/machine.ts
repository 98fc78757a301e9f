/** What this machine and the running server say of themselves: space, queue, clock. */

import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { doubtful, type Finding, fine, type Subject, wrong } from "./finding.ts";

/** What the running server answers. */
export type Told =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: string }
  | "not running";

/** Bytes and files that an ordinary user may still write. `files` is absent where the file system does not count them. */
export interface Space {
  readonly free: number;
  readonly total: number;
  readonly files?: number;
}

const MIB = 1024 * 1024, GIB = 1024 * MIB;
/** A segment of the journal, and as much again for KV and logs. */
const RESERVE = 128 * MIB;
const FEW_FILES = 1000;
const MINUTE = 60_000, HOUR = 60 * MINUTE;

export async function checkDisk(
  store: string,
  maxMessage: number,
  spaceOf: (folder: string) => Promise<Space> = spaceIn,
): Promise<Finding> {
  const subject = { topic: "disk", about: store } as const;
  let space: Space;
  try {
    space = await spaceOf(store);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    return doubtful(
      subject,
      "store-missing",
      `the folder of the store does not exist${
        await isThere(dirname(store)) ? "" : ", and neither does the one above"
      }`,
      "The server makes it when it starts. If it has run before, look at store in the config.",
    );
  }
  const { free, total, files } = space;
  const found = `${sizeOf(free)} of ${sizeOf(total)} are free`;
  const advice = "Make room: a server without it answers 452, and nothing more comes in.";
  if (files !== undefined && files < FEW_FILES) {
    return wrong(subject, "disk-full", `only ${files} more files can be made (inodes)`, advice);
  }
  if (free < RESERVE + 2 * maxMessage) return wrong(subject, "disk-full", found, advice);
  if (free < GIB && free < total / 10) return doubtful(subject, "disk-low", found, advice);
  return fine(subject, found);
}

async function spaceIn(folder: string): Promise<Space> {
  const { bsize, blocks, bavail, files, ffree } = await statfs(folder);
  return { free: bavail * bsize, total: blocks * bsize, ...(files > 0 && { files: ffree }) };
}

async function isThere(folder: string): Promise<boolean> {
  return await Deno.stat(folder).then(() => true, () => false);
}

/** `warnAfter`: milliseconds, the age at which senders hear that their message still waits. `now` since 1970. */
export function checkQueue(told: Told, warnAfter: number, now: number): Finding {
  const subject = { topic: "queue", about: "queue" } as const;
  if (told === "not running") return fine(subject, "not looked at: the server does not run");
  if (!told.ok) return silent(subject, told.error);
  const { messages, oldest } = told.value as { readonly messages: number; readonly oldest?: number };
  if (messages === 0 || oldest === undefined) return fine(subject, "empty");
  const age = now - oldest, found = `${messages} waiting, the oldest for ${timeOf(age)}`;
  if (age < warnAfter) return fine(subject, found);
  return doubtful(
    subject,
    "queue-old",
    found,
    "See maildemon queue list, and maildemon why ID for what others answered.",
  );
}

/** Clock of this machine less the Date of a usual message: milliseconds, over so many messages. */
export interface ClockReport {
  readonly messages: number;
  readonly offset?: number;
}

const LEAST_MESSAGES = 5;

export function checkClock(told: Told): Finding {
  const subject = { topic: "clock", about: "clock" } as const;
  if (told === "not running") return fine(subject, "not compared: the server does not run");
  if (!told.ok) return silent(subject, told.error);
  const { messages, offset } = told.value as ClockReport;
  if (offset === undefined || messages < LEAST_MESSAGES) {
    return fine(
      subject,
      `not compared: ${messages} messages with a Date came since the start, ${LEAST_MESSAGES} are needed`,
    );
  }
  const found = `${timeOf(Math.abs(offset))} ${
    offset < 0 ? "behind" : "ahead of"
  } the Date of the last ${messages} messages`;
  if (Math.abs(offset) < 2 * MINUTE) return fine(subject, found);
  return doubtful(
    subject,
    "clock-wrong",
    found,
    "Let the clock be set over the network (NTP): certificates, signatures and bans depend on it.",
  );
}

function silent(subject: Subject, error: string): Finding {
  return doubtful(
    subject,
    "server-silent",
    `the server does not say: ${error}`,
    "See that you may open its socket (as its user or as root), and restart it if it is older.",
  );
}

function timeOf(milliseconds: number): string {
  if (milliseconds < 2 * MINUTE) return `${Math.round(milliseconds / 1000)} s`;
  if (milliseconds < 2 * HOUR) return `${Math.round(milliseconds / MINUTE)} min`;
  return milliseconds < 48 * HOUR
    ? `${Math.round(milliseconds / HOUR)} h`
    : `${Math.round(milliseconds / HOUR / 24)} days`;
}

function sizeOf(bytes: number): string {
  return bytes < GIB ? `${Math.round(bytes / MIB)} MiB` : `${(bytes / GIB).toFixed(1)} GiB`;
}
