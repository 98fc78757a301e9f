/**
 * The program itself, as a child process with the permissions that `deno task start` gives it. Nothing of it runs in
 * the process of the tests, so what is seen of it is what anybody sees: its ports, its files, its log, its exit code.
 */

import project from "../../deno.json" with { type: "json" };

const ROOT = new URL("../../", import.meta.url);
/** Milliseconds: to listen, and to end when told so (the server's own deadline is 20 s). */
const START_WITHIN = 20_000, STOP_WITHIN = 25_000;

export interface Exit {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  /** From the signal to the end, milliseconds. */
  readonly took: number;
}

export class RunningServer {
  /** Lines of the log, from all starts. */
  readonly log: string[] = [];
  readonly #config: string;
  #child: Deno.ChildProcess;
  #reading: Promise<void>;
  #ended = false;
  #from = 0;

  private constructor(config: string) {
    this.#config = config;
    this.#child = this.#spawn();
    this.#reading = this.#read(this.#child);
  }

  /** `config`: the file. Resolves when all listeners listen; rejects with the log when it ends before. */
  static async start(config: string): Promise<RunningServer> {
    const server = RunningServer.begin(config);
    await server.started();
    return server;
  }

  /** The same, still on its way. */
  static begin(config: string): RunningServer {
    return new RunningServer(config);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The ports of this kind, in the order of the config. */
  ports(kind: "mx" | "submission" | "submissions"): readonly number[] {
    return this.log.slice(this.#from).map((line) => /\blistening host=\S+ port=(\d+) kind=(\S+)/.exec(line))
      .filter((match) => match?.[2] === kind).map((match) => Number(match?.[1]));
  }

  /** The first port of this kind. */
  port(kind: "mx" | "submission" | "submissions"): number {
    const [port] = this.ports(kind);
    if (port === undefined) throw new Error(`the server has no listener of kind ${kind}\n${this.log.join("\n")}`);
    return port;
  }

  /** Ends it with SIGTERM, as systemd does. Kills it and rejects when it takes longer than it may. */
  async stop(): Promise<Exit> {
    const began = performance.now();
    if (!this.#ended) this.#child.kill("SIGTERM");
    const late = setTimeout(() => this.#child.kill("SIGKILL"), STOP_WITHIN);
    const { code, signal } = await this.#end();
    clearTimeout(late);
    const took = performance.now() - began;
    if (signal === "SIGKILL") throw new Error(`the server did not stop within ${took} ms\n${this.log.join("\n")}`);
    return { code, signal, took };
  }

  /** Ends it at once, as a power cut does. */
  async kill(): Promise<void> {
    if (!this.#ended) this.#child.kill("SIGKILL");
    await this.#end();
  }

  /** Once more on the same config, after `stop` or `kill`. Ports that were free ones are new. */
  async restart(): Promise<void> {
    this.#from = this.log.length;
    this.#ended = false;
    this.#child = this.#spawn();
    this.#reading = this.#read(this.#child);
    await this.started();
  }

  #spawn(): Deno.ChildProcess {
    return new Deno.Command(Deno.execPath(), {
      args: ["run", ...permissions(), script(), "--config", this.#config, "serve"],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
  }

  async #read(child: Deno.ChildProcess): Promise<void> {
    let rest = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.log.push(...lines);
    }
    if (rest !== "") this.log.push(rest);
    this.#ended = true;
  }

  async started(): Promise<void> {
    const deadline = performance.now() + START_WITHIN;
    while (!this.log.slice(this.#from).some((line) => / info started /.test(line))) {
      if (this.#ended || performance.now() > deadline) {
        await this.kill();
        throw new Error(`the server did not start\n${this.log.slice(this.#from).join("\n")}`);
      }
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  async #end(): Promise<Deno.CommandStatus> {
    const status = await this.#child.status;
    await this.#reading;
    return status;
  }
}

export interface Answer {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** One command: `maildemon --config FILE ARGS…`. */
export async function maildemon(config: string, args: readonly string[], input = ""): Promise<Answer> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions(), script(), "--config", config, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await written;
  return { code, out: new TextDecoder().decode(stdout), error: new TextDecoder().decode(stderr) };
}

function script(): string {
  return new URL("src/main.ts", ROOT).pathname;
}

/** What stands between `deno run` and the script in the task `start`. */
function permissions(): string[] {
  return project.tasks.start.split(" ").filter((word) => word.startsWith("--"));
}
