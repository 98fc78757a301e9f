import assert from "node:assert/strict";
import { parse } from "smol-toml";
import { parseConfig, reportProblems } from "../../src/config.ts";
import { findLines } from "../../src/config/position.ts";
import { SCHEMA } from "../../src/config/schema.ts";
import type { Fields, Key } from "../../src/config/table.ts";

const EXAMPLE = Deno.readTextFileSync(new URL("../../config.example.toml", import.meta.url));
/** With every line that is commented out only because its key has no default. Sentences have a blank after the #. */
const ENABLED = EXAMPLE.replaceAll(/^#(?=\S)/gm, "");

/** Every key of the schema under its path; the keys of a list of tables under its first element. */
function schemaKeys(fields: Fields = SCHEMA, header = ""): Map<string, Key<unknown>> {
  const keys = new Map<string, Key<unknown>>();
  for (const [name, key] of Object.entries(fields)) {
    const path = `${header}${name}`;
    keys.set(path, key);
    const { kind } = key;
    if (kind.fields) { for (const [below, key] of schemaKeys(kind.fields, `${path}.`)) keys.set(below, key); }
    if (kind.item?.fields) {
      for (const [below, key] of schemaKeys(kind.item.fields, `${path}[0].`)) keys.set(below, key);
    }
  }
  return keys;
}

function isTableKey({ kind }: Key<unknown>): boolean {
  return kind.fields !== undefined || kind.item?.fields !== undefined;
}

/** The value at a path such as `domains[0].name`. */
function valueAt(root: unknown, path: string): unknown {
  return path.split(/[.[\]]+/).filter((step) => step !== "").reduce<unknown>(
    (value, step) => Object.entries(value ?? {}).find(([name]) => name === step)?.[1],
    root,
  );
}

function problems(text: string): string {
  const parsed = parseConfig(text, "config.example.toml");
  return "problems" in parsed ? reportProblems(parsed.problems) : "";
}

Deno.test("example configuration is right as it stands", () => {
  assert.equal(problems(EXAMPLE), "");
});

Deno.test("example configuration is right with everything enabled that can be together", () => {
  assert.equal(problems(ENABLED.replace('route = "direct"', 'route = "smarthost"')), "");
});

Deno.test("example configuration changes nothing but the keys that have no default", () => {
  const least =
    `hostname = "mail.example.com"\n[[domains]]\nname = "example.com"\n[[listeners]]\naddress = "[::]:25"\nkind = "mx"\n`;
  const [example, defaults] = [EXAMPLE, least].map((text) => parseConfig(text, "config.example.toml"));
  assert.ok(example && "config" in example && defaults && "config" in defaults);
  assert.deepEqual(example.config, defaults.config);
});

Deno.test("example configuration has every key of the schema with its default and its explanation", () => {
  const raw = parse(ENABLED), plain = parse(EXAMPLE);
  const lines = findLines(ENABLED), text = ENABLED.split("\n");
  for (const [path, key] of schemaKeys()) {
    const line = lines.get(path);
    assert.ok(line !== undefined, `config.example.toml: ${path} is missing; write it with its explanation`);
    assert.ok(
      text[line - 1]?.endsWith(` # ${key.explain}`),
      `config.example.toml: ${path} must be explained as in the schema: # ${key.explain}`,
    );
    if (isTableKey(key)) continue;
    assert.deepEqual(valueAt(raw, path), key.example, `config.example.toml: ${path} must have the value of the schema`);
    if (key.presence === "optional") {
      assert.equal(valueAt(plain, path), undefined, `config.example.toml: ${path} has no default; comment it out`);
    }
  }
});

Deno.test("example configuration has no key that the schema does not have", () => {
  const known = schemaKeys();
  for (const path of findLines(ENABLED).keys()) {
    const key = path.replace(/\[\d+\]$/, "").replaceAll(/\[\d+\]/g, "[0]");
    assert.ok(known.has(key), `config.example.toml: ${path} is not in the schema`);
  }
});
