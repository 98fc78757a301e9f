/** Signatures for the mail of our domains, made on other threads. */

import { WORKER_POOL, WorkerPool, type WorkerPoolSettings } from "../worker/pool.ts";
import { type DkimKey, prepareKey } from "./dkim_signature.ts";

export type { DkimKey };

/** What the worker is asked. */
export interface SignRequest {
  readonly domain: string;
  readonly message: Uint8Array;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export class Signer {
  readonly #domains: ReadonlySet<string>;
  readonly #pool: WorkerPool<readonly DkimKey[], SignRequest, string>;

  /** Throws an error that names domain and selector when a key cannot be used. */
  constructor(keys: readonly DkimKey[], settings: Partial<WorkerPoolSettings> = {}, private readonly now = Date.now) {
    const known = keys.map((key) => ({ ...key, domain: key.domain.toLowerCase() }));
    for (const key of known) prepareKey(key);
    this.#domains = new Set(known.map(({ domain }) => domain));
    this.#pool = new WorkerPool(startWorker, known, { ...WORKER_POOL, ...settings });
  }

  /** True when this domain has a key. */
  has(domain: string): boolean {
    return this.#domains.has(domain.toLowerCase());
  }

  /**
   * The lines to put before a message of this domain: one `DKIM-Signature: …` with its CRLF for each key, or nothing
   * when the domain has none. Rejects when no signature could be made in time: the message must not leave without.
   */
  async sign(domain: string, message: Uint8Array): Promise<string> {
    if (!this.has(domain)) return "";
    return await this.#pool.run({ domain: domain.toLowerCase(), message, now: this.now() });
  }

  /** What is not signed yet is rejected. */
  close(): void {
    this.#pool.close();
  }
}

function startWorker(): Worker {
  return new Worker(new URL("../worker/sign.ts", import.meta.url), { type: "module" });
}
