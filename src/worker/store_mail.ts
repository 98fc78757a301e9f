/**
 * Writes messages into Maildirs, on a thread of its own: creating and syncing files is nothing but waiting for the
 * disk, and a call that may wait here costs a tenth of one that must not.
 *
 * All messages of a request share their steps, so that the disk commits twice for all and not twice for each:
 * write every one in tmp/, sync every one, rename every one into new/, sync every folder.
 */

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { serve } from "./serve.ts";

export interface Letter {
  /** The Maildir. Made, with what is missing above it, when it is not there. */
  readonly folder: string;
  /** Of the file: the same for every attempt to store this copy. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Where in the file they go: 0, or behind what came before. */
  readonly at: number;
  /** More will follow: it is only written, and may still be forgotten. */
  readonly more: boolean;
  /** An earlier process may have stored it already. */
  readonly uncertain: boolean;
}

/** Undefined: it is on disk. `code` as node's errors have it. */
export type Stored = { readonly code?: string; readonly message: string } | undefined;

if ("WorkerGlobalScope" in globalThis) serve(() => store);

interface Step {
  readonly letter: Letter;
  readonly draft: string;
  fd: number | undefined;
  failure: Stored;
  /** It lies in new/ or cur/ already. */
  there: boolean;
}

function store(letters: readonly Letter[]): readonly Stored[] {
  const steps = letters.map((letter): Step => ({
    letter,
    draft: `${letter.folder}/tmp/${letter.name}`,
    fd: undefined,
    failure: undefined,
    there: false,
  }));
  each(steps, (step) => {
    step.there = step.letter.uncertain && holds(step.letter);
    if (!step.there) write(step);
  });
  const last = steps.filter(({ letter }) => !letter.more);
  each(last, ({ fd }) => fd !== undefined && fsyncSync(fd));
  each(steps, close);
  each(last, (step) => step.there || move(step));
  // What lay there already may have been renamed a moment before a crash: what is promised is a name that is on disk.
  for (const folder of new Set(last.map(({ letter }) => letter.folder))) {
    const failure = failureOf(() => syncFolder(`${folder}/new`));
    for (const step of last) if (step.letter.folder === folder) step.failure ??= failure;
  }
  for (const step of steps) if (step.failure !== undefined) discard(step);
  return steps.map(({ failure }) => failure);
}

/** Does one thing for all that have not failed. What it throws is the failure of that one alone. */
function each(steps: readonly Step[], act: (step: Step) => unknown): void {
  for (const step of steps) step.failure ??= failureOf(() => act(step));
}

function failureOf(act: () => unknown): Stored {
  try {
    act();
    return undefined;
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    return { ...(code !== undefined && { code }), message: message ?? String(error) };
  }
}

function write(step: Step): void {
  const { letter: { folder, bytes, at }, draft } = step;
  // The name belongs to this copy alone, so what is there at first is a torn draft of an earlier attempt.
  const fd = step.fd = inFolder(folder, () => openSync(draft, at === 0 ? "w" : "r+", 0o600));
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
}

function move({ letter: { folder, name }, draft }: Step): void {
  inFolder(folder, () => renameSync(draft, `${folder}/new/${name}`));
}

function close(step: Step): void {
  const { fd } = step;
  step.fd = undefined;
  if (fd !== undefined) closeSync(fd);
}

/** It is what made the disk full, perhaps. */
function discard(step: Step): void {
  try {
    close(step);
    unlinkSync(step.draft);
  } catch { /* it was not even begun, or is in new/ */ }
}

/** Once more when the folder has to be made first. */
function inFolder<T>(folder: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
  makeMaildir(folder);
  return act();
}

/** On disk, with what is missing above it, before anything is promised to be in it. */
function makeMaildir(folder: string): void {
  const above: string[] = [];
  for (let path = folder; path.includes("/");) {
    path = path.slice(0, path.lastIndexOf("/")) || "/";
    above.push(path);
    if (path === "/" || statSync(path, { throwIfNoEntry: false }) !== undefined) break;
  }
  for (const part of ["tmp", "new", "cur"]) mkdirSync(`${folder}/${part}`, { recursive: true, mode: 0o700 });
  for (const path of [folder, ...above]) syncFolder(path);
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** True when the message lies in new/ or, seen by a reader and with flags, in cur/. */
function holds({ folder, name }: Letter): boolean {
  return ["new", "cur"].some((part) => {
    try {
      return readdirSync(`${folder}/${part}`).some((entry) => entry === name || entry.startsWith(`${name}:2,`));
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") return false;
      throw error;
    }
  });
}
