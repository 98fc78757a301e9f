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
  /** Files that the configuration names outside of its own folder, by their names in the archive. */
  readonly elsewhere: Readonly<Record<string, string>>;
}

/** Throws with a sentence when it is none, or made by a program that knows more than this one. */
export function parseManifest(text: string, known: { readonly schema: number; readonly journal: number }): Manifest {
  let manifest: Partial<Manifest> | undefined;
  try {
    manifest = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (typeof manifest?.format !== "number") throw new Error(`Its ${MANIFEST} is not that of a maildemon`);
  const { format, version = "unknown", schema = 0, journal = 0, store = "", elsewhere = {} } = manifest;
  if (format > FORMAT || schema > known.schema || journal > known.journal) {
    throw new Error(
      `A newer maildemon made it (version ${version}, schema ${schema}; this program knows up to ${known.schema}). ` +
        "Restore it with that one",
    );
  }
  return {
    mail: true,
    queued: 0,
    hostname: "",
    taken: "",
    ...manifest,
    format,
    version,
    schema,
    journal,
    store,
    elsewhere,
  };
}

/** The line of one file. As GNU does it: a name with signs that would break the line begins with a backslash. */
export function sumLine(name: string, digest: string): string {
  const safe = name.replace(/[\\\n\r]/g, (sign) => sign === "\\" ? "\\\\" : sign === "\n" ? "\\n" : "\\r");
  return `${safe === name ? "" : "\\"}${digest}  ${safe}\n`;
}
