/** What a backup says about itself: its first file, and its last. */

/** The first file of every backup, JSON. */
export const MANIFEST = "MANIFEST.json";
/** The last: a line for each file before it, as `sha256sum --check` reads it. Without it a backup is not whole. */
export const SUMS = "SHA256SUMS";

/** Of the archive: what is laid out differently gets a higher one. */
export const FORMAT = 1;

export interface Manifest {
  readonly format: number;
  /** Of the program that made it. */
  readonly version: string;
  /** Of the records in kv.sqlite; 0 when they are elsewhere. */
  readonly schema: number;
  /** Of the records in queue/. */
  readonly journal: number;
  /** When it was begun: mail of later is not in it. ISO 8601. */
  readonly taken: string;
  readonly hostname: string;
  /** Where the store was: mail in the queue names Maildirs by it. */
  readonly store: string;
  /** The Deno KV server with users, aliases and hosts, which are then not in here. */
  readonly kv?: string;
  /** Messages that were in the queue. */
  readonly queued: number;
  /** False: without the Maildirs. */
  readonly mail: boolean;
  /** Maildirs that users name by an absolute path, and those of messages in the queue that lie outside of the store. */
  readonly maildirs: readonly string[];
  /** Files that the configuration names outside of its own folder, by their names in the archive. */
  readonly elsewhere: Readonly<Record<string, string>>;
}

/** Throws with a sentence when it is none, or made by a program that knows more than this one. */
export function parseManifest(text: string, known: { readonly schema: number; readonly journal: number }): Manifest {
  let manifest: Unknown | null | undefined;
  try {
    manifest = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (typeof manifest?.format !== "number") throw new Error(NONE);
  const { format, schema, journal, version } = manifest;
  if (format > FORMAT || Number(schema) > known.schema || Number(journal) > known.journal) {
    throw new Error(
      `A newer maildemon made it (version ${version}, schema ${schema}; this program knows up to ${known.schema}). ` +
        "Restore it with that one",
    );
  }
  if (!isManifest(manifest)) throw new Error(NONE);
  return manifest;
}

const NONE = `Its ${MANIFEST} is not that of a maildemon`;

type Unknown = { readonly [Key in keyof Manifest]?: unknown };

function isManifest(given: Unknown): given is Manifest {
  const { version, schema, journal, taken, hostname, store, kv, queued, mail, maildirs, elsewhere } = given;
  return [version, taken, hostname, store].every(isText) && store !== "" && (kv === undefined || isText(kv)) &&
    [schema, journal, queued].every(Number.isSafeInteger) && typeof mail === "boolean" &&
    Array.isArray(maildirs) && maildirs.every(isText) &&
    typeof elsewhere === "object" && elsewhere !== null && Object.values(elsewhere).every(isText);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** The line of one file. As GNU does it: a name with signs that would break the line begins with a backslash. */
export function sumLine(name: string, digest: string): string {
  const safe = name.replace(/[\\\n\r]/g, (sign) => sign === "\\" ? "\\\\" : sign === "\n" ? "\\n" : "\\r");
  return `${safe === name ? "" : "\\"}${digest}  ${safe}\n`;
}

const NAMED = 5;

/** Paths in one line, the first few of many. */
export function firstOf(paths: readonly string[]): string {
  const named = paths.slice(0, NAMED).join(", ");
  return paths.length > NAMED ? `${named} and ${paths.length - NAMED} more` : named;
}

/** Whether a Maildir of an absolute path goes into a backup of this store. */
export function isInStore(maildir: string, store: string): boolean {
  return maildir.startsWith(`${store}/mail/`);
}
