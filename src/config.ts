/** The configuration: one TOML file in, one readonly value out, or every problem it has with its line. */

import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import { type Certificate, type KeyFiles, namedFiles, readCertificates, readKeyFiles } from "./config/key_file.ts";
import { readSmallFile, unreadable } from "./config/file_text.ts";
import { credentialName } from "./config/credential.ts";
import { findLines, lineOf, type Lines } from "./config/position.ts";
import { openOrigins, type Setting } from "./config/origin.ts";
import { formatKey, type KeyPath, type Problem, reportProblems } from "./config/problem.ts";
import { checkTogether, SCHEMA, type Settings } from "./config/schema.ts";
import { editDistance, nearest } from "./config/suggestion.ts";
import { DURATIONS, parseQuantity } from "./config/units.ts";
import { FAILED, type Fields, isWhole, type Place, type RawTable, readFields } from "./config/table.ts";

export type { Certificate, DkimKey } from "./config/key_file.ts";
export type { Endpoint } from "./config/network.ts";
export type { Setting } from "./config/origin.ts";
export type { Problem } from "./config/problem.ts";
export type { Settings } from "./config/schema.ts";
export { credentialName, reportProblems };

/** What the file says and what is in the key files it names. */
export interface Config extends Settings, KeyFiles {
  /** The file it came from, absolute. */
  readonly file: string;
  /** What does not stop the start but wants to be seen. */
  readonly warnings: readonly Problem[];
  /** What a setting says, and where. */
  readonly settingOf: (key: string) => Setting;
  /** Those of [tls], and every file that was read for this, itself first. */
  readonly certificateFiles: readonly string[];
  readonly files: readonly string[];
  /** The certificates as they are in their files now. Rejects with ConfigError. */
  readonly certificatesNow: () => Promise<readonly Certificate[]>;
}

/** The configuration cannot be used. The message is one line for each problem. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  constructor(readonly problems: readonly Problem[]) {
    super(reportProblems(problems));
  }
}

/** Milliseconds; undefined unless it is written as in the configuration: `12h`, `7d`. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, DURATIONS);
}

export type Parsed =
  | { readonly config: Settings; readonly lines: Lines; readonly settingOf: Config["settingOf"] }
  | { readonly problems: readonly Problem[] };

export interface LoadSettings {
  /** The folder in which a service manager hands over the secrets that this user may not read. */
  readonly credentials?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Reads the file and all key files it names. Throws ConfigError with every problem. */
export async function loadConfig(file: string, { credentials, now = Date.now }: LoadSettings = {}): Promise<Config> {
  let text: string;
  try {
    text = await readSmallFile(file);
  } catch (error) {
    const message = error instanceof Deno.errors.NotFound
      ? "does not exist; make one with maildemon init ADDRESS, or name another with --config"
      : `${unreadable(error)}; must be a TOML file that this user may read`;
    throw new ConfigError([{ file, line: 0, key: "", message: `the configuration ${message}` }]);
  }
  const parsed = parseConfig(text, file);
  if ("problems" in parsed) throw new ConfigError(parsed.problems);

  const report = (list: Problem[]) => (path: KeyPath, message: string) => {
    list.push({ file, line: lineOf(parsed.lines, path), key: formatKey(path), message });
  };
  const read = async <T>(
    reading: (root: Place, warn: Warn) => Promise<T>,
  ): Promise<{ value: T; warnings: Problem[] }> => {
    const problems: Problem[] = [], warnings: Problem[] = [], warn = report(warnings);
    const root = openPlace([], dirname(file), report(problems));
    const value = await reading(root, (place, message) => warn(place.path, message));
    if (problems.length > 0) throw new ConfigError(problems);
    return { value, warnings };
  };
  const settings = parsed.config, reading = () => ({ now: now(), credentials });
  const { value: keys, warnings } = await read((root, warn) => readKeyFiles(settings, root, warn, reading()));
  const { certificateFiles, others } = namedFiles(settings, openPlace([], dirname(file), () => {}));
  return {
    ...settings,
    ...keys,
    file: resolve(file),
    warnings,
    settingOf: parsed.settingOf,
    certificateFiles,
    files: [...new Set([resolve(file), ...certificateFiles, ...others])],
    certificatesNow: async () => (await read((root, warn) => readCertificates(settings, root, warn, reading()))).value,
  };
}

type Warn = (place: Place, message: string) => void;

/** Looks at the text alone. `file` names it in problems, and its folder is where relative paths start. */
export function parseConfig(text: string, file: string): Parsed {
  let raw: RawTable;
  try {
    raw = parse(text, { integersAsBigInt: true });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    return { problems: [{ file, line: error.line, key: "", message: syntaxMessage(error) }] };
  }
  const lines = findLines(text);
  const problems: Problem[] = [];
  const root = openPlace([], dirname(file), (path, message) => {
    problems.push({ file, line: lineOf(lines, path), key: formatKey(path), message });
  });
  const config = readFields(SCHEMA, raw, root);
  checkTogether(config, root);
  if (problems.length === 0 && isWhole(SCHEMA, config)) {
    return { config, lines, settingOf: openOrigins(raw, text, SCHEMA) };
  }
  return { problems: problems.sort((one, other) => one.line - other.line) };
}

/** The library's message goes on with an excerpt of the file; the first line says it all. */
function syntaxMessage({ message, column }: TomlError): string {
  const reason = message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
  // What most often stands behind it: hostname = mail.example.com
  const hint = reason === "invalid value" ? "; text must be in quotes" : "";
  return `is not TOML at column ${column}: ${reason}${hint}`;
}

function openPlace(path: KeyPath, folder: string, report: (path: KeyPath, message: string) => void): Place {
  return {
    path,
    folder,
    fail(message) {
      report(path, message);
      return FAILED;
    },
    below: (step) => openPlace([...path, step], folder, report),
    unknown: (key, allowed) => report([...path, key], unknownKey(key, allowed)),
  };
}

function unknownKey(key: string, allowed: readonly string[]): string {
  const meant = nearest(key, allowed);
  const homes = homesOf(key);
  // A key of another table is more likely than two slips of the hand, and less likely than one.
  if (homes.length > 0 && (meant === undefined || editDistance(key, meant) > 1)) {
    return `is not a key here; it belongs ${homes.join(" or ")}`;
  }
  return `is not a known key; ${
    meant === undefined ? `allowed here: ${allowed.join(", ")}` : `did you mean "${meant}"?`
  }`;
}

/** Where else in the schema a key of this name stands: `in [limits]`, `in [[listeners]]`. */
function homesOf(key: string, fields: Fields = SCHEMA, header?: string, listed = false): string[] {
  const homes: string[] = [];
  if (Object.hasOwn(fields, key)) {
    if (header === undefined) homes.push("at the top, before the first [table]");
    else homes.push(listed ? `in [[${header}]]` : `in [${header}]`);
  }
  for (const [name, { kind }] of Object.entries(fields)) {
    const below = kind.fields ?? kind.item?.fields;
    const path = header === undefined ? name : `${header}.${name}`;
    if (below) homes.push(...homesOf(key, below, path, kind.item !== undefined));
  }
  return homes;
}
