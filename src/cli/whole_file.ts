/** Files that are there whole or not at all, whenever the power fails. */

import { basename, dirname, join } from "node:path";
import { replaceFile } from "../durable_file.ts";
import { reasonOf } from "../log.ts";

/** Puts the text in the place of what is there. The folder must exist. Rejects with one sentence, and nothing changed. */
export async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  try {
    await replaceFile(path, join(dirname(path), `.${basename(path)}.${Deno.pid}.part`), text, mode);
  } catch (error) {
    const why = error instanceof Deno.errors.PermissionDenied ? "this user may not" : reasonOf(error);
    throw new Error(`Cannot write ${path}: ${why}. Nothing of it is there; say it again when that is mended.`);
  }
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
    const why = error instanceof Deno.errors.PermissionDenied ? "this user may not" : reasonOf(error);
    throw new Error(`Cannot read ${path}: ${why}.`);
  }
}
