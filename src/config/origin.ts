/** What a setting says and where, for who wants to know why something was decided. */

import { findLines, type Lines } from "./position.ts";
import { formatKey } from "./problem.ts";
import { type Fields, formatToml, isTable, type RawTable, type Toml } from "./table.ts";

export interface Setting {
  /** `checks.spf`, `domains[0].catch_all`. */
  readonly key: string;
  /** As it would be written in TOML; `not set` when it has neither a value nor a default. */
  readonly value: string;
  /** In the file; absent when it does not stand there. */
  readonly line?: number;
}

const MOST = 100;

/** `raw`: the file as the TOML parser gives it. */
export function openOrigins(raw: RawTable, text: string, schema: Fields): (key: string) => Setting {
  const lines = findLines(text), known = new Map<string, Setting>();
  return (key) => {
    let setting = known.get(key);
    if (setting === undefined) known.set(key, setting = find(key, raw, lines, schema));
    return setting;
  };
}

function find(key: string, raw: RawTable, lines: Lines, schema: Fields): Setting {
  const path = key.split(/[.[\]]+/).filter((step) => step !== "").map((step) =>
    /^\d+$/.test(step) ? Number(step) : step
  );
  let value: unknown = raw, fields: Fields | undefined = schema, fallback: Toml | undefined;
  for (const step of path) {
    value = typeof step === "number" ? (value as readonly unknown[] | undefined)?.[step] : ownValue(value, step);
    if (typeof step === "number") continue;
    const found: Fields[string] | undefined = fields?.[step];
    fallback = found?.presence === "default" ? found.example : undefined;
    fields = found?.kind.fields ?? found?.kind.item?.fields;
  }
  const written = value === undefined ? fallback : plain(value);
  const line = value === undefined ? undefined : lines.get(formatKey(path));
  return {
    key,
    value: written === undefined ? "not set" : cut(formatToml(written)),
    ...(line !== undefined && { line }),
  };
}

function ownValue(value: unknown, name: string): unknown {
  return isTable(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

/** The parser's bigints and dates as what can be written. */
function plain(value: unknown): Toml {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (isTable(value)) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)]));
  return typeof value === "number" || typeof value === "boolean" ? value : String(value);
}

function cut(text: string): string {
  return text.length > MOST ? `${text.slice(0, MOST - 1)}…` : text;
}
