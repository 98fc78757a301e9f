import type { Command } from "./arguments.ts";
import { DONE, WrongUsage } from "./arguments.ts";
import { manPage } from "./man.ts";

export const help: Command = {
  name: "help",
  summary: "say how a command is used, or print the manual",
  examples: ["help user add", "help --man | man -l -", "help --man > /usr/local/share/man/man8/maildemon.8"],
  arguments: [{ name: "command", explain: "such as: user add", optional: true, many: true }],
  options: [{ name: "man", explain: "print all of it as a man page" }],
  async run(args, options, context) {
    const names = args.list("command");
    if (!options.has("man")) {
      demandKnown(names, context.program.commands);
      return await context.help(names);
    }
    if (names.length > 0) throw new WrongUsage("There is one man page for all commands: say help --man alone.");
    context.out(manPage(context.program, new Date()));
    return DONE;
  },
};

/** With a name that is not there, the command before it would answer. */
function demandKnown([name, ...more]: readonly string[], commands: readonly Command[]): void {
  if (name === undefined) return;
  const found = commands.find((command) => command.name === name);
  if (found === undefined) {
    const known = commands.map((command) => command.name).join(", ");
    throw new WrongUsage(
      `There is no command ${JSON.stringify(name)} here${known === "" ? "" : `; there are: ${known}`}.`,
    );
  }
  demandKnown(more, found.subcommands ?? []);
}
