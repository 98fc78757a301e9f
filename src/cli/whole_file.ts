/** Files that are there whole or not at all, whenever the power fails. */

import { basename, dirname, join } from "node:path";

/** Puts the text in the place of what is there. The folder must exist. Rejects with one sentence, and nothing changed. */
export async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  try {
    await replace(path, text, mode);
  } catch (error) {
    const why = error instanceof Deno.errors.PermissionDenied ? "this user may not" : messageOf(error);
    throw new Error(`Cannot write ${path}: ${why}. Nothing of it is there; say it again when that is mended.`);
  }
}

async function replace(path: string, text: string, mode: number): Promise<void> {
  const folder = dirname(path), part = join(folder, `.${basename(path)}.${Deno.pid}.part`);
  try {
    const file = await Deno.open(part, { write: true, create: true, truncate: true, mode });
    try {
      const bytes = new TextEncoder().encode(text);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
    } finally {
      file.close();
    }
    // A umask may have taken from it what others need to read.
    if (Deno.build.os !== "windows") await Deno.chmod(part, mode);
    await Deno.rename(part, path);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw error;
  }
  await syncFolder(folder);
}

/** What runs have left in a folder that were ended while they wrote. */
export async function removeParts(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (/^\..+\.\d+\.part$/.test(name)) await Deno.remove(join(folder, name));
  }
}

/** Undefined when it does not exist. Rejects with one sentence when it cannot be read. */
export async function readWhole(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    const why = error instanceof Deno.errors.PermissionDenied ? "this user may not" : messageOf(error);
    throw new Error(`Cannot read ${path}: ${why}.`);
  }
}

/** The name, too, has to outlive a power failure. */
async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  const handle = await Deno.open(folder);
  try {
    await handle.sync();
  } finally {
    handle.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
