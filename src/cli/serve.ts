import { loadConfig } from "../config.ts";
import { type Log, openLog } from "../log.ts";
import { within } from "../server/closing.ts";
import { Reloading, stampsOf } from "../server/reloading.ts";
import { openServer } from "../server/server.ts";
import type { Command } from "./arguments.ts";
import { DONE, FAILED } from "./arguments.ts";
import { demandOwnStore } from "./store_owner.ts";

/** What does not stop by itself is cut off, milliseconds. */
const STOP_WITHIN = 20_000;
/** For a reload that is under way when the server is to stop, milliseconds. */
const RELOAD_PATIENCE = 500;

export const serve: Command = {
  name: "serve",
  summary: "run the server in the foreground; SIGHUP reads the configuration anew",
  examples: ["serve", "--config ./config.toml serve"],
  async run(_args, _options, { configFile }) {
    // systemd.exec(5), Credentials: keys that belong to root and are for this process alone.
    const load = () => loadConfig(configFile, { credentials: Deno.env.get("CREDENTIALS_DIRECTORY") });
    // Service managers reload with it, and by default it ends a process at once, sessions and all. During the start it
    // counts afterwards.
    let isAsked = false, hungUp = (): void => void (isAsked = true);
    Deno.addSignalListener("SIGHUP", () => hungUp());
    const config = await load(), stamps = await stampsOf(config);
    await demandOwnStore(config.store);
    let write = openLog(config.log);
    const log: Log = (...event) => write(...event);
    const stopped = untilSignal();
    const server = await openServer(config, log);
    const reloading = new Reloading(config, {
      server,
      stamps,
      load,
      applied: (config) => write = openLog(config.log),
      log,
    });
    hungUp = () => reloading.ask();
    if (isAsked) hungUp();
    log("info", "started", { hostname: config.hostname, store: config.store });
    log("info", "stopping", { signal: await stopped });
    // A reload that takes longer is refused by the server when it comes to its end.
    const inTime = await Promise.race([
      within(RELOAD_PATIENCE, reloading.close()).then(() => server.stop()).then(() => true),
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
