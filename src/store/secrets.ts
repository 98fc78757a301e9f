/** Keys that every process of a store has to share and nobody outside may know. Made when they are first asked for. */

import { commit, KEY } from "./kv.ts";

/** 32 random bytes; the same for every process that opens this store. */
export async function secret(kv: Deno.Kv, name: string): Promise<Uint8Array<ArrayBuffer>> {
  for (;;) {
    const found = await kv.get<Uint8Array<ArrayBuffer>>(KEY.secret(name));
    if (found.value !== null) return found.value;
    const fresh = crypto.getRandomValues(new Uint8Array(32));
    // With the check, of two processes that start together the second one takes over what the first one chose.
    if (await commit(kv.atomic().check(found).set(KEY.secret(name), fresh))) return fresh;
  }
}
