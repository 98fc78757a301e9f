/** The manual as a man page (roff with the man macros), made of the commands themselves: nothing is said twice. */

import type { Argument, Command, Option, Program } from "./arguments.ts";
import { DEFAULT_CONFIG, DONE, FAILED, WRONG_USAGE } from "./arguments.ts";
import { VERSION } from "../version.ts";

/** What the program reads of the environment. */
export const VARIABLES: readonly (readonly [name: string, explain: string])[] = [
  ["MAILDEMON_CONFIG", "The configuration, when there is no --config."],
  ["MAILDEMON_TRACE", "Set to anything, errors also show where in the program they arose."],
  ["DENO_KV_ACCESS_TOKEN", "The token for the Deno KV server that the configuration names."],
  ["CREDENTIALS_DIRECTORY", "Set by systemd: the folder with the secrets that only root may read otherwise."],
  ["NO_COLOR", "Set to anything, nothing is coloured."],
];

/** What `init` and `service install` make. */
const FILES: readonly (readonly [path: string, explain: string])[] = [
  [DEFAULT_CONFIG, "The configuration; every key of it is explained in config.example.toml, which each release has."],
  ["/etc/maildemon/dkim/", "Keys that sign mail."],
  ["/etc/maildemon/environment", "DENO_KV_ACCESS_TOKEN for the service, where the store of people is on a server."],
  ["/etc/systemd/system/maildemon.service", "The service; /Library/LaunchDaemons/maildemon.plist on macOS."],
  [
    "/var/lib/maildemon/",
    "The store: people and hosts (kv.sqlite), the queue, mail that is kept, certificates, stories.",
  ],
];

const EXIT_CODES: readonly (readonly [code: number, explain: string])[] = [
  [DONE, "Done."],
  [FAILED, "Refused or failed; the reason is on standard error."],
  [WRONG_USAGE, "Wrong usage."],
];

/** Ends without a line end. */
export function manPage({ name, summary, commands }: Program, date: Date): string {
  const title = name.toUpperCase(), day = date.toISOString().slice(0, 10);
  return [
    `.TH ${title} 8 ${day} "${name} ${VERSION}" "System Manager's Manual"`,
    ".SH NAME",
    `${name} \\- ${text(summary)}`,
    ".SH SYNOPSIS",
    `.B ${name}`,
    "[\\fB\\-\\-config\\fR \\fIFILE\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
    ".SH DESCRIPTION",
    paragraph("What can be done is listed below. Each command also tells about itself with --help."),
    ".SH OPTIONS",
    ".TP",
    "\\fB\\-\\-config\\fR \\fIFILE\\fR",
    paragraph(`The configuration; else MAILDEMON_CONFIG, else ${DEFAULT_CONFIG}.`),
    ".SH COMMANDS",
    ...commands.flatMap((command) => sections(command, name, name)),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, explain]) => entry(String(code), explain)),
    ".SH ENVIRONMENT",
    ...VARIABLES.flatMap(([variable, explain]) => entry(`\\fB${variable}\\fR`, explain)),
    ".SH FILES",
    ...FILES.flatMap(([file, explain]) => entry(`\\fI${text(file)}\\fR`, explain)),
  ].join("\n");
}

/** One for each command that can be run, those below another one behind it. */
function sections(command: Command, before: string, program: string): string[] {
  const called = `${before} ${command.name}`;
  return [
    ...command.run === undefined ? [] : section(command, called, program),
    ...(command.subcommands ?? []).flatMap((subcommand) => sections(subcommand, called, program)),
  ];
}

function section(command: Command, called: string, program: string): string[] {
  const { arguments: args = [], options = [] } = command;
  const heading = [called, ...args.map(placeOf), ...options.length > 0 ? ["[OPTIONS]"] : []].join(" ");
  return [
    `.SS "${text(heading)}"`,
    paragraph(sentence(command.summary)),
    ...args.flatMap(({ name, explain }) => entry(`\\fI${text(name.toUpperCase())}\\fR`, explain)),
    ...options.flatMap((option) => entry(flag(option), explained(option))),
    ".PP",
    command.examples.length === 1 ? "Example:" : "Examples:",
    ".PP",
    ".EX",
    ...command.examples.map((example) => `  ${text(`${program} ${example}`)}`),
    ".EE",
  ];
}

function placeOf({ name, optional, many }: Argument): string {
  const place = `${name.toUpperCase()}${many ? "..." : ""}`;
  return optional ? `[${place}]` : place;
}

function flag({ name, value }: Option): string {
  return `\\fB${text(`--${name}`)}\\fR${value === undefined ? "" : ` \\fI${text(value)}\\fR`}`;
}

function explained({ explain, choices, many }: Option): string {
  const said = choices === undefined || choices.every((choice) => explain.includes(choice));
  const chosen = said ? explain : `${explain} (${choices.join(", ")})`;
  return many && !/several times/.test(chosen) ? `${chosen}; may be given several times` : chosen;
}

function entry(head: string, explain: string): string[] {
  return [".TP", head, paragraph(explain)];
}

/** The texts of commands begin small and end without a full stop. */
function sentence(words: string): string {
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`;
}

// What mandoc -Tlint wants of a source.
const WIDTH = 78;

/** Plain text as lines of roff. */
function paragraph(plain: string): string {
  const lines: string[] = [];
  for (const word of plain.split(/\s+/)) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= WIDTH) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map(text).join("\n");
}

/** Plain text for roff: a hyphen that can be copied, no escapes, and no line that begins like a request. */
function text(plain: string): string {
  return plain.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll('"', "\\(dq").replace(/^(?=[.'])/, "\\&");
}
