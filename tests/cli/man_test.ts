import assert from "node:assert/strict";
import type { Command } from "../../src/cli/arguments.ts";
import { help } from "../../src/cli/help.ts";
import { manPage, VARIABLES } from "../../src/cli/man.ts";
import { interop, run } from "../interoperability/programs.ts";
import { typed } from "./typed.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;

async function maildemon(...args: string[]): Promise<string> {
  const { code, out, error } = await run(Deno.execPath(), [
    "run",
    "--quiet",
    "--no-check",
    "--allow-all",
    MAIN,
    ...args,
  ]);
  assert.equal(code, 0, error);
  return out;
}

interop(
  "the man page has every command of the program, and mandoc finds nothing wrong with it",
  ["mandoc"],
  async () => {
    const page = await maildemon("help", "--man");
    assert.deepEqual(await run("mandoc", ["-Tlint", "-Wall"], { input: page }), { code: 0, out: "", error: "" });

    // A bare one is printed as a hyphen that no shell knows.
    for (const line of page.split("\n")) if (!line.startsWith(".TH")) assert.doesNotMatch(line, /(?<!\\)-/);

    const listed = /\nCommands:\n([^]*?)\n\n/.exec(await maildemon("help"))?.[1] ?? "";
    const commands = [...listed.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name);
    assert.ok(commands.includes("serve") && commands.includes("help"), listed);
    const described = [...page.matchAll(/^\.SS "maildemon ([a-z]+)/gm)].map(([, name]) => name);
    assert.deepEqual([...new Set(described)], commands);
  },
);

interop("what a command says stands in the man page as it is, whatever roff would make of it", ["mandoc"], async () => {
  const odd: Command = {
    name: "odd",
    summary: `say "\\fB" and .TH`,
    examples: ["odd --way 'a\\nb'"],
    arguments: [{ name: "file", explain: "'quoted', then a word of " + "long ".repeat(20) + ".EX that ends a line" }],
    options: [{ name: "way", value: "HOW", choices: ["up", "down"], many: true, explain: ".B which way" }],
    run: () => Promise.resolve(0),
  };
  const page = manPage({ name: "program", summary: "a summary", commands: [odd] }, new Date(0));
  const { out, error } = await run("mandoc", ["-Tlocale", "-Wall"], { input: page });
  assert.equal(error, "");
  // Overstruck letters are how bold and underlined ones are printed.
  // deno-lint-ignore no-control-regex
  const text = out.replaceAll(/.\x08/g, "").replaceAll(/\s+/g, " ");
  for (
    const wanted of [
      `Say "\\fB" and .TH.`,
      "program odd FILE [OPTIONS]",
      "FILE 'quoted', then a word of long long",
      ".EX that ends a line",
      "--way HOW .B which way (up, down); may be given several times",
      "program odd --way 'a\\nb'",
    ]
  ) assert.ok(text.includes(wanted), `${wanted}\nis not in\n${text}`);
});

Deno.test("help says what --help says, and does not take one name for another", async () => {
  const commands = [help, {
    name: "outer",
    summary: "outer",
    examples: ["outer inner"],
    subcommands: [plain("inner")],
  }];
  const type = (...line: string[]) => typed(line, { commands: commands as Command[] });
  assert.deepEqual(await type("help"), await type("--help"));
  assert.deepEqual(await type("help", "outer", "inner"), await type("outer", "inner", "--help"));
  for (
    const [line, reason] of [
      [["help", "inner"], /no command "inner" here; there are: help, outer\./],
      [["help", "outer", "outer"], /no command "outer" here; there are: inner\./],
      [["help", "outer", "inner", "x"], /no command "x" here\./],
      [["help", "outer", "--man"], /say help --man alone/],
    ] as const
  ) {
    const { code, out, error } = await type(...line);
    assert.deepEqual([code, out], [2, ""], line.join(" "));
    assert.match(error, reason);
  }
});

Deno.test("the executable may read the variables that the man page names, and no others", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  const allowed = /--allow-env=(\S+)/.exec(tasks["compile:as"])?.[1]?.split(",") ?? [];
  // Deno itself looks at this one.
  assert.deepEqual([...allowed, "NO_COLOR"].sort(), VARIABLES.map(([name]) => name).sort());
});

function plain(name: string): Command {
  return { name, summary: name, examples: [name], run: () => Promise.resolve(0) };
}
