/**
 * When files change while the server runs: certificates are shown at once, everything else when somebody asks for it,
 * or by itself with `reload = "auto"`. What cannot be used is said once, and the old version stays in force.
 *
 * Files are looked at each second. Looking costs nothing that could be measured, and sees what a notification would
 * miss: a link that leads elsewhere, a folder that was exchanged, a network file system.
 */

import type { Config } from "../config.ts";
import { type Log, reasonOf } from "../log.ts";
import type { Running } from "./server.ts";

export interface ReloadingParts {
  readonly server: Pick<Running, "reload" | "renew">;
  /** As the files were when the configuration that is in force was read. */
  readonly stamps: Stamps;
  /** Reads the configuration anew. Rejects with every problem it has. */
  readonly load: () => Promise<Config>;
  /** Another version is in force. */
  readonly applied: (config: Config) => void;
  readonly log: Log;
  /** Milliseconds between two looks, and before what failed is tried again although nothing has changed. */
  readonly interval?: number;
  readonly tryAgainAfter?: number;
}

/** By the name of a file: what tells one version of it from another. */
export type Stamps = ReadonlyMap<string, string>;

/** As it is called in the log. */
type Failing = "reload-refused" | "certificates-refused";

const INTERVAL = 1_000, TRY_AGAIN_AFTER = 60_000;

export class Reloading {
  readonly #parts: Required<ReloadingParts>;
  #config: Config;
  /** As they were when they were last used. */
  #used: Stamps;
  /** As they were at the last look: who writes a file is left to finish it. */
  #last: Stamps;
  /** What could not be used when it was last tried. `at`: performance.now(). */
  readonly #failures = new Map<Failing, { readonly message: string; readonly at: number }>();
  #asked = false;
  #closed = false;
  #wake: () => void = () => {};
  readonly #running: Promise<void>;

  /** `config` is in force. */
  constructor(config: Config, parts: ReloadingParts) {
    this.#parts = { interval: INTERVAL, tryAgainAfter: TRY_AGAIN_AFTER, ...parts };
    this.#config = config;
    this.#used = parts.stamps;
    this.#last = parts.stamps;
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
    const isNew = (file: string) => now.get(file) !== this.#used.get(file) && now.get(file) === last.get(file);
    const { reload, certificateFiles } = this.#config;
    if (reload === "auto" && ([...now.keys()].some(isNew) || this.#isDue("reload-refused"))) {
      await this.#reload("changed");
    } else if (certificateFiles.some(isNew) || this.#isDue("certificates-refused")) {
      await this.#renew(now);
    }
  }

  #isDue(failing: Failing): boolean {
    const failure = this.#failures.get(failing);
    return failure !== undefined && performance.now() - failure.at >= this.#parts.tryAgainAfter;
  }

  async #reload(because: "asked" | "changed"): Promise<void> {
    const { server, load, applied, log } = this.#parts;
    // Before it is read: what is written meanwhile is seen by the next look.
    const stamps = await stampsOf(this.#config), used = this.#used;
    let read: Stamps = stamps;
    try {
      const config = await server.reload(async () => {
        const config = await load();
        read = new Map([...await stampsOf(config), ...stamps]);
        return config;
      });
      this.#config = config;
      this.#used = read;
      this.#last = read;
      this.#failures.clear();
      applied(config);
      log("info", "reloaded", { file: config.file, because });
    } catch (error) {
      this.#used = stamps;
      this.#fail("reload-refused", error, because === "asked");
      // They end on their day, whatever else is wrong.
      if (this.#config.certificateFiles.some((file) => stamps.get(file) !== used.get(file))) await this.#renew(stamps);
    }
  }

  async #renew(stamps: Stamps): Promise<void> {
    const { server, log } = this.#parts;
    this.#used = stamps;
    try {
      server.renew(await this.#config.certificatesNow());
      this.#failures.delete("certificates-refused");
      log("info", "certificates-renewed", { files: this.#config.certificateFiles.length });
    } catch (error) {
      this.#fail("certificates-refused", error, false);
    }
  }

  /** Said once, and not again each minute. */
  #fail(failing: Failing, error: unknown, always: boolean): void {
    const message = reasonOf(error);
    if (always || message !== this.#failures.get(failing)?.message) {
      this.#parts.log("error", failing, { means: "the old version stays in force", error: message });
    }
    this.#failures.set(failing, { message, at: performance.now() });
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

/** As they are now. Never rejects: that a file is not there is a version of it, too. */
export async function stampsOf({ files }: Config): Promise<Stamps> {
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
