/** How long a NOOP takes in a session that nobody disturbs, seen from a process of its own. */

export interface NoopTimes {
  readonly count: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export class NoopProbe {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";

  private constructor(port: number, ip: string) {
    const script = new URL("noop_caller.ts", import.meta.url).pathname;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "--allow-all", script, String(port), ip],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** `ip`: where it seems to call from. Resolves when it has measured something. */
  static async start(port: number, ip: string): Promise<NoopProbe> {
    const probe = new NoopProbe(port, ip);
    for (let left = 100; left > 0; left--) {
      if ((await probe.times()).count > 0) return probe;
      await new Promise((done) => setTimeout(done, 50));
    }
    await probe.stop();
    throw new Error("nobody answers NOOP");
  }

  /** Of those that were answered since this was asked last. */
  async times(): Promise<NoopTimes> {
    await this.#writer.write(new TextEncoder().encode("?\n"));
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error("who says NOOP has ended");
      this.#rest += value;
    }
    const [line = "", ...more] = this.#rest.split("\n");
    this.#rest = more.join("\n");
    const { count, p50, p99, max } = JSON.parse(line);
    return { count, p50: p50 ?? Infinity, p99: p99 ?? Infinity, max: max ?? Infinity };
  }

  async stop(): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#child.status;
    await this.#lines.cancel();
  }
}
