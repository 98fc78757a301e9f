import type { Command } from "./arguments.ts";
import { DONE, JSON_OPTION } from "./arguments.ts";
import { VERSION } from "../version.ts";
import { formatJson } from "./table.ts";

export const version: Command = {
  name: "version",
  summary: "print the version",
  examples: ["version", "version --json"],
  options: [JSON_OPTION],
  run(_args, options, context) {
    const build = `${Deno.build.target} ${Deno.build.standalone ? "executable" : "source"}`;
    context.out(
      options.has("json")
        ? formatJson({ version: VERSION, deno: Deno.version.deno, build })
        : `maildemon ${VERSION}\ndeno ${Deno.version.deno}\nbuild ${build}`,
    );
    return Promise.resolve(DONE);
  },
};
