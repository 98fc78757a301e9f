/** The folder of the queue: owned by one process, and its names as durable as what the files hold. */
import { join } from "node:path";
import { SpoolLocked } from "./failures.ts";
import { reasonOf } from "../log.ts";

/** Makes the folder when it is missing and locks it until the handle is closed. Throws SpoolLocked. */
export async function lockFolder(folder: string): Promise<Disposable> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, "lock");
  const file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
  try {
    if (!await file.tryLock(true)) {
      const owner = (await Deno.readTextFile(path)).trim();
      throw new SpoolLocked(
        `Cannot open the queue in ${folder}: process ${owner || "(unknown)"} works on it. ` +
          "Stop that maildemon first, or use the commands that ask it",
      );
    }
    await file.truncate(0);
    await file.write(new TextEncoder().encode(`${Deno.pid}\n`));
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Cuts the file for good. Undefined when that worked, otherwise why not. */
export async function cutFile(path: string, length: number): Promise<string | undefined> {
  try {
    const file = await Deno.open(path, { write: true });
    try {
      await file.truncate(length);
      await file.sync();
    } finally {
      file.close();
    }
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}
