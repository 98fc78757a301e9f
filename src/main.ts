/** maildemon: a mail server in one executable. */

import { alias } from "./cli/alias.ts";
import { run } from "./cli/arguments.ts";
import { check } from "./cli/check.ts";
import { dev } from "./cli/dev.ts";
import { dkim } from "./cli/dkim.ts";
import { host } from "./cli/host.ts";
import { queue } from "./cli/queue.ts";
import { send } from "./cli/send.ts";
import { serve } from "./cli/serve.ts";
import { tryOut } from "./cli/try.ts";
import { user } from "./cli/user.ts";
import { version } from "./cli/version.ts";
import { why } from "./cli/why.ts";

if (import.meta.main) {
  const program = {
    name: "maildemon",
    summary: "a mail server in one executable, one TOML file, one data folder",
    commands: [serve, dev, check, user, alias, host, queue, why, tryOut, send, dkim, version],
  };
  Deno.exit(await run(program, Deno.args));
}
