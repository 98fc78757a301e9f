import { loadConfig } from "../config.ts";
import { openLog } from "../log.ts";
import { openServer } from "../server.ts";
import type { Command } from "./arguments.ts";
import { DONE, FAILED } from "./arguments.ts";

/** What does not stop by itself is cut off, milliseconds. */
const STOP_WITHIN = 20_000;

export const serve: Command = {
  name: "serve",
  summary: "run the server in the foreground",
  examples: ["serve", "--config ./config.toml serve"],
  async run(_args, _options, { configFile }) {
    const config = await loadConfig(configFile);
    const log = openLog(config.log);
    const stopped = untilSignal();
    // Many service managers reload with it, and by default it ends a process at once, sessions and all.
    Deno.addSignalListener("SIGHUP", () => log("warning", "reload-not-possible", { todo: "restart" }));
    const server = await openServer(config, log);
    log("info", "started", { hostname: config.hostname, store: config.store });
    log("info", "stopping", { signal: await stopped });
    const inTime = await Promise.race([server.stop().then(() => true), after(STOP_WITHIN)]);
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
