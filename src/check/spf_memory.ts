/**
 * Findings of SPF that still hold. A host that sends for the same sender again and again would otherwise have the
 * same records parsed for each of its messages, on the thread on which all sessions live.
 */

import type { Dns } from "../dns/records.ts";
import { type Claim, evaluateSpf, type SpfFinding } from "./spf.ts";

export interface SpfMemorySettings {
  /** Findings that are remembered. Default: 10,000, about 10 MB if all names are as long as they can be. */
  readonly remembered?: number;
  /** Milliseconds. Default: a clock that no change of the time disturbs. */
  readonly now?: () => number;
}

interface Known {
  readonly finding: SpfFinding;
  readonly until: number;
}

export class SpfMemory {
  readonly #dns: Dns;
  readonly #hostname: string;
  readonly #remembered: number;
  readonly #now: () => number;
  /** In the order of their last use: the first is the next to go. */
  readonly #known = new Map<string, Known>();

  constructor(dns: Dns, hostname: string, settings: SpfMemorySettings = {}) {
    this.#dns = dns;
    this.#hostname = hostname;
    this.#remembered = settings.remembered ?? 10_000;
    this.#now = settings.now ?? (() => performance.now());
  }

  get size(): number {
    return this.#known.size;
  }

  /** What `checkSpf` finds, or found while the answers it used still hold. Never rejects. */
  async check(claim: Claim): Promise<SpfFinding> {
    // Everything that a record can ask for with a macro; none of the three can hold the end of a line.
    const key = `${claim.host}\n${claim.hello}\n${claim.sender}`;
    const known = this.#known.get(key);
    if (known !== undefined) {
      this.#known.delete(key);
      if (known.until > this.#now()) {
        this.#known.set(key, known);
        return known.finding;
      }
    }
    const began = this.#now();
    const { finding, ttl } = await evaluateSpf(claim, this.#dns, this.#hostname);
    this.#remember(key, finding, began, ttl);
    return finding;
  }

  #remember(key: string, finding: SpfFinding, began: number, ttl: number): void {
    // What the resolver remembers has its time rounded up to a second; and the first answer may be as old as `began`.
    const seconds = ttl - 1;
    if (seconds <= 0 || !Number.isFinite(seconds)) return;
    this.#known.set(key, { finding, until: began + seconds * 1000 });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= this.#remembered) break;
      this.#known.delete(oldest);
    }
  }
}
