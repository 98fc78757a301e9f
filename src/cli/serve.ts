import { loadConfig } from "../config.ts";
import { type Log, openLog } from "../log.ts";
import { Reloading } from "../reloading.ts";
import { openServer } from "../server.ts";
import type { Command } from "./arguments.ts";
import { DONE, FAILED } from "./arguments.ts";

/** What does not stop by itself is cut off, milliseconds. */
const STOP_WITHIN = 20_000;

export const serve: Command = {
  name: "serve",
  summary: "run the server in the foreground; SIGHUP reads the configuration anew",
  examples: ["serve", "--config ./config.toml serve"],
  async run(_args, _options, { configFile }) {
    // systemd.exec(5), Credentials: keys that belong to root and are for this process alone.
    const load = () => loadConfig(configFile, { credentials: Deno.env.get("CREDENTIALS_DIRECTORY") });
    const config = await load();
    let write = openLog(config.log);
    const log: Log = (...event) => write(...event);
    const stopped = untilSignal();
    // Service managers reload with it, and by default it ends a process at once, sessions and all.
    let reloading: Reloading | undefined;
    Deno.addSignalListener("SIGHUP", () => reloading?.ask());
    const server = await openServer(config, log);
    reloading = await Reloading.open(config, {
      server,
      load,
      applied: (config) => write = openLog(config.log),
      log,
    });
    log("info", "started", { hostname: config.hostname, store: config.store });
    log("info", "stopping", { signal: await stopped });
    // One that is under way may take as long as it likes; what it opens ends with the process.
    const inTime = await Promise.race([
      reloading.close().then(() => server.stop()).then(() => true),
      after(STOP_WITHIN),
    ]);
    log(inTime ? "info" : "warning", "stopped");
    return inTime ? DONE : FAILED;
  },
};

/** SIGTERM is how systemd stops us, SIGINT how a person does. A second signal finds no listener and ends at once. */
export function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    const listeners = (["SIGTERM", "SIGINT"] as const).map((signal) => [signal, () => settle(signal)] as const);
    const settle = (signal: string) => {
      for (const [name, listener] of listeners) Deno.removeSignalListener(name, listener);
      resolve(signal);
    };
    for (const [name, listener] of listeners) Deno.addSignalListener(name, listener);
  });
}

function after(milliseconds: number): Promise<false> {
  return new Promise((done) => Deno.unrefTimer(setTimeout(done, milliseconds, false)));
}
