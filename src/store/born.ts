/** The first day of a store: for the time in which a new one only looks on. */

import { commit, KEY } from "./kv.ts";

/** Undefined before a server has opened this store. */
export async function readBorn(kv: Deno.Kv): Promise<number | undefined> {
  return (await kv.get<number>(KEY.born)).value ?? undefined;
}

/** Milliseconds since 1970; the same for every process that opens this store. */
export async function bornAt(kv: Deno.Kv, now = Date.now()): Promise<number> {
  for (;;) {
    const found = await kv.get<number>(KEY.born);
    if (found.value !== null) return found.value;
    if (await commit(kv.atomic().check(found).set(KEY.born, now))) return now;
  }
}
