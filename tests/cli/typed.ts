import type { Command, Surroundings } from "../../src/cli/arguments.ts";
import { run } from "../../src/cli/arguments.ts";
import type { Prompt } from "../../src/cli/prompt.ts";
import { PROGRAM } from "./runner.ts";

export interface Answered {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

export interface Typing {
  readonly commands?: readonly Command[];
  readonly password?: string;
  readonly confirm?: boolean;
  /** To one question after the other; an empty one takes what is proposed. */
  readonly answers?: readonly string[];
  /** What stands on standard input. */
  readonly piped?: string;
  readonly variables?: Readonly<Record<string, string>>;
  readonly colour?: boolean;
}

/** What a command line answers, in this process. */
export async function typed(line: readonly string[], typing: Typing = {}): Promise<Answered> {
  let out = "", error = "";
  const answers = [...typing.answers ?? []];
  const prompt: Prompt = {
    password: () => Promise.resolve(typing.password ?? "correct horse"),
    confirm: () => Promise.resolve(typing.confirm ?? false),
    ask: (_question, proposal) => Promise.resolve(answers.shift() || proposal),
    piped: () => Promise.resolve(typing.piped),
  };
  const surroundings: Surroundings = {
    out: (text) => out += text,
    error: (text) => error += text,
    variable: (name) => typing.variables?.[name],
    colour: typing.colour ?? false,
    prompt,
  };
  const code = await run({ ...PROGRAM, commands: typing.commands ?? PROGRAM.commands }, line, surroundings);
  return { code, out, error };
}

export interface Site {
  readonly folder: string;
  readonly config: string;
  /** A command line with `--config` of this site. */
  readonly type: (line: readonly string[], typing?: Typing) => Promise<Answered>;
}

/** A config and its store in a folder of their own, gone afterwards. */
export async function withSite(work: (site: Site) => Promise<void>, more = ""): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const config = `${folder}/config.toml`;
    await Deno.writeTextFile(
      config,
      `hostname = "mail.ours.test"\nstore = "store"\n\n[[listeners]]\naddress = "127.0.0.1:2525"\nkind = "mx"\n\n` +
        `${more}\n\n[[domains]]\nname = "ours.test"\n`,
    );
    await work({ folder, config, type: (line, typing) => typed(["--config", config, ...line], typing) });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
