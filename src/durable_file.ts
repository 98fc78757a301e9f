/** Files that outlive a power failure: with all that is in them, and under their names. */

import { dirname } from "node:path";

/** Everything, however few bytes the system takes at a time. */
export async function writeAll(file: Pick<Deno.FsFile, "write">, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/**
 * Puts the text in the place of what is there: whatever happens, the old one or the new one is there, and whole. `part`,
 * a path in the same folder, is where it is written first. Rejects as the system does.
 */
export async function replaceFile(path: string, part: string, text: string, mode: number): Promise<void> {
  try {
    const file = await Deno.open(part, { write: true, create: true, truncate: true, mode });
    try {
      await writeAll(file, new TextEncoder().encode(text));
      await file.sync();
    } finally {
      file.close();
    }
    // A umask may have taken from it what others need to read, and an older part may have been another's.
    if (Deno.build.os !== "windows") await Deno.chmod(part, mode);
    await Deno.rename(part, path);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Names that were made or removed in the folder are on disk when this resolves. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows opens no folder, and keeps names by itself.
  if (Deno.build.os !== "windows") await syncFile(folder);
}

/** What the file holds is on disk when this resolves. */
export async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path);
  await file.sync();
}
