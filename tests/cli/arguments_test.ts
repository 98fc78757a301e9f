import assert from "node:assert/strict";
import type { Command, Context, Given } from "../../src/cli/arguments.ts";
import { WrongUsage } from "../../src/cli/arguments.ts";
import { Refused } from "../../src/store/people.ts";
import { PROGRAM } from "./runner.ts";
import { typed } from "./typed.ts";

interface Seen {
  readonly args: Given;
  readonly options: Given;
  readonly context: Context;
}

function probe(seen: Seen[], outcome: () => Promise<number> = () => Promise.resolve(0)): Command {
  return {
    name: "probe",
    summary: "see what was typed",
    examples: ["probe A B"],
    arguments: [{ name: "first", explain: "one" }, { name: "rest", explain: "more", optional: true, many: true }],
    options: [
      { name: "flag", explain: "a flag" },
      { name: "some-value", value: "VALUE", explain: "a value" },
      { name: "each", value: "VALUE", many: true, explain: "several" },
      { name: "format", value: "FORMAT", choices: ["table", "zone"], explain: "one of two" },
    ],
    run(args, options, context) {
      seen.push({ args, options, context });
      return outcome();
    },
  };
}

Deno.test("a command gets its arguments and options by name", async () => {
  const seen: Seen[] = [];
  const line = ["probe", "a", "--each", "1", "b", "--some-value", "v", "--each", "2", "--flag", "--", "--c"];
  assert.deepEqual(await typed(line, { commands: [probe(seen)] }), { code: 0, out: "", error: "" });
  const { args, options } = seen[0]!;
  assert.equal(args.text("first"), "a");
  assert.deepEqual(args.list("rest"), ["b", "--c"]);
  assert.equal(options.maybe("some-value"), "v");
  assert.deepEqual(options.list("each"), ["1", "2"]);
  assert.deepEqual([options.has("flag"), options.has("format")], [true, false]);
  assert.throws(() => options.number("some-value"), WrongUsage);
});

Deno.test("what was typed wrongly is one thing said on standard error, with exit code 2 and a suggestion", async () => {
  const table: readonly [string[], RegExp][] = [
    [["prob", "a"], /unknown command 'prob'\n\(Did you mean probe\?\)/],
    [["probe", "a", "--falg"], /unknown option '--falg'\n\(Did you mean --flag\?\)/],
    [["probe"], /missing required argument 'first'/],
    [["plain", "too", "much"], /maildemon plain takes 0 arguments, not 2\./],
    [["probe", "a", "--some-value"], /argument missing/],
    [["probe", "a", "--format", "xml"], /Allowed choices are table, zone/],
    [["--confg", "x", "probe", "a"], /Did you mean --config/],
  ];
  for (const [line, reason] of table) {
    const seen: Seen[] = [];
    const plain: Command = { name: "plain", summary: "nothing", examples: ["plain"], run: () => Promise.resolve(0) };
    const { code, out, error } = await typed(line, { commands: [probe(seen), plain] });
    assert.deepEqual([code, out, seen.length], [2, "", 0], line.join(" "));
    assert.match(error, reason);
  }
});

Deno.test("no command at all shows the help, as wrong usage", async () => {
  const { code, out, error } = await typed([]);
  assert.deepEqual([code, out], [2, ""]);
  assert.match(error, /Usage: maildemon/);
});

Deno.test("every command has a summary and, with --help, an example that begins with it", async () => {
  async function visit(command: Command, path: readonly string[]): Promise<void> {
    const { code, out, error } = await typed([...path, "--help"]);
    assert.deepEqual([code, error], [0, ""]);
    assert.match(out, /\nExamples?:\n {2}maildemon /);
    assert(command.examples.some((example) => example.includes(path.join(" "))), path.join(" "));
    assert.match(command.summary, /^[a-z].*[^.]$/);
    for (const subcommand of command.subcommands ?? []) await visit(subcommand, [...path, subcommand.name]);
  }
  for (const command of PROGRAM.commands) await visit(command, [command.name]);
  const { code, out } = await typed(["--help"]);
  assert.equal(code, 0);
  for (const { name } of PROGRAM.commands) assert(out.includes(`  maildemon ${name}`) || out.includes(name));
});

Deno.test("the config is the one of --config wherever it stands, else of the variable, else the default", async () => {
  const table: readonly [string[], Record<string, string>, string][] = [
    [["--config", "a.toml", "probe", "x"], { MAILDEMON_CONFIG: "b.toml" }, "a.toml"],
    [["probe", "x", "--config", "a.toml"], {}, "a.toml"],
    [["probe", "x"], { MAILDEMON_CONFIG: "b.toml" }, "b.toml"],
    [["probe", "x"], { MAILDEMON_CONFIG: "" }, "/etc/maildemon/config.toml"],
  ];
  for (const [line, variables, file] of table) {
    const seen: Seen[] = [];
    await typed(line, { commands: [probe(seen)], variables });
    assert.equal(seen[0]?.context.configFile, file);
  }
});

Deno.test("a failure is its sentence and exit code 1; the trace comes only when asked for", async () => {
  const refusing = probe([], () => Promise.reject(new Refused("It may not be.")));
  assert.deepEqual(await typed(["probe", "x"], { commands: [refusing] }), {
    code: 1,
    out: "",
    error: "It may not be.\n",
  });
  const { error } = await typed(["probe", "x"], { commands: [refusing], variables: { MAILDEMON_TRACE: "1" } });
  assert.match(error, /^It may not be\.\nRefused: It may not be\.\n {4}at /);
  const wrong = probe([], () => Promise.reject(new WrongUsage("Not so.")));
  assert.equal((await typed(["probe", "x"], { commands: [wrong] })).code, 2);
  const three = probe([], () => Promise.resolve(1));
  assert.equal((await typed(["probe", "x"], { commands: [three] })).code, 1);
});

Deno.test("control characters in what was typed or thrown do not reach the terminal", async () => {
  const evil = probe([], () => Promise.reject(new Error("bad \x1b[31m\u202e name")));
  assert.equal((await typed(["probe", "x"], { commands: [evil] })).error, "bad \\x1b[31m\\u{202e} name\n");
  assert(!(await typed(["\x1b[31m"])).error.includes("\x1b"));
});
