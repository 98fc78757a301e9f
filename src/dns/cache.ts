/** What is remembered of earlier answers: for a time, and within bounds that no stranger's answers can break. */

interface Entry<V> {
  readonly value: V;
  /** Milliseconds, by the clock of the callers. */
  readonly until: number;
  readonly weight: number;
}

export class Cache<V> {
  /** In the order of their last use: the first is the next to go. */
  readonly #entries = new Map<string, Entry<V>>();
  readonly #maxEntries: number;
  readonly #maxWeight: number;
  #weight = 0;

  /** `maxWeight` bounds the sum of all weights, here octets on the wire: 64 KiB TXT records cannot fill the memory. */
  constructor(maxEntries: number, maxWeight: number) {
    this.#maxEntries = maxEntries;
    this.#maxWeight = maxWeight;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The value and the milliseconds that are left of it. */
  get(key: string, now: number): { readonly value: V; readonly left: number } | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#remove(key, entry);
    if (entry.until <= now) return undefined;
    this.#add(key, entry);
    return { value: entry.value, left: entry.until - now };
  }

  /** Forgets what was longest unused to make room. What is heavier than a tenth of the whole is not worth that. */
  set(key: string, value: V, until: number, weight: number): void {
    const old = this.#entries.get(key);
    if (old !== undefined) this.#remove(key, old);
    if (weight > this.#maxWeight / 10) return;
    this.#add(key, { value, until, weight });
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.#maxEntries && this.#weight <= this.#maxWeight) break;
      this.#remove(oldest, entry);
    }
  }

  #add(key: string, entry: Entry<V>): void {
    this.#entries.set(key, entry);
    this.#weight += entry.weight;
  }

  #remove(key: string, entry: Entry<V>): void {
    this.#entries.delete(key);
    this.#weight -= entry.weight;
  }
}
