/** What lies on disk and is opened once, whatever the configuration says meanwhile: the records, the people, the spool. */

import { join } from "node:path";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import { Spool } from "../queue/spool.ts";
import { openKv } from "../store/kv.ts";
import { PeopleCache } from "../store/people_cache.ts";
import { Closing } from "./closing.ts";

export interface Storage {
  readonly kv: Deno.Kv;
  readonly people: PeopleCache;
  readonly spool: Spool;
  /** Settles when all is on disk and every file is closed. */
  close(): Promise<void>;
}

/** Rejects, with nothing left open, when a part cannot be opened: another server works on it, it is of a newer program. */
export async function openStorage({ store, kv: shared }: Config, log: Log): Promise<Storage> {
  const closing = new Closing(log), close = () => closing.close();
  try {
    const kv = closing.add(
      await openKv({ store, ...(shared !== undefined && { kv: shared }) }),
      (kv) => kv.close(),
    );
    const people = closing.add(await PeopleCache.open(kv, { log }), (people) => people.close());
    const spool = closing.add(await Spool.open({ folder: join(store, "queue"), log }), (spool) => spool.close());
    return { kv, people, spool, close };
  } catch (error) {
    await close();
    throw error;
  }
}
