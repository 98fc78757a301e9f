/**
 * What a schema is made of. A kind reads one value; a key is a kind with its default and its line of explanation;
 * tables and lists are kinds made of others. Types follow from the schema, so that nothing is written twice.
 */

import { formatKey, type KeyPath } from "./problem.ts";

/** Returned in place of a value after a problem was reported. */
export const FAILED = Symbol("failed");
export type Failed = typeof FAILED;

/** Where in the configuration a value is read. */
export interface Place {
  readonly path: KeyPath;
  /** Folder of the configuration file: relative paths start here. */
  readonly folder: string;
  /** Reports a problem of the value at this place. */
  fail(message: string): Failed;
  /** The place of a key or an element below this one. */
  below(step: string | number): Place;
  /** Reports a key nobody knows; `allowed` are those of its table. */
  unknown(key: string, allowed: readonly string[]): void;
}

/** A kind of value: how it is read from what the TOML parser gives (integers come as bigint). */
export interface Kind<T> {
  read(raw: unknown, place: Place): T | Failed;
  /** What a table is made of. */
  readonly fields?: Fields;
  /** What a list is made of. */
  readonly item?: Kind<unknown>;
}

/** A value as it stands in the file. */
export type Toml = string | number | boolean | readonly Toml[] | { readonly [key: string]: Toml };

export interface Key<T> {
  readonly kind: Kind<T>;
  readonly presence: "required" | "optional" | "default";
  /** The default, or what to write for a key that has none. */
  readonly example: Toml;
  /** One line for the person who reads the example file. */
  readonly explain: string;
}

export type Fields = Readonly<Record<string, Key<unknown>>>;
/** What reading `fields` gives: the same names, with the values of their kinds. */
export type Values<F extends Fields> = { readonly [Name in keyof F]: F[Name] extends Key<infer T> ? T : never };

/** A key that may be left out: then it has the value that `fallback` would have. */
export function key<T>(kind: Kind<T>, fallback: Toml, explain: string): Key<T> {
  return { kind, presence: "default", example: fallback, explain };
}

export function required<T>(kind: Kind<T>, example: Toml, explain: string): Key<T> {
  return { kind, presence: "required", example, explain };
}

/** A key that may be left out and has no default: then it is undefined. */
export function optional<T>(kind: Kind<T>, example: Toml, explain: string): Key<T | undefined> {
  return { kind, presence: "optional", example, explain };
}

/** A table of its own that may be left out: then each of its keys has its default. */
export function section<T>(kind: Kind<T>, explain: string): Key<T> {
  return key(kind, {}, explain);
}

/** `rule` looks at what only several keys together can say; it sees a table whose every key could be read. */
export function table<F extends Fields>(fields: F, rule?: (values: Values<F>, place: Place) => void): Kind<Values<F>> {
  return {
    fields,
    read(raw, place) {
      if (Array.isArray(raw)) return place.fail(`must be one table, got a list; write [${nameOf(place)}] once`);
      if (!isTable(raw)) return place.fail(`must be a table, got ${show(raw)}; write [${nameOf(place)}]`);
      const values = readFields(fields, raw, place);
      if (!isWhole(fields, values)) return FAILED;
      rule?.(values, place);
      return values;
    },
  };
}

/** Reads each key; those that failed are missing in what it returns. */
export function readFields<F extends Fields>(fields: F, raw: RawTable, place: Place): Partial<Values<F>> {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(raw)) {
    if (!Object.hasOwn(fields, name)) place.unknown(name, Object.keys(fields));
  }
  for (const [name, { kind, presence, example }] of Object.entries(fields)) {
    const here = place.below(name);
    let value: unknown;
    if (Object.hasOwn(raw, name)) value = kind.read(raw[name], here);
    else if (presence === "required") value = here.fail(`is missing; write ${assignment(name, kind, example)}`);
    else if (presence === "default") value = kind.read(asParsed(example), here);
    if (value !== FAILED) values[name] = value;
  }
  return values as Partial<Values<F>>;
}

/** True when no key failed. */
export function isWhole<F extends Fields>(fields: F, values: Partial<Values<F>>): values is Values<F> {
  return Object.keys(fields).every((name) => Object.hasOwn(values, name));
}

export interface ListRules<T> {
  readonly least?: number;
  /** No two elements may have the same text; the problem is reported at `at` of the second. Undefined is unlike all. */
  readonly distinct?: { readonly text: (item: T) => string | undefined; readonly at?: string };
}

export function list<T>(item: Kind<T>, { least = 0, distinct }: ListRules<T> = {}): Kind<readonly T[]> {
  return {
    item,
    read(raw, place) {
      if (!Array.isArray(raw)) return place.fail(`must be a list, got ${show(raw)}; ${listHint(raw, item, place)}`);
      if (raw.length < least) {
        return place.fail(`must have at least ${least === 1 ? "one element" : `${least} elements`}`);
      }
      const items = raw.map((one: unknown, index) => item.read(one, place.below(index)));
      if (distinct) reportRepeats(items, distinct, place);
      const whole = items.filter((one): one is T => one !== FAILED);
      return whole.length === items.length ? whole : FAILED;
    },
  };
}

function reportRepeats<T>(
  items: readonly (T | Failed)[],
  { text, at }: NonNullable<ListRules<T>["distinct"]>,
  place: Place,
): void {
  const seen = new Map<string, number>();
  for (const [index, item] of items.entries()) {
    const name = item === FAILED ? undefined : text(item);
    if (name === undefined) continue;
    const first = seen.get(name);
    if (first === undefined) {
      seen.set(name, index);
      continue;
    }
    const here = at === undefined ? place.below(index) : place.below(index).below(at);
    here.fail(`${JSON.stringify(name)} repeats ${formatKey(place.path)}[${first}]; remove one of them`);
  }
}

function listHint(raw: unknown, item: Kind<unknown>, place: Place): string {
  if (item.fields) return `write [[${nameOf(place)}]]`;
  return typeof raw === "string" ? `write [${JSON.stringify(raw)}]` : "write it in [ ]";
}

export type RawTable = Readonly<Record<string, unknown>>;

export function isTable(raw: unknown): raw is RawTable {
  return typeof raw === "object" && raw !== null && !Array.isArray(raw) && !(raw instanceof Date);
}

/** A value as it stands in an error sentence. */
export function show(raw: unknown): string {
  if (typeof raw === "string") return JSON.stringify(raw.length > 80 ? `${raw.slice(0, 77)}...` : raw);
  if (raw instanceof Date) return "a date";
  if (Array.isArray(raw)) return "a list";
  // TOML tells 5.0 from 5, and so must the sentence that refuses it.
  if (typeof raw === "number" && Number.isInteger(raw)) return raw.toFixed(1);
  return isTable(raw) ? "a table" : String(raw);
}

function assignment(name: string, kind: Kind<unknown>, example: Toml): string {
  return kind.item?.fields ? `[[${name}]]` : `${name} = ${formatToml(example)}`;
}

/** A value in TOML, on one line. */
export function formatToml(value: Toml): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(formatToml).join(", ")}]`;
  if (typeof value !== "object") return String(value);
  return `{ ${Object.entries(value).map(([name, one]) => `${name} = ${formatToml(one)}`).join(", ")} }`;
}

/** The TOML parser gives integers as bigint, so that 5 and 5.0 can be told apart. */
function asParsed(value: Toml): unknown {
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  return Array.isArray(value) ? value.map(asParsed) : value;
}

/** The table as its header names it: without indexes. */
function nameOf(place: Place): string {
  return place.path.filter((step) => typeof step === "string").join(".");
}
