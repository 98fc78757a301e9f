/** maildemon: a mail server in one executable. */

import { alias } from "./cli/alias.ts";
import { run } from "./cli/arguments.ts";
import { backup } from "./cli/backup.ts";
import { check } from "./cli/check.ts";
import { dev } from "./cli/dev.ts";
import { dkim } from "./cli/dkim.ts";
import { dns } from "./cli/dns.ts";
import { doctor } from "./cli/doctor.ts";
import { help } from "./cli/help.ts";
import { host } from "./cli/host.ts";
import { init } from "./cli/init.ts";
import { queue } from "./cli/queue.ts";
import { restore } from "./cli/restore.ts";
import { send } from "./cli/send.ts";
import { serve } from "./cli/serve.ts";
import { service } from "./cli/service.ts";
import { tryOut } from "./cli/try.ts";
import { user } from "./cli/user.ts";
import { verify } from "./cli/verify.ts";
import { version } from "./cli/version.ts";
import { why } from "./cli/why.ts";

if (import.meta.main) {
  const program = {
    name: "maildemon",
    summary: "a mail server in one executable, one TOML file, one data folder",
    commands: [
      serve,
      dev,
      init,
      check,
      user,
      alias,
      host,
      queue,
      why,
      tryOut,
      send,
      dkim,
      dns,
      doctor,
      service,
      backup,
      restore,
      verify,
      help,
      version,
    ],
  };
  Deno.exit(await run(program, Deno.args));
}
