/**
 * How the hosts of a store are counted at this moment, as one process knows it. A server with other settings may count
 * them anew at any time: what this process adds then must not go into counts that are no longer its own.
 */

import type { Log } from "../log.ts";
import type { Mutation } from "./commits.ts";
import { type Counting, countingIn, isCountedNow } from "./host_counting.ts";
import { KEY, pause } from "./kv.ts";

/** Milliseconds that a change waits for who counts; then it fails, and is tried again later like any other. */
const WAIT = 5_000, LOOK = 100;

export class Agreement {
  readonly #kv: Deno.Kv;
  readonly #log: Log;
  #counting: Counting;
  #check: Mutation | undefined;
  #isKept = true;
  #isSettled = false;
  #looking: Promise<void> | undefined;
  #settling: Promise<void> | undefined;
  #isTold = false;

  /** `counting`: how this process wants it. */
  constructor(kv: Deno.Kv, counting: Counting, log: Log) {
    this.#kv = kv;
    this.#counting = counting;
    this.#log = log;
  }

  get counting(): Counting {
    return this.#counting;
  }

  /** Somebody keeps the counts. If not, all hosts will be counted by the next one who does. */
  get isKept(): boolean {
    return this.#isKept;
  }

  /** As far as this process knows nobody is counting anew. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** For every commit that writes a host: the counts are still kept in this way. Undefined before the first look. */
  get check(): Mutation | undefined {
    return this.#check;
  }

  /** What others have made of it. Rejects when the store cannot be read. */
  async look(): Promise<void> {
    await (this.#looking ??= this.#read().finally(() => this.#looking = undefined));
  }

  /** The same, but waits until nobody is counting anew. Rejects when that takes long. */
  async settle(): Promise<void> {
    await (this.#settling ??= this.#wait().finally(() => this.#settling = undefined));
  }

  async #wait(): Promise<void> {
    const began = performance.now();
    for (;;) {
      await this.#read();
      if (this.#isSettled) return;
      if (performance.now() - began > WAIT) throw new Error("the hosts are being counted anew by another process");
      await pause(LOOK);
    }
  }

  async #read(): Promise<void> {
    const { value, versionstamp } = await this.#kv.get<string>(KEY.counting), found = countingIn(value);
    if (this.#check?.do !== "check" || this.#check.versionstamp !== versionstamp) {
      this.#check = { do: "check", key: KEY.counting, versionstamp };
    }
    // A store that no server has opened yet is counted as this process wants it.
    this.#isKept = value === null || found !== undefined;
    this.#isSettled = !isCountedNow(value);
    if (found !== undefined && JSON.stringify(found) !== JSON.stringify(this.#counting)) {
      this.#counting = found;
      this.#tell();
    } else if (!this.#isKept && this.#isSettled) this.#tell();
  }

  #tell(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const means = "the servers of this store have different settings in [reputation]: restart those with the old ones";
    this.#log("warning", "hosts-counted-otherwise", { means });
  }
}
