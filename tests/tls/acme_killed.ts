/** A server that is killed when it has got its certificate and not yet written it. */

import { silent } from "../../src/log.ts";
import { acmeAccountKey } from "../../src/store/acme_accounts.ts";
import { openKv } from "../../src/store/kv.ts";
import { Acme } from "../../src/tls/acme.ts";
import { HURRY } from "./acme_world.ts";

const settings = JSON.parse(Deno.env.get("ACME") ?? "");
const kv = await openKv(settings);
const acme = await Acme.open(settings, {
  accountKey: (directory) => acmeAccountKey(kv, directory),
  renewed: () => Deno.kill(Deno.pid, "SIGKILL"),
  log: silent,
  pace: HURRY,
});
acme.start();
