/** The Maildirs that users name by an absolute path: nobody finds them by looking into the store. */

import { isAbsolute } from "node:path";
import { KEY } from "./kv.ts";
import { kvFileOf } from "./kv_file.ts";
import type { User } from "./people.ts";

/** Each once, in order. Only reads; the store must have a kv.sqlite of a schema that is known. */
export async function namedMaildirs(store: string): Promise<string[]> {
  const kv = await Deno.openKv(kvFileOf(store)), found = new Set<string>();
  try {
    for await (const { value } of kv.list<Partial<User> | null>({ prefix: KEY.users })) {
      for (const delivery of value?.deliver ?? []) {
        const path = /^maildir:(.*)$/s.exec(delivery)?.[1];
        if (path !== undefined && isAbsolute(path)) found.add(path);
      }
    }
  } finally {
    kv.close();
  }
  return [...found].sort();
}
