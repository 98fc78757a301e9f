/** `maildemon serve` in a process of its own, for tests that end it. */

import type { LocalServer } from "./local_server.ts";
import { until } from "./letters.ts";

export interface ServingProcess {
  /** Its ports by the kind of listener. */
  port(kind: string): number;
  /** At once, in the middle of whatever it does. Resolves when it is gone. */
  kill(): Promise<void>;
}

/** Starts it with the config of a prepared server, and waits until it listens. */
export async function serveApart(server: LocalServer): Promise<ServingProcess> {
  const main = new URL("../../src/main.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-all", main, "--config", server.configFile, "serve"],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let log = "", ended = false;
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of child.stderr) log += decoder.decode(bytes, { stream: true });
    ended = true;
  })();
  const kill = async () => {
    if (!ended) child.kill("SIGKILL");
    await reading;
    await child.status;
  };
  try {
    await until(() => ended || / started /.test(log), "the server to start", 20_000);
    if (ended) throw new Error(`the server did not start: ${log}`);
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    port(kind) {
      const found = new RegExp(` listening .*port=(\\d+) kind=${kind}$`, "m").exec(log)?.[1];
      if (found === undefined) throw new Error(`nothing of kind ${kind} listens: ${log}`);
      return Number(found);
    },
    kill,
  };
}
