import { ConfigError, loadConfig, reportProblems } from "../config.ts";
import type { Command } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION } from "./arguments.ts";
import { formatJson, printableLines } from "./table.ts";

export const check: Command = {
  name: "check",
  summary: "check the configuration",
  examples: ["check", "--config ./config.toml check"],
  options: [JSON_OPTION],
  async run(_args, options, { configFile, out, note }) {
    try {
      const { warnings } = await loadConfig(configFile);
      if (options.has("json")) out(formatJson({ file: configFile, ok: true, errors: [], warnings }));
      else {
        if (warnings.length > 0) note(`${printableLines(reportProblems(warnings))}`);
        out(`${configFile}: ok`);
      }
      return DONE;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (options.has("json")) out(formatJson({ file: configFile, ok: false, errors: error.problems, warnings: [] }));
      else note(printableLines(error.message));
      return FAILED;
    }
  },
};
