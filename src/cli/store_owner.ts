/**
 * Root's commands and a store that belongs to somebody else. What root makes there while no server runs (segments of the
 * journal, files of SQLite) would be root's, and the server, which is not root, could not start with it. So root acts as
 * the owner meanwhile, whom no link in the store leads to what is root's. The other way round, something would have to
 * run as root at each start to give all files back.
 */

import process from "node:process";
import { Refused } from "../store/people.ts";

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** A store that is not there yet is made by root: systemd gives it to the user of the service. */
export async function asOwner<T>(store: string, work: () => Promise<T>): Promise<T> {
  const owner = await otherOwner(store);
  if (owner === undefined) return await work();
  // The group first: whoever is not root any more may not change it.
  process.setegid?.(owner.gid);
  process.seteuid?.(owner.uid);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

/** A server cannot act as somebody else: it needs its ports and its keys. Throws Refused when root may not run it. */
export async function demandOwnStore(store: string): Promise<void> {
  const owner = await otherOwner(store);
  if (owner === undefined) return;
  throw new Refused(
    `The store ${store} belongs to another user (number ${owner.uid}), who could not open what root writes there: ` +
      "start the server as a service (systemctl start maildemon), or as that user.",
  );
}

/** Undefined unless root acts as root, and somebody else owns the store. */
async function otherOwner(store: string): Promise<Owner | undefined> {
  if (Deno.build.os === "windows" || process.geteuid?.() !== 0) return undefined;
  const found = await Deno.stat(store).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  return found?.uid && found.gid !== null ? { uid: found.uid, gid: found.gid } : undefined;
}
