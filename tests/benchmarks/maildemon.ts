/** A maildemon in a process of its own, on a store of its own, for ann@dev.test and whoever else. */

import { join } from "node:path";
import type { Peer } from "./postfix.ts";

export interface MaildemonSettings {
  readonly port: number;
  readonly statusPort: number;
  /** `[checks]` and what else is to stand in the config. */
  readonly more: string;
}

/** Milliseconds until it must listen. */
const START_WITHIN = 20_000;
const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;

/** Throws what `maildemon check` says of the config when it is not taken. PROFILE=FOLDER writes a V8 profile there. */
export async function startMaildemon(folder: string, settings: MaildemonSettings): Promise<Peer> {
  const store = join(folder, "store"), file = join(folder, "config.toml");
  await Deno.writeTextFile(file, configText(store, settings));
  await command(file, ["check"]);
  await command(file, ["user", "add", "ann@dev.test"], "benchmark\n");
  const server = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", ...profile(), MAIN, "--config", file, "serve"],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const stop = async () => {
    server.kill("SIGTERM");
    await server.status;
  };
  const status = `http://127.0.0.1:${settings.statusPort}`;
  if (!await ready(`${status}/readyz`)) {
    await stop();
    throw new Error(`maildemon does not answer ${status}/readyz within ${START_WITHIN} ms.`);
  }
  return {
    name: "maildemon",
    port: settings.port,
    processes: [server.pid],
    maildir: join(store, "mail", "dev.test", "ann", "new"),
    async delivered() {
      const text = await (await fetch(`${status}/metrics`)).text();
      return Number(/event="recipient-delivered"} (\d+)/.exec(text)?.[1] ?? 0);
    },
    stop,
  };
}

function configText(store: string, { port, statusPort, more }: MaildemonSettings): string {
  return `hostname = "mail.dev.test"
store = "${store}"
[[domains]]
name = "dev.test"
catch_all = "ann@dev.test"
[[listeners]]
address = "127.0.0.1:${port}"
kind = "mx"
[limits]
max_messages_per_session = 1000000
[status]
listen = "127.0.0.1:${statusPort}"
[log]
level = "info"
${more}`;
}

async function command(file: string, args: readonly string[], input = ""): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", MAIN, "--config", file, ...args],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  const { success, stderr } = await child.output();
  await written;
  if (!success) throw new Error(`maildemon ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

async function ready(url: string): Promise<boolean> {
  for (const deadline = performance.now() + START_WITHIN; performance.now() < deadline;) {
    const up = await fetch(url).then((answer) => answer.text()).catch(() => "");
    if (up !== "") return true;
    await new Promise((done) => setTimeout(done, 100));
  }
  return false;
}

function profile(): string[] {
  const folder = Deno.env.get("PROFILE");
  return folder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${folder}`];
}
