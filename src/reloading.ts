/**
 * When files change while the server runs: certificates are shown at once, everything else when somebody asks for it,
 * or by itself with `reload = "auto"`. What cannot be used is said once, and the old version stays in force.
 *
 * Files are looked at each second. Looking costs nothing that could be measured, and sees what a notification would
 * miss: a link that leads elsewhere, a folder that was exchanged, a network file system.
 */

import type { Config } from "./config.ts";
import type { Log } from "./log.ts";
import type { Running } from "./server.ts";

export interface ReloadingParts {
  readonly server: Pick<Running, "reload" | "renew">;
  /** Reads the configuration anew. Rejects with every problem it has. */
  readonly load: () => Promise<Config>;
  /** Another version is in force. */
  readonly applied: (config: Config) => void;
  readonly log: Log;
  /** Milliseconds between two looks, and before what failed is tried again although nothing has changed. */
  readonly interval?: number;
  readonly tryAgainAfter?: number;
}

/** What tells one version of a file from another. */
type Stamps = ReadonlyMap<string, string>;

const INTERVAL = 1_000, TRY_AGAIN_AFTER = 60_000;

export class Reloading {
  readonly #parts: Required<ReloadingParts>;
  #config: Config;
  /** As they were when they were last used. */
  #used: Stamps;
  /** As they were at the last look: who writes a file is left to finish it. */
  #last: Stamps;
  #failure: { readonly message: string; readonly at: number } | undefined;
  #asked = false;
  #closed = false;
  #wake: () => void = () => {};
  readonly #running: Promise<void>;

  /** `config` is in force. */
  static async open(config: Config, parts: ReloadingParts): Promise<Reloading> {
    return new Reloading(config, parts, await stampsOf(config));
  }

  private constructor(config: Config, parts: ReloadingParts, stamps: Stamps) {
    this.#parts = { interval: INTERVAL, tryAgainAfter: TRY_AGAIN_AFTER, ...parts };
    this.#config = config;
    this.#used = stamps;
    this.#last = stamps;
    this.#running = this.#run();
  }

  /** The configuration is read anew as soon as possible, whether it has changed or not. */
  ask(): void {
    this.#asked = true;
    this.#wake();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#running;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    while (!this.#closed) {
      if (this.#asked) {
        this.#asked = false;
        await this.#reload("asked");
      } else await this.#look();
      if (!this.#asked) await this.#pause();
    }
  }

  async #look(): Promise<void> {
    const now = await stampsOf(this.#config), last = this.#last;
    this.#last = now;
    const again = this.#failure !== undefined &&
      performance.now() - this.#failure.at >= this.#parts.tryAgainAfter;
    const isNew = (file: string) => now.get(file) !== this.#used.get(file) && now.get(file) === last.get(file);
    const files = this.#config.reload === "auto" ? [...now.keys()] : this.#config.certificateFiles;
    if (!files.some(isNew) && !again) return;
    if (this.#config.reload === "auto") await this.#reload("changed");
    else await this.#renew(now);
  }

  async #reload(because: "asked" | "changed"): Promise<void> {
    const { server, load, applied, log } = this.#parts;
    // Before it is read: what is written meanwhile is seen by the next look.
    const stamps = await stampsOf(this.#config);
    try {
      const config = await load();
      await server.reload(config);
      this.#config = config;
      this.#used = new Map([...await stampsOf(config), ...stamps]);
      this.#last = this.#used;
      this.#failure = undefined;
      applied(config);
      log("info", "reloaded", { file: config.file, because });
    } catch (error) {
      this.#used = stamps;
      this.#fail("reload-refused", error, because === "asked");
    }
  }

  async #renew(stamps: Stamps): Promise<void> {
    const { server, log } = this.#parts;
    this.#used = stamps;
    try {
      server.renew(await this.#config.certificatesNow());
      this.#failure = undefined;
      log("info", "certificates-renewed", { files: this.#config.certificateFiles.length });
    } catch (error) {
      this.#fail("certificates-refused", error, false);
    }
  }

  /** Said once, and not again each minute. */
  #fail(event: string, error: unknown, always: boolean): void {
    const message = error instanceof Error ? error.message : String(error);
    if (always || message !== this.#failure?.message) {
      this.#parts.log("error", event, { means: "the old version stays in force", error: message });
    }
    this.#failure = { message, at: performance.now() };
  }

  async #pause(): Promise<void> {
    if (this.#closed) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((done) => {
      this.#wake = done;
      timer = setTimeout(done, this.#parts.interval);
    });
    clearTimeout(timer);
    this.#wake = () => {};
  }
}

async function stampsOf({ files }: Config): Promise<Stamps> {
  return new Map(await Promise.all(files.map(async (file) => [file, await stampOf(file)] as const)));
}

async function stampOf(file: string): Promise<string> {
  try {
    const { mtime, size, ino, dev } = await Deno.stat(file);
    return `${mtime?.getTime()} ${size} ${ino} ${dev}`;
  } catch (error) {
    return error instanceof Error ? error.name : "unknown";
  }
}
