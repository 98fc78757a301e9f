/**
 * What happened to each message, and why: one line of JSON for each decision and each attempt to deliver, written
 * behind and never waited for, in files that are dropped after a time or when all of them are too large. There is no
 * index: a month of a small server is read through in a second, and nothing has to be kept in step.
 */

import { basename, join } from "node:path";
import { type Fields, type Log, reasonOf } from "../log.ts";

/** One check on the way to a decision. Texts hold what peers said, as they said it. */
export interface Step {
  readonly check: string;
  readonly found: string;
  /** Key of the setting that says what follows from it. */
  readonly setting?: string;
  /** The reply that it led to. */
  readonly decides?: string;
  /** What it would have led to, were it enforced. */
  readonly would?: string;
}

/** A decision about a message, or about a host that may not send one. */
export interface Decision {
  readonly connection: string;
  readonly by: string;
  /** Address of the peer. */
  readonly host: string;
  readonly helo?: string | undefined;
  readonly user?: string | undefined;
  readonly from?: string | undefined;
  readonly to: readonly string[];
  /** Queue id, when it was taken. */
  readonly id?: string | undefined;
  readonly reply: string;
  readonly steps: readonly Step[];
}

/** A setting as it was at that time. `line` of the configuration; absent when it was the default. */
export interface SettingThen {
  readonly key: string;
  readonly value: string;
  readonly line?: number;
}

export type ToldStep = Omit<Step, "setting"> & { readonly setting?: SettingThen };

/** A line of a story. `at`: milliseconds since 1970. */
export type Told =
  | (Omit<Decision, "steps"> & { readonly at: number; readonly tells: "decision"; readonly steps: readonly ToldStep[] })
  | {
    readonly at: number;
    readonly tells: "event";
    readonly event: string;
    readonly id?: string;
    readonly fields: Fields;
  };

export interface StoriesSettings {
  /** The folder; made when it is missing. */
  readonly folder: string;
  /** Milliseconds. */
  readonly keep: number;
  /** Bytes of all files together. */
  readonly size: number;
  readonly settingOf: (key: string) => SettingThen;
  readonly log: Log;
  /** Milliseconds between what happens and what is on disk. */
  readonly behind?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const DAY = 24 * 3600_000, BEHIND = 1_000;
/** What waits to be written; more of it is lost, and counted. */
const MAX_WAITING = 8 << 20;
/** Files are parts of a day, so that what is too old goes in small pieces. */
const PARTS = 16;
/** Besides what names a message: what becomes of hosts. */
const HOST_EVENTS = new Set(["host-banned"]);
const MAX_TO = 20;

/** Below the data folder. */
export function storiesFolder(store: string): string {
  return join(store, "stories");
}

export class Stories {
  #settings: StoriesSettings & { readonly now: () => number };
  #waiting: string[] = [];
  #length = 0;
  #lost = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> = Promise.resolve();
  /** The file that is written to: a day, and which part of it. */
  #day = "";
  #part = 0;
  #closed = false;

  constructor(settings: StoriesSettings) {
    this.#settings = { now: Date.now, ...settings };
  }

  /** From now on: of what comes next, and of what is kept. */
  configure(settings: Pick<StoriesSettings, "keep" | "size" | "settingOf">): void {
    this.#settings = { ...this.#settings, ...settings };
  }

  decision({ steps, ...decision }: Decision): void {
    this.#tell({
      at: this.#settings.now(),
      tells: "decision",
      ...decision,
      // A letter to a thousand is told of twenty.
      to: decision.to.slice(0, MAX_TO),
      steps: steps.map(({ setting, ...step }) => ({
        ...step,
        ...(setting !== undefined && { setting: this.#settings.settingOf(setting) }),
      })),
    });
  }

  /** The same log, of which everything is remembered that names a message. */
  listening(log: Log): Log {
    return (level, event, fields = {}) => {
      const { id } = fields;
      if (level !== "debug" && event !== "message-queued" && (typeof id === "string" || HOST_EVENTS.has(event))) {
        this.#tell({
          at: this.#settings.now(),
          tells: "event",
          event,
          ...(typeof id === "string" && { id }),
          fields,
        });
      }
      log(level, event, fields);
    };
  }

  /** Resolves when everything told so far is on disk, or lost. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length === 0) return this.#writing;
    const text = this.#waiting.join("");
    this.#waiting = [];
    this.#length = 0;
    return this.#writing = this.#writing.then(() => this.#write(text));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  #tell(told: Told): void {
    if (this.#closed) return;
    const line = `${JSON.stringify(told)}\n`;
    if (this.#length + line.length > MAX_WAITING) return void this.#lost++;
    this.#waiting.push(line);
    this.#length += line.length;
    this.#timer ??= setTimeout(() => void this.flush(), this.#settings.behind ?? BEHIND);
  }

  /** Never rejects. */
  async #write(text: string): Promise<void> {
    const { folder, log, now, size } = this.#settings;
    if (this.#lost > 0) log("warning", "stories-lost", { stories: this.#lost });
    this.#lost = 0;
    try {
      await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
      const day = new Date(now()).toISOString().slice(0, 10);
      const path = (part: number) => join(folder, `${day}.${String(part).padStart(4, "0")}.jsonl`);
      // Behind all that is there from an earlier start, whose first parts may have been dropped.
      const isFirst = day !== this.#day;
      if (isFirst) this.#part = lastPart(await storyFiles(folder), day);
      this.#day = day;
      while (await sizeOf(path(this.#part)) > size / PARTS) this.#part++;
      // The last line of an earlier start may have been cut off: what follows it would be lost with it.
      const end = isFirst && await sizeOf(path(this.#part)) > 0 ? "\n" : "";
      await Deno.writeTextFile(path(this.#part), end + text, { append: true, mode: 0o600 });
      await this.#drop();
    } catch (error) {
      log("warning", "stories-not-written", { error: reasonOf(error) });
    }
  }

  /** The oldest files, while they are too old or all of them too large. */
  async #drop(): Promise<void> {
    const { folder, keep, size, now } = this.#settings;
    const files = await Promise.all(
      (await storyFiles(folder)).map(async (path) => [path, await sizeOf(path)] as const),
    );
    let total = files.reduce((sum, [, length]) => sum + length, 0);
    for (const [path, length] of files) {
      const ended = Date.parse(/(\d{4}-\d{2}-\d{2})\.\d+\.jsonl$/.exec(path)?.[1] ?? "") + DAY;
      if (total <= size && !(ended + keep < now())) return;
      await Deno.remove(path);
      total -= length;
    }
  }
}

/**
 * All that is told in the folder and may hold one of these texts, in any case: the newest file first, in each file the
 * latest line first.
 */
export async function* readStories(folder: string, needles: readonly string[]): AsyncGenerator<Told> {
  const wanted = needles.map((needle) => JSON.stringify(needle).slice(1, -1).toLowerCase());
  for (const path of (await storyFiles(folder)).reverse()) {
    const lines = (await textIn(path)).split("\n");
    for (const line of lines.reverse()) {
      const lower = line.toLowerCase();
      if (!wanted.some((text) => lower.includes(text))) continue;
      try {
        yield JSON.parse(line) as Told;
      } catch {
        // A line that was cut off when the power went.
      }
    }
  }
}

/** The oldest first. */
async function storyFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(folder)) {
      if (isFile && /^\d{4}-\d{2}-\d{2}\.\d+\.jsonl$/.test(name)) files.push(join(folder, name));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files.sort();
}

function lastPart(files: readonly string[], day: string): number {
  const latest = files.findLast((path) => basename(path).startsWith(day));
  return latest === undefined ? 0 : Number(basename(latest).split(".")[1]);
}

/** Nothing, when it has been dropped meanwhile. */
async function textIn(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "";
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await Deno.stat(path)).size;
  } catch {
    return 0;
  }
}
