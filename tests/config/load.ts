/** `load.ts FILE CREDENTIALS`: what becomes of a configuration for a process that may not read everything. */

import { ConfigError, loadConfig } from "../../src/config.ts";

const [file = "", credentials] = Deno.args;
try {
  console.log(JSON.stringify([...(await loadConfig(file, { credentials })).secrets.values()]));
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  console.log(error.message);
}
