/** Messages, folders and disks for the tests of the spool. */
import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import type { Content, Envelope } from "../../src/queue/entry.ts";
import type { AppendFile } from "../../src/queue/journal.ts";
import { type Entry, Spool, type SpoolSettings } from "../../src/queue/spool.ts";

export function envelope(sender: string, ...recipients: string[]): Envelope {
  return {
    sender,
    recipients: recipients.map((address) => ({ address, target: { to: "remote", address } })),
    body: "8BITMIME",
    smtputf8: false,
    source: { by: "mx", host: "192.0.2.1" },
    arrived: 1_700_000_000_000,
  };
}

/** Bytes that differ from place to place and contain every value. */
export function letter(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed) & 255;
  return bytes;
}

/** Runs `test` with a folder that exists only for it. */
export async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "spool" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Opens the spool for the time of `use`. */
export async function withSpool<T>(
  folder: string,
  use: (spool: Spool) => Promise<T>,
  settings: Partial<SpoolSettings> = {},
): Promise<T> {
  const spool = await Spool.open({ folder, log: silent, ...settings });
  try {
    return await use(spool);
  } finally {
    await spool.close();
  }
}

export async function store(spool: Spool, bytes: Uint8Array, sender = "ann@example.com"): Promise<Entry> {
  const draft = spool.draft();
  for (let at = 0; at < bytes.length; at += 50_000) await draft.write(bytes.subarray(at, at + 50_000));
  return await draft.commit(envelope(sender, "bob@remote.test"), draft.start);
}

export async function read(content: Content): Promise<Uint8Array> {
  const all = new Uint8Array(content.size);
  let at = 0;
  for await (const piece of content.pieces()) {
    assert.ok(piece.length <= 256 * 1024);
    all.set(piece, at);
    at += piece.length;
  }
  assert.equal(at, content.size);
  return all;
}

export function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.length, expected.length);
  // Its own loop would print megabytes.
  assert.ok(actual.every((byte, index) => byte === expected[index]), "the bytes differ");
}

export function segmentsOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".segment")).sort();
}

export function damagedIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(`${folder}/damaged`)].map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

/** A disk whose files can be told to fail, and which counts. */
export class FaultyDisk {
  fail: "write" | "half" | "sync" | "create" | undefined;
  syncs = 0;
  created = 0;
  /** Waited for before each sync. */
  beforeSync: () => Promise<void> = () => Promise.resolve();

  readonly create = async (path: string): Promise<AppendFile> => {
    if (this.fail === "create") throw new Error("injected: create");
    this.created++;
    const file = await Deno.open(path, { append: true, createNew: true });
    return {
      write: async (bytes) => {
        if (this.fail === "half") await file.write(bytes.subarray(0, bytes.length >> 1));
        if (this.fail === "write" || this.fail === "half") throw new Error("injected: write");
        return await file.write(bytes);
      },
      syncData: async () => {
        await this.beforeSync();
        this.syncs++;
        if (this.fail === "sync") throw new Error("injected: sync");
        await file.syncData();
      },
      close: () => file.close(),
    };
  };
}

export function gate(): { readonly passed: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { passed: promise, open: resolve };
}
