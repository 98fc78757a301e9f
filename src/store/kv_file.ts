/**
 * `STORE/kv.sqlite` as what it is, a file of SQLite, for those who only read it: a copy of one moment, and whether all
 * of it can be read. SQLite's readers and writers do not wait for each other, so a server goes on meanwhile.
 */

import { join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { deserialize } from "node:v8";
import { reasonOf } from "../log.ts";

export interface KvCopy extends AsyncDisposable {
  readonly path: string;
  /** 0 when it has none yet. */
  readonly schema: number;
}

/** The name of the copy in the store folder, and what SQLite may put beside it. */
const COPY = "kv.backup", BESIDE = ["", "-journal", "-wal", "-shm"];
/** All pages in one step: between two the server may write, and then SQLite begins anew. */
const ALL = 0x7fff_ffff;

export function kvFileOf(store: string): string {
  return join(store, "kv.sqlite");
}

/**
 * A copy in the store folder, gone when it is disposed of; what an earlier process left there is overwritten. Rejects
 * when another process makes one, when there is no such file, and when it cannot be read or the copy not be written.
 */
export async function copyKv(store: string): Promise<KvCopy> {
  const path = join(store, COPY);
  // The folder itself is what is locked: a file for it would have to be taken away, by whom somebody waits for.
  const lock = await Deno.open(store);
  const remove = async () => {
    for (const end of BESIDE) await Deno.remove(path + end).catch(() => {});
  };
  const end = async () => {
    await remove();
    lock.close();
  };
  if (!await lock.tryLock(true)) {
    lock.close();
    throw new Error(`Another backup of ${store} is being made. Wait for its end.`);
  }
  try {
    await remove();
    (await Deno.open(path, { write: true, createNew: true, mode: 0o600 })).close();
    using database = open(kvFileOf(store));
    await backup(database, path, { rate: ALL });
    return { path, schema: schemaOf(database), [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    if (!(error instanceof Error && /disk is full|disk I\/O error/.test(error.message))) throw error;
    throw new Error(
      `${store} has no room for a second kv.sqlite, which a backup needs for a moment, or its disk fails. Make room ` +
        "there, or look into the kernel's log.",
    );
  }
}

/** One sentence for each thing that is wrong with it. */
export function kvFaults(store: string): string[] {
  try {
    using database = open(kvFileOf(store));
    const found = database.prepare("PRAGMA integrity_check").all().map((row) => String(row.integrity_check));
    const faults = found.filter((line) => line !== "ok").map((line) => `kv.sqlite is damaged: ${line}.`);
    return faults.length > 0 ? faults : [...undecodable(database)];
  } catch (error) {
    return [`kv.sqlite cannot be read: ${reasonOf(error)}.`];
  }
}

const VALUE = 1, NUMBER = 2, BYTES = 3;

function* undecodable(database: DatabaseSync): Generator<string> {
  for (const { k, v, v_encoding } of database.prepare("SELECT k, v, v_encoding FROM kv").iterate()) {
    if (!(k instanceof Uint8Array) || !(v instanceof Uint8Array)) continue;
    if (v_encoding === BYTES || v_encoding === NUMBER && v.length === 8 || v_encoding === VALUE && isValue(v)) continue;
    yield `kv.sqlite has a value that cannot be read, under ${nameOf(k)}.`;
  }
}

function isValue(bytes: Uint8Array): boolean {
  try {
    deserialize(bytes);
    return true;
  } catch {
    return false;
  }
}

/** The words of a key, for people. */
function nameOf(key: Uint8Array): string {
  // deno-lint-ignore no-control-regex
  return new TextDecoder().decode(key).split(/[\0-\x1f\x7f\ufffd]+/).filter((word) => word !== "").join(" ");
}

function schemaOf(database: DatabaseSync): number {
  const row = database.prepare("SELECT v FROM kv WHERE k = ?").get(new TextEncoder().encode("\x02schema\0"));
  const value = row?.v instanceof Uint8Array ? deserialize(row.v) : 0;
  return typeof value === "number" ? value : 0;
}

function open(path: string): DatabaseSync {
  Deno.statSync(path); // SQLite says of a file that is missing only that it cannot be opened.
  const database = new DatabaseSync(path, { readOnly: true });
  database.exec("PRAGMA busy_timeout = 10000");
  return database;
}
