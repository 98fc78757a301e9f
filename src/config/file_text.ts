/** The text of the files that the configuration names, and why one cannot be had. */

import { join } from "node:path";
import { credentialName } from "./credential.ts";
import type { Failed, Place } from "./table.ts";

/** Nothing we read here is longer; a wrong path may lead to a disk image. */
const MAX_FILE = 1_048_576;
const READ_OR_WRITE_BY_ALL = 0o006;

export async function readText(file: string, place: Place): Promise<string | Failed> {
  try {
    return await readSmallFile(file);
  } catch (error) {
    return place.fail(`${file} ${unreadable(error)}`);
  }
}

/**
 * What nobody else may know. `credentials`: the folder in which systemd hands over what only root may read, under the
 * names of credential.ts, as it was when the service started.
 */
export async function readSecretText(
  file: string,
  place: Place,
  credentials: string | undefined,
): Promise<string | Failed> {
  try {
    const text = await readSmallFile(file), { mode } = await Deno.stat(file);
    if (mode !== null && (mode & READ_OR_WRITE_BY_ALL) !== 0) {
      return place.fail(`${file} is open to everybody on this machine; must be for its owner alone: chmod 600 ${file}`);
    }
    return text;
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) return place.fail(`${file} ${unreadable(error)}`);
    if (credentials !== undefined) return await readCredential(file, place, credentials);
    return place.fail(`${file} ${unreadable(error)}; run this as root, or let it belong to the user that runs it`);
  }
}

async function readCredential(file: string, place: Place, credentials: string): Promise<string | Failed> {
  const handed = join(credentials, credentialName(file));
  try {
    const text = await readSmallFile(handed);
    if (!await isNewer(file, handed)) return text;
    return place.fail(`${file} has changed since the service started, and only root may read it; restart the service`);
  } catch {
    return place.fail(
      `${file} may not be read by this user, and the service manager has not handed it over; ` +
        'run "maildemon service install" anew, then restart the service',
    );
  }
}

/** False also when it lies in a folder that this user may not look into. */
async function isNewer(file: string, than: string): Promise<boolean> {
  try {
    const [one, other] = await Promise.all([Deno.stat(file), Deno.stat(than)]);
    return (one.mtime?.getTime() ?? 0) > (other.mtime?.getTime() ?? 0);
  } catch {
    return false;
  }
}

/** UTF-8. Throws for what is no ordinary file, or too long: neither a pipe nor a device may hold up the start. */
export async function readSmallFile(file: string): Promise<string> {
  const { isFile, size } = await Deno.stat(file);
  if (!isFile) throw new Error("is not an ordinary file");
  if (size > MAX_FILE) throw new Error(`is longer than ${MAX_FILE} bytes`);
  return await Deno.readTextFile(file);
}

/** Says why `readSmallFile` threw; the name of the file goes before it. */
export function unreadable(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "does not exist";
  if (error instanceof Deno.errors.PermissionDenied) return "may not be read by this user";
  if (error instanceof Deno.errors.NotCapable) return "is outside what this program may read";
  return error instanceof Error ? error.message : "cannot be read";
}
