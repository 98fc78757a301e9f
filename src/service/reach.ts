/** Whether the user of the service can get at a file: by its rights and those of the folders that lead to it. */

import { dirname } from "node:path";

const READ = 0o4, ENTER = 0o1;

/** Numbers of a user; undefined when there is none of this name (yet). */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** The first file or folder on the way that stops that user; undefined when nothing does. */
export async function obstacle(path: string, account: Account | undefined): Promise<string | undefined> {
  const folder = dirname(path);
  const before = folder === path ? undefined : await obstacle(folder, account);
  if (before !== undefined) return before;
  const { mode, uid, gid, isDirectory } = await Deno.stat(path);
  if (mode === null) return undefined;
  const shift = uid === account?.uid ? 6 : gid === account?.gid ? 3 : 0;
  const needed = isDirectory ? ENTER : READ;
  return ((mode >> shift) & needed) === needed ? undefined : path;
}

/** Reads what passwd(5) describes. */
export function accountIn(passwd: string, name: string): Account | undefined {
  for (const line of passwd.split("\n")) {
    const [user, , uid, gid] = line.split(":");
    if (user === name) return { uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}
