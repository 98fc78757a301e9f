/** Which version of the configuration is in force, and those before it that somebody still uses. */

import type { Generation } from "./generation.ts";

interface Held {
  readonly generation: Generation;
  users: number;
  isOld: boolean;
}

export class InForce {
  #current: Held;
  /** Those before it that somebody still uses, and those whose closing is under way. */
  readonly #old = new Set<Held>();
  readonly #closing = new Set<Promise<void>>();
  readonly #failed: (error: unknown) => void;

  /** `failed` hears when an old one cannot be closed. */
  constructor(first: Generation, failed: (error: unknown) => void) {
    this.#current = { generation: first, users: 0, isOld: false };
    this.#failed = failed;
    first.begin();
  }

  get now(): Generation {
    return this.#current.generation;
  }

  /** Versions in memory. */
  get size(): number {
    return 1 + this.#old.size;
  }

  /** The one in force, kept open until `release` is called. */
  hold(): { readonly generation: Generation; readonly release: () => void } {
    const held = this.#current;
    held.users++;
    let isHeld = true;
    const release = () => {
      if (!isHeld) return;
      isHeld = false;
      held.users--;
      this.#closeUnused(held);
    };
    return { generation: held.generation, release };
  }

  /** The same for as long as the work lasts. */
  async use<T>(work: (generation: Generation) => Promise<T>): Promise<T> {
    const { generation, release } = this.hold();
    try {
      return await work(generation);
    } finally {
      release();
    }
  }

  /** The next one is in force at once; the one before it is closed when nobody uses it any more. */
  replace(next: Generation): void {
    const before = this.#current;
    this.#current = { generation: next, users: 0, isOld: false };
    before.isOld = true;
    this.#old.add(before);
    // Together with its successor it would make the same calls.
    before.generation.end().catch(this.#failed);
    next.begin();
    this.#closeUnused(before);
  }

  /** All of them, used or not. Settles when none has anything open: what they stand on may be closed then. */
  async close(): Promise<void> {
    for (const held of [...this.#old, this.#current]) this.#close(held);
    this.#old.clear();
    await Promise.all(this.#closing);
  }

  #closeUnused(held: Held): void {
    if (held.isOld && held.users === 0 && this.#old.delete(held)) this.#close(held);
  }

  #close({ generation }: Held): void {
    const closing = generation.close().catch(this.#failed).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}
