/** The rules of the sources, read out of the sources: who may import whom, what stands where, and what nowhere. */

import assert from "node:assert/strict";

const SRC = new URL("../src/", import.meta.url);

interface Import {
  /** `accept/policy.ts`. */
  readonly from: string;
  /** The same for our own files; otherwise the bare name. */
  readonly to: string;
  /** Nothing of it is there at run time. */
  readonly types: boolean;
}

interface Source {
  readonly name: string;
  readonly text: string;
  /** Without comments. */
  readonly code: string;
  readonly imports: readonly Import[];
}

/** An import or a re-export: `type`, the clause, what it comes from. */
const STATEMENT =
  /^(?:import|export)\s+(type\s+)?(?:((?:\w+\s*,?\s*)?(?:\{[^}]*\}|\* as \w+)?)\s*from\s+)?"([^"]+)";/gm;

const SOURCES = await readSources();
const IMPORTS = SOURCES.flatMap(({ imports }) => imports);

// ── who may import whom ──────────────────────────────────────────────────────────────────────────────────────────

type May = "all" | "types";

/** What a folder may import besides itself and what is for all. Who is not in here may import everything but the config. */
const MAY_IMPORT: Readonly<Record<string, Readonly<Record<string, May>>>> = {
  smtp: {},
  store: { smtp: "all" },
  dns: { smtp: "all" },
  tls: { smtp: "all" },
  check: { smtp: "all", store: "types", dns: "types", queue: "types", worker: "all" },
  queue: { smtp: "all", store: "types" },
  send: { smtp: "all", store: "types", dns: "types", queue: "types", worker: "all" },
  accept: { smtp: "all", store: "types", dns: "types", check: "all", queue: "types" },
  // It looks at us from outside: what it is told of the settings and of the running server, the command asks for.
  doctor: { smtp: "all", dns: "all", check: "all", send: "all", tls: "all" },
  // It copies a whole store, and looks at all of it.
  backup: { smtp: "all", store: "all", queue: "all", tls: "all" },
  // What runs on the other threads: the work itself lies where it belongs.
  worker: { smtp: "all", send: "all", check: "all" },
  config: { smtp: "all" },
  service: {},
  "config.ts": { config: "all" },
  "log.ts": {},
  "durable_file.ts": {},
  "version.ts": {},
};

/** Of use to everybody but the language, which is pure. */
const FOR_ALL = ["log.ts", "durable_file.ts"];
/** The composition, and what people and operators see of it. */
const MAY_IMPORT_ALL = ["main.ts", "server", "cli", "status", "sandbox"];
/** Every part states the few settings it needs; only those who compose know the whole of them. */
const MAY_IMPORT_CONFIG = ["server", "cli"];

const EXCEPTIONS: readonly { readonly from: string; readonly to: string; readonly why: string }[] = [
  {
    from: "check/questions.ts",
    to: "dns/node_style.ts",
    why: "mailauth asks in the words of Node; the translation is pure, and knows all about DNS and nothing about mail",
  },
  {
    from: "check/dnsbl.ts",
    to: "dns/name.ts",
    why: "a list of bad hosts is asked for an address in the notation of the reverse zone; the translation is pure",
  },
  {
    from: "store/address_walk.ts",
    to: "queue/entry.ts",
    why: "a type only: what an address leads to is said in the words in which the queue keeps it",
  },
];

Deno.test("imports follow the table of who may import whom", () => {
  const wrong = IMPORTS.filter((it) => isOwn(it) && !isException(it) && !mayImport(it));
  assert.deepEqual(wrong.map(({ from, to, types }) => `${from} imports ${types ? "types of " : ""}${to}`), []);
});

Deno.test("each exception to the table is still needed", () => {
  const needed = EXCEPTIONS.filter((exception) => {
    return IMPORTS.some((it) => it.from === exception.from && it.to === exception.to && !mayImport(it));
  });
  assert.deepEqual(needed, EXCEPTIONS);
});

Deno.test("every folder and every file at the top is in the table", () => {
  const places = new Set(SOURCES.map(({ name }) => placeOf(name)));
  const known = [...Object.keys(MAY_IMPORT), ...MAY_IMPORT_ALL];
  assert.deepEqual([...places].sort(), known.toSorted());
});

Deno.test("nobody imports main.ts or what stands inside config/, and only cli imports the sandbox", () => {
  const wrong = IMPORTS.filter(({ from, to }) =>
    to === "main.ts" || to.startsWith("config/") && from !== "config.ts" && !from.startsWith("config/") ||
    to.startsWith("sandbox/") && !["cli", "sandbox"].includes(placeOf(from))
  );
  assert.deepEqual(wrong, []);
});

function mayImport({ from, to, types }: Import): boolean {
  const here = placeOf(from), there = placeOf(to);
  if (there === "config.ts") return MAY_IMPORT_CONFIG.includes(here);
  if (here === there || MAY_IMPORT_ALL.includes(here)) return true;
  if (FOR_ALL.includes(there)) return here !== "smtp";
  const may = MAY_IMPORT[here]?.[there];
  return may === "all" || may === "types" && types;
}

function isException({ from, to }: Import): boolean {
  return EXCEPTIONS.some((exception) => exception.from === from && exception.to === to);
}

Deno.test("no file leads back to itself through its imports", () => {
  const edges = new Map(SOURCES.map(({ name, imports }) => [name, imports.filter(isOwn).map(({ to }) => to)]));
  const circles: string[] = [], done = new Set<string>();
  const visit = (name: string, path: readonly string[]) => {
    const at = path.indexOf(name);
    if (at >= 0) circles.push([...path.slice(at), name].join(" → "));
    if (at >= 0 || done.has(name)) return;
    for (const next of edges.get(name) ?? []) visit(next, [...path, name]);
    done.add(name);
  };
  for (const { name } of SOURCES) visit(name, []);
  assert.deepEqual(circles, []);
});

// ── doors ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Who may import a package: files or folders. What is not in here is not imported at all. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "acme-client": ["tls/acme_order.ts", "tls/acme_http.ts"],
  "smol-toml": ["config.ts"],
  "commander": ["cli/arguments.ts"],
  "mailauth": ["check/dmarc.ts", "check/spf.ts", "worker/verify.ts"],
  "nodemailer": ["send/conversation.ts", "send/nodemailer_watch.ts", "queue/note.ts", "accept/forwarded_header.ts"],
  "dns-packet": ["dns/wire.ts"],
  "modern-tar": ["backup/pack.ts", "backup/unpack.ts"],
  "@peculiar/x509": ["tls/self_signed.ts"],
  "reflect-metadata": ["tls/self_signed.ts"],
};

Deno.test("each package comes in through its own door", () => {
  const wrong = IMPORTS.filter(({ from, to }) => {
    if (to.startsWith("node:") || to.endsWith(".ts")) return false;
    const name = to.startsWith("@") ? to.split("/").slice(0, 2).join("/") : to.split("/")[0] ?? "";
    return !(PACKAGES[name] ?? []).includes(from);
  });
  assert.deepEqual(wrong, []);
});

/** What is used where: a pattern in the code, and the files or folders in which it may stand. */
const DOORS: readonly (readonly [what: string, pattern: RegExp, doors: readonly string[]])[] = [
  ["opening Deno KV", /Deno\.openKv\b/, ["store"]],
  ["what lies below Deno KV", /"node:sqlite"/, ["store/kv_file.ts"]],
  // The composition hands it from the one part of the store to the others.
  ["the type Deno.Kv", /Deno\.(Kv\w*|AtomicOperation)\b/, ["store", "server"]],
  ["Deno.listen", /Deno\.listen\w*\b/, ["accept/listener.ts", "status"]],
  ["an HTTP server that knows no limits", /Deno\.serve\b/, []],
  [
    "sockets of Node",
    /"node:(tls|net|dgram)"/,
    ["accept", "tls", "send", "dns", "sandbox", "status", "check/scorer_socket.ts", "doctor/caller.ts"],
  ],
  ["asking over HTTP", /"node:https?"|\bfetch\(/, [
    "check/rspamd.ts",
    "send/webhook.ts",
    "tls/acme_http.ts",
    "doctor/transport_policy.ts",
  ]],
  ["other processes", /Deno\.(Command|dlopen)\b|"node:child_process"/, []],
  ["workers", /new Worker\(/, ["server/inspection.ts", "send/mailbox.ts", "send/sign.ts", "sandbox/tour.ts"]],
  ["the end of the process", /Deno\.exit\b/, ["main.ts"]],
  ["what stands in the environment", /Deno\.env\b/, ["cli"]],
  ["the console", /\bconsole\./, ["log.ts", "cli"]],
];

for (const [what, pattern, doors] of DOORS) {
  Deno.test(`${what}: only in ${doors.join(", ") || "no file at all"}`, () => {
    const found = SOURCES.filter(({ code }) => pattern.test(code)).map(({ name }) => name);
    assert.deepEqual(found.filter((name) => !doors.includes(name) && !doors.includes(placeOf(name))), []);
  });
}

Deno.test("smtp/ is pure: it never waits, and knows no clock, no chance, no machine", () => {
  const impure =
    /\bawait\b|\basync\b|\bDeno\.|\bnew Date\b|\bDate\.|"node:|\bset(Timeout|Interval)\b|\bqueueMicrotask\b|\bperformance\.|\bMath\.random\b|\bcrypto\./;
  const wrong = SOURCES.filter(({ name, code }) => placeOf(name) === "smtp" && impure.test(code));
  assert.deepEqual(wrong.map(({ name, code }) => `${name}: ${impure.exec(code)?.[0]}`), []);
});

// ── how it is written ────────────────────────────────────────────────────────────────────────────────────────────

/** What stands nowhere: in the code, or in the text with its comments. */
const NOWHERE: readonly (readonly [what: string, pattern: RegExp, part: "code" | "text"])[] = [
  ["default export", /^export default\b|\bas default\b/m, "code"],
  ["enum", /^\s*(export )?(declare )?(const )?enum \w+ \{/m, "code"],
  ["any", /(:|<|\||&|\bas|,|=>) any\b(?! \w)|<any>|\bany\[\]/, "code"],
  ["barrel", /^export \* from/m, "code"],
  ["silenced compiler", /@ts-(ignore|nocheck|expect-error)/, "text"],
  ["silenced linter, but for control characters in patterns", /deno-lint-ignore(?! no-control-regex$)/m, "text"],
  // A certificate is ordered once in two months, and the library would cost every command 0.15 s.
  ["import at run time, but of acme-client", /\bimport\((?!"acme-client"\))/, "code"],
  ["import from the network", /from "(https?|jsr|npm):/, "code"],
];

for (const [what, pattern, part] of NOWHERE) {
  Deno.test(`no ${what}`, () => {
    const found = SOURCES.filter((source) => pattern.test(source[part]));
    assert.deepEqual(found.map((source) => `${source.name}: ${pattern.exec(source[part])?.[0]}`), []);
  });
}

Deno.test("files and folders have names in snake case, and none that says nothing", () => {
  const empty = /^(utils?|helpers?|common|types?|core|lib|index|misc|shared|base|constants)$/;
  const wrong = SOURCES.flatMap(({ name }) => name.replace(/\.ts$/, "").split("/"))
    .filter((part) => !/^[a-z0-9]+(_[a-z0-9]+)*$/.test(part) || empty.test(part));
  assert.deepEqual(wrong, []);
});

const LONG = 300;
/** Files with more lines, and what would be lost by cutting them up. */
const JUSTIFIED: Readonly<Record<string, string>> = {
  "smtp/session.ts": "one state machine: every transition of a conversation can be read in one place",
  "queue/queue.ts": "one life of a message from 250 to gone; what could be said apart has been moved out",
  "send/conversation.ts": "one conversation with a server, step by step in the order in which it takes place",
};

Deno.test("files have at most 300 lines, but for those that say why", () => {
  const long = SOURCES.filter(({ text }) => text.trimEnd().split("\n").length > LONG).map(({ name }) => name);
  assert.deepEqual(long.sort(), Object.keys(JUSTIFIED).sort());
});

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

Deno.test("the reader of imports sees each kind of import, and none in comments", () => {
  const found = importsOf(
    "store/users.ts",
    codeOf(`
import type { A } from "./a.ts";
import { type B, type C } from "../smtp/b.ts";
import d, { type E } from "d-package";
import {
  f,
  type G,
} from "../log.ts";
import "h";
export type { I } from "./i.ts";
export { j } from "../../src/dns/j.ts";
// import { k } from "./k.ts";
/**
 * import { l } from "./l.ts";
 */
const text = 1; // import { m } from "./m.ts";
`),
  );
  assert.deepEqual(found.map(({ to, types }) => `${to} ${types}`), [
    "store/a.ts true",
    "smtp/b.ts true",
    "d-package false",
    "log.ts false",
    "h false",
    "store/i.ts true",
    "dns/j.ts false",
  ]);
});

Deno.test("all sources are read", () => {
  assert.ok(SOURCES.length > 100 && IMPORTS.length > 300);
  const names = new Set(SOURCES.map(({ name }) => name));
  assert.deepEqual(IMPORTS.filter((it) => isOwn(it) && !names.has(it.to)), []);
  // Every line that could be one is one.
  const lines = SOURCES.flatMap(({ code }) => code.match(/^(import|export)\b.*"[^"]+";$|^\} from "[^"]+";$/gm) ?? []);
  assert.equal(IMPORTS.length, lines.filter((line) => /\bfrom "|^import "/.test(line)).length);
});

/** The folder, or the file at the top. */
function placeOf(name: string): string {
  return name.split("/")[0] ?? "";
}

function isOwn({ to }: Import): boolean {
  return to.endsWith(".ts");
}

async function readSources(folder = SRC): Promise<Source[]> {
  const sources: Source[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) sources.push(...await readSources(new URL(`${name}/`, folder)));
    else if (name.endsWith(".ts")) {
      const path = new URL(name, folder), text = await Deno.readTextFile(path), code = codeOf(text);
      const full = path.pathname.slice(SRC.pathname.length);
      sources.push({ name: full, text, code, imports: importsOf(full, code) });
    }
  }
  return sources.sort((one, other) => one.name < other.name ? -1 : 1);
}

/** Formatted sources have comments at the beginning of lines, or behind code and a blank. */
function codeOf(text: string): string {
  return text.replace(/^\s*\/\*[^]*?\*\/|(^|\s)\/\/ .*$/gm, "");
}

function importsOf(from: string, code: string): Import[] {
  const found: Import[] = [];
  for (const [, type, clause = "", spec = ""] of code.matchAll(STATEMENT)) {
    const names = /\{([^}]*)\}/.exec(clause)?.[1]?.split(",").map((name) => name.trim()).filter((name) => name !== "");
    const onlyTypes = clause.startsWith("{") && (names ?? []).every((name) => name.startsWith("type "));
    found.push({ from, to: targetOf(from, spec), types: type !== undefined || onlyTypes });
  }
  return found;
}

function targetOf(from: string, spec: string): string {
  if (!spec.startsWith(".")) return spec;
  const path = new URL(spec, `file:///src/${from}`).pathname;
  return path.startsWith("/src/") ? path.slice("/src/".length) : path;
}
