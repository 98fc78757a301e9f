/** Other people's servers, to which ours delivers. */

import { join } from "node:path";
import { find, PYTHON } from "./programs.ts";

/** Milliseconds; they start in a few hundred. */
const START_WITHIN = 10_000;

/** A message as a server took it. */
export interface Taken {
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly hello: string;
  /** Parameters of MAIL. */
  readonly options: string;
  /** `TLSv1.3`; absent in clear. */
  readonly tls?: string;
  /** smtp-sink writes Unix lines, aiosmtpd what was on the wire; both unstuffed. */
  readonly bytes: Uint8Array;
}

export class Remote {
  private constructor(
    readonly folder: string,
    private readonly child: Deno.ChildProcess,
    private readonly read: (folder: string) => Promise<Taken[]>,
  ) {}

  /** Postfix's smtp-sink. `options`: see smtp-sink(1). */
  static async sink(address: string, port: number, ...options: readonly string[]): Promise<Remote> {
    const folder = await Deno.makeTempDir({ prefix: "smtp-sink-" });
    const asRoot = Deno.uid() === 0;
    // It refuses to run as root, and has to write there.
    if (asRoot) await Deno.chmod(folder, 0o777);
    return await Remote.#start(find("smtp-sink") ?? "smtp-sink", [
      ...asRoot ? ["-u", "nobody"] : [],
      ...["-h", "mx.sink.test", "-d", join(folder, "%s."), ...options, `${address}:${port}`, "64"],
    ], { address, port, folder, read: readSink });
  }

  /** aiosmtpd with STARTTLS. */
  static async aiosmtpd(address: string, port: number, pair: { certificate: string; key: string }): Promise<Remote> {
    const folder = await Deno.makeTempDir({ prefix: "aiosmtpd-" });
    const script = new URL("python/aiosmtpd_server.py", import.meta.url).pathname;
    const args = [script, address, String(port), folder, pair.certificate, pair.key];
    return await Remote.#start(PYTHON, args, { address, port, folder, read: readAiosmtpd });
  }

  static async #start(
    program: string,
    args: string[],
    { address, port, folder, read }: {
      address: string;
      port: number;
      folder: string;
      read: (folder: string) => Promise<Taken[]>;
    },
  ): Promise<Remote> {
    const child = new Deno.Command(program, { args, stdin: "piped", stdout: "null", stderr: "null" }).spawn();
    const remote = new Remote(folder, child, read);
    const deadline = performance.now() + START_WITHIN;
    for (;;) {
      try {
        (await Deno.connect({ hostname: address, port })).close();
        return remote;
      } catch (error) {
        if (performance.now() > deadline) {
          await remote.stop();
          throw new Error(`${program} does not listen on ${address}:${port}: ${error}`);
        }
        await new Promise((done) => setTimeout(done, 20));
      }
    }
  }

  /** What it has taken so far, in no order. */
  async taken(): Promise<Taken[]> {
    return await this.read(this.folder);
  }

  async stop(): Promise<void> {
    await this.child.stdin.close().catch(() => {});
    try {
      this.child.kill("SIGTERM");
    } catch { /* It has ended. */ }
    await this.child.status;
    await Deno.remove(this.folder, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** The fields above `Received` are smtp-sink's own, and so is the empty line at the end. */
async function readSink(folder: string): Promise<Taken[]> {
  const taken: Taken[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const bytes = await Deno.readFile(join(folder, name));
    const text = new TextDecoder().decode(bytes.subarray(0, 16384));
    const head = /^(?:X-[^\n]*\n)+Received: [^\n]*\n(?:\t[^\n]*\n){2}/.exec(text)?.[0];
    if (head === undefined || bytes.at(-1) !== 10) continue; // It is still being written.
    const values = (field: string) =>
      [...head.matchAll(new RegExp(`^${field}: (.*)$`, "gm"))].map(([, value = ""]) => value);
    const [mail = ""] = values("X-Mail-Args");
    taken.push({
      sender: /^<([^>]*)>/.exec(mail)?.[1] ?? "",
      options: mail.replace(/^<[^>]*> ?/, ""),
      recipients: values("X-Rcpt-Args").map((line) => /^<([^>]*)>/.exec(line)?.[1] ?? line),
      hello: values("X-Helo-Args")[0] ?? "",
      bytes: bytes.subarray(new TextEncoder().encode(head).length, -1),
    });
  }
  return taken;
}

async function readAiosmtpd(folder: string): Promise<Taken[]> {
  const taken: Taken[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".json")) continue;
    const said = JSON.parse(await Deno.readTextFile(join(folder, name)));
    taken.push({
      sender: said.from,
      recipients: said.to,
      hello: said.hello,
      options: said.options.join(" "),
      ...said.tls === null ? {} : { tls: said.tls },
      bytes: await Deno.readFile(join(folder, name.replace("json", "eml"))),
    });
  }
  return taken;
}
