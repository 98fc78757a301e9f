/**
 * What a command is, and how one is chosen by what was typed. The only file that knows commander: commands are plain
 * data with a function in it.
 */

import {
  Argument as CommanderArgument,
  Command as CommanderCommand,
  CommanderError,
  Option as CommanderOption,
} from "commander";
import { reasonOf } from "../log.ts";
import type { Prompt } from "./prompt.ts";
import { openPrompt } from "./prompt.ts";
import { printableLines } from "./table.ts";

export interface Command {
  readonly name: string;
  /** One line, in the imperative, without a full stop. */
  readonly summary: string;
  /** Whole lines without the name of the program. At least one. */
  readonly examples: readonly [string, ...string[]];
  readonly arguments?: readonly Argument[];
  readonly options?: readonly Option[];
  readonly subcommands?: readonly Command[];
  /** Absent when it only has subcommands. */
  readonly run?: (args: Given, options: Given, context: Context) => Promise<number>;
}

export interface Argument {
  readonly name: string;
  readonly explain: string;
  readonly optional?: true;
  /** Takes all that follow; at least one unless it is optional. Only for the last argument. */
  readonly many?: true;
}

export interface Option {
  /** Without the dashes. */
  readonly name: string;
  readonly explain: string;
  /** What follows it, in capitals: `ADDRESS`. Absent: it is a flag. */
  readonly value?: string;
  /** May be given several times. */
  readonly many?: true;
  readonly choices?: readonly string[];
}

export const JSON_OPTION: Option = { name: "json", explain: "print JSON instead of a table" };
export const YES_OPTION: Option = { name: "yes", explain: "do it without asking" };

/** Exit codes: what a script can rely on. */
export const DONE = 0, FAILED = 1, WRONG_USAGE = 2;

/** What was typed, by name. */
export class Given {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  /** One that has to be there. */
  text(name: string): string {
    const value = this.maybe(name);
    if (value === undefined) throw new WrongUsage(`${name} is missing.`);
    return value;
  }

  maybe(name: string): string | undefined {
    return this.#values.get(name)?.[0];
  }

  list(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** True when it was given, as a flag or with a value. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  number(name: string): number | undefined {
    const text = this.maybe(name);
    if (text === undefined) return undefined;
    if (!/^-?\d+(\.\d+)?$/.test(text)) throw new WrongUsage(`--${name} must be a number, not ${JSON.stringify(text)}.`);
    return Number(text);
  }
}

/** What a command has to do with the world. */
export interface Context {
  /** From --config, MAILDEMON_CONFIG, or the default. */
  readonly configFile: string;
  /** The result, to standard output; a line end is put behind it. */
  readonly out: (text: string) => void;
  /** What a person wants to know besides, to standard error; likewise. */
  readonly note: (text: string) => void;
  /** Whether `out` may be coloured. */
  readonly colour: boolean;
  readonly prompt: Prompt;
  readonly program: Program;
  /** Prints what --help prints behind these names; none of them: that of the program. */
  readonly help: (names: readonly string[]) => Promise<number>;
}

/** Thrown by a command when what was typed makes no sense: exit code 2. */
export class WrongUsage extends Error {
  override readonly name = "WrongUsage";
}

export interface Program {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly Command[];
}

/** The streams and variables around a command; tests give their own. */
export interface Surroundings {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  readonly variable: (name: string) => string | undefined;
  readonly colour: boolean;
  readonly prompt: Prompt;
}

export const DEFAULT_CONFIG = "/etc/maildemon/config.toml";

/** Runs the command that was typed. Never rejects; the number is the exit code. */
export async function run(
  program: Program,
  typed: readonly string[],
  surroundings: Surroundings = terminal(),
): Promise<number> {
  const { error: say, variable } = surroundings;
  let code = DONE;
  try {
    const root = build(program, surroundings, (exit) => code = exit);
    await root.parseAsync(typed, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : WRONG_USAGE;
    // `maildemon user list | head` is no failure.
    if (error instanceof Deno.errors.BrokenPipe) return DONE;
    say(`${printableLines(reasonOf(error))}\n`);
    if (variable("MAILDEMON_TRACE") && error instanceof Error) say(`${error.stack}\n`);
    return error instanceof WrongUsage ? WRONG_USAGE : FAILED;
  }
}

function build(program: Program, surroundings: Surroundings, exit: (code: number) => void): CommanderCommand {
  const { out, error, variable } = surroundings;
  const root = new CommanderCommand(program.name)
    .description(program.summary)
    .addOption(
      new CommanderOption("--config <FILE>", `configuration; else MAILDEMON_CONFIG, else ${DEFAULT_CONFIG}`),
    );
  const context = (): Context => ({
    configFile: configFile(root, variable),
    out: (text) => out(`${text}\n`),
    // It may quote what a server said that is somebody else.
    note: (text) => error(`${printableLines(text)}\n`),
    colour: surroundings.colour,
    prompt: surroundings.prompt,
    program,
    help: (names) => run(program, [...names, "--help"], surroundings),
  });
  // Before any subcommand is made: they take over these settings. The command `help` is one of our own (help.ts).
  root.helpCommand(false).exitOverride().configureOutput({
    writeOut: out,
    // It quotes what was typed: without control characters, and without what stands behind an unknown `--password=`.
    writeErr: (text) => error(printableLines(text.replace(/^error: /, "").replace(UNKNOWN_WITH_VALUE, "$1'"))),
  }).showHelpAfterError(`See "${program.name} --help", or --help behind a command.`);
  for (const command of program.commands) add(root, command, program.name, context, exit);
  root.addHelpText("after", examplesOf(program.commands.flatMap(({ examples }) => examples.slice(0, 1)), program.name));
  return root;
}

const UNKNOWN_WITH_VALUE = /^(unknown option '[^=]*)=[^]*?'(?=\n|$)/;

function configFile(root: CommanderCommand, variable: Surroundings["variable"]): string {
  const { config } = root.opts<{ config?: string }>();
  return config ?? (variable("MAILDEMON_CONFIG") || DEFAULT_CONFIG);
}

function add(
  parent: CommanderCommand,
  command: Command,
  called: string,
  context: () => Context,
  exit: (code: number) => void,
): void {
  const made = parent.command(command.name).description(command.summary).summary(command.summary);
  // Counted below: commander's own complaint would repeat what may be a password that was typed in the wrong place.
  made.allowExcessArguments(command.run !== undefined);
  for (const argument of command.arguments ?? []) {
    const name = `${argument.name}${argument.many ? "..." : ""}`;
    made.addArgument(new CommanderArgument(argument.optional ? `[${name}]` : `<${name}>`, argument.explain));
  }
  const options = (command.options ?? []).map((option) => [option, asCommander(option)] as const);
  for (const [, option] of options) made.addOption(option);
  made.addHelpText("after", examplesOf(command.examples, called.split(" ")[0] ?? called));
  for (const subcommand of command.subcommands ?? []) {
    add(made, subcommand, `${called} ${command.name}`, context, exit);
  }
  const { run } = command;
  if (run === undefined) return;
  made.action(async () => {
    const most = command.arguments?.at(-1)?.many ? Infinity : command.arguments?.length ?? 0;
    if (made.args.length > most) {
      throw new WrongUsage(
        `${called} ${command.name} takes ${most} argument${most === 1 ? "" : "s"}, not ${made.args.length}.`,
      );
    }
    const values = made.opts<Record<string, unknown>>();
    const args = new Map<string, readonly string[]>();
    for (const [at, { name }] of (command.arguments ?? []).entries()) put(args, name, made.processedArgs[at]);
    const given = new Map<string, readonly string[]>();
    for (const [{ name }, option] of options) put(given, name, values[option.attributeName()]);
    exit(await run(new Given(args), new Given(given), context()));
  });
}

function asCommander(option: Option): CommanderOption {
  const flags = option.value === undefined ? `--${option.name}` : `--${option.name} <${option.value}>`;
  const made = new CommanderOption(flags, option.explain);
  // Else `--no-x` is for commander the same option as `--x`, and each of them looks as if both had been given.
  made.negate = false;
  if (option.choices !== undefined) made.choices(option.choices);
  // Not commander's `<value...>`, which would swallow the arguments behind it.
  if (option.many) made.argParser<string[]>((value, before) => [...before ?? [], value]);
  return made;
}

function put(given: Map<string, readonly string[]>, name: string, value: unknown): void {
  if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) return;
  given.set(name, Array.isArray(value) ? value.map(String) : value === true ? [] : [String(value)]);
}

function examplesOf(examples: readonly string[], program: string): string {
  const heading = examples.length === 1 ? "Example:" : "Examples:";
  return `\n${heading}\n${examples.map((example) => `  ${program} ${example}`).join("\n")}`;
}

function terminal(): Surroundings {
  const error = (text: string) => writeAll(Deno.stderr, text);
  return {
    out: (text) => writeAll(Deno.stdout, text),
    error,
    variable: (name) => Deno.env.get(name),
    colour: Deno.stdout.isTerminal() && !Deno.noColor,
    prompt: openPrompt(Deno.stdin, error),
  };
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let left = new TextEncoder().encode(text);
  while (left.length > 0) left = left.subarray(stream.writeSync(left));
}
