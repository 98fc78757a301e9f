/** What lies on disk and is opened once, whatever the configuration says meanwhile: the records, the people, the spool. */

import { join } from "node:path";
import type { Config } from "./config.ts";
import type { Log } from "./log.ts";
import { Spool } from "./queue/spool.ts";
import { openKv } from "./store/kv.ts";
import { PeopleCache } from "./store/people_cache.ts";

export interface Storage {
  readonly kv: Deno.Kv;
  readonly people: PeopleCache;
  readonly spool: Spool;
  /** Settles when all is on disk and every file is closed. */
  close(): Promise<void>;
}

/** Rejects, with nothing left open, when a part cannot be opened: another server works on it, it is of a newer program. */
export async function openStorage({ store, kv: shared }: Config, log: Log): Promise<Storage> {
  const kv = await openKv({ store, ...(shared !== undefined && { kv: shared }) });
  const closers: (() => void | Promise<void>)[] = [() => kv.close()];
  const close = async () => {
    for (const one of closers.splice(0).toReversed()) await one();
  };
  try {
    const people = await PeopleCache.open(kv, { log });
    closers.push(() => people.close());
    const spool = await Spool.open({ folder: join(store, "queue"), log });
    closers.push(() => spool.close());
    return { kv, people, spool, close };
  } catch (error) {
    await close();
    throw error;
  }
}
