/** The commands of this folder alone, as a program: `deno run … tests/cli/runner.ts ARGS…`. */

import { alias } from "../../src/cli/alias.ts";
import type { Program } from "../../src/cli/arguments.ts";
import { run } from "../../src/cli/arguments.ts";
import { check } from "../../src/cli/check.ts";
import { dkim } from "../../src/cli/dkim.ts";
import { user } from "../../src/cli/user.ts";
import { version } from "../../src/cli/version.ts";

export const PROGRAM: Program = {
  name: "maildemon",
  summary: "a mail server",
  commands: [check, user, alias, dkim, version],
};

if (import.meta.main) Deno.exit(await run(PROGRAM, Deno.args));
