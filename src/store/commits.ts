/**
 * Gathered commits. Each commit costs one fsync whatever is in it, so writes wait while one is under way and go into
 * the next one together: hundreds of writers then pay for a few commits. A group whose check fails harms only itself.
 */

import { serialize } from "node:v8";
import { commit } from "./kv.ts";

export type Mutation =
  /**
   * The group is written only if the key still has this versionstamp; null: only if it does not exist. The same object in
   * several groups is checked once for all of them.
   */
  | { readonly do: "check"; readonly key: Deno.KvKey; readonly versionstamp: string | null }
  | { readonly do: "set"; readonly key: Deno.KvKey; readonly value: unknown; /** Milliseconds. */ expireIn?: number }
  | { readonly do: "delete"; readonly key: Deno.KvKey }
  | { readonly do: "sum"; readonly key: Deno.KvKey; readonly by: bigint };

// What Deno KV allows in one commit, with room for what it adds to each mutation.
const MAX_MUTATIONS = 1_000, MAX_CHECKS = 100, MAX_BYTES = 800 * 1024, MAX_VALUE = 65_536, OVERHEAD = 64;

interface Group {
  readonly mutations: readonly Mutation[];
  readonly bytes: number;
  readonly stored: (stamp: string | undefined) => void;
  readonly failed: (error: unknown) => void;
}

export class Commits {
  readonly #kv: Deno.Kv;
  #waiting: Group[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(kv: Deno.Kv) {
    this.#kv = kv;
  }

  /**
   * Resolves with their versionstamp when all of them are on disk, or with undefined when a check of theirs did not
   * hold. They stand in one commit, in this order, and behind everything written before. Rejects when that commit
   * failed, or at once when they can never fit into one; others are not harmed then. Checks see what was there before the
   * commit: who checks a key waits for his own writing of it before he writes it again.
   */
  write(...mutations: readonly Mutation[]): Promise<string | undefined> {
    if (this.#closed) return Promise.reject(new Error("Cannot write: the store is being closed."));
    let bytes: number;
    try {
      bytes = measure(mutations);
    } catch (error) {
      return Promise.reject(error);
    }
    return new Promise((stored, failed) => {
      this.#waiting.push({ mutations, bytes, stored, failed });
      this.#running ??= this.#run();
    });
  }

  /** Takes nothing more and waits until everything is written. Whether it succeeded is told to those who wrote. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    // Whoever writes in this same turn goes into the first commit too.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const groups = this.#take();
      try {
        const stamp = await commit(asAtomic(this.#kv, groups));
        if (stamp === undefined && groups.length > 1) await this.#oneByOne(groups);
        else for (const group of groups) group.stored(stamp);
      } catch (error) {
        for (const group of groups) group.failed(error);
      }
    }
    this.#running = undefined;
  }

  /** A check of one of them did not hold, and nobody says whose. */
  async #oneByOne(groups: readonly Group[]): Promise<void> {
    for (const group of groups) {
      try {
        group.stored(await commit(asAtomic(this.#kv, [group])));
      } catch (error) {
        group.failed(error);
      }
    }
  }

  /** As many whole groups as fit into one commit, at least one. */
  #take(): Group[] {
    const checks = new Set<Mutation>();
    let count = 0, mutations = 0, bytes = 0;
    for (const group of this.#waiting) {
      for (const mutation of group.mutations) if (mutation.do === "check") checks.add(mutation);
      mutations += group.mutations.length;
      bytes += group.bytes;
      if (mutations > MAX_MUTATIONS || checks.size > MAX_CHECKS || bytes > MAX_BYTES) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}

function asAtomic(kv: Deno.Kv, groups: readonly Group[]): Deno.AtomicOperation {
  const checked = new Set<Mutation>();
  let change = kv.atomic();
  for (const { mutations } of groups) {
    for (const mutation of mutations) {
      switch (mutation.do) {
        case "check":
          if (checked.has(mutation)) break;
          checked.add(mutation);
          change = change.check({ key: mutation.key, versionstamp: mutation.versionstamp });
          break;
        case "set":
          change = mutation.expireIn === undefined
            ? change.set(mutation.key, mutation.value)
            : change.set(mutation.key, mutation.value, { expireIn: mutation.expireIn });
          break;
        case "delete":
          change = change.delete(mutation.key);
          break;
        case "sum":
          change = change.sum(mutation.key, mutation.by);
          break;
        default:
          mutation satisfies never;
      }
    }
  }
  return change;
}

/** Bytes of a group as KV counts them, never less. Throws when it could not be committed even alone. */
function measure(mutations: readonly Mutation[]): number {
  let total = 0, checks = 0;
  for (const mutation of mutations) {
    if (mutation.do === "check") checks++;
    const value = mutation.do === "set" ? serialize(mutation.value).byteLength : 8;
    if (value > MAX_VALUE) {
      throw new RangeError(`Cannot store a value of ${value} bytes: ${MAX_VALUE} is the most one record can hold.`);
    }
    total += value + keyBytes(mutation.key) + OVERHEAD;
  }
  if (mutations.length > MAX_MUTATIONS || total > MAX_BYTES) {
    throw new RangeError(
      `Cannot store ${mutations.length} records of ${total} bytes in one commit: ${MAX_MUTATIONS} records and ` +
        `${MAX_BYTES} bytes are the most.`,
    );
  }
  if (checks > MAX_CHECKS) {
    throw new RangeError(`Cannot check ${checks} records in one commit: ${MAX_CHECKS} are the most.`);
  }
  return total;
}

function keyBytes(key: Deno.KvKey): number {
  let total = 0;
  for (const part of key) {
    total += typeof part === "string" ? part.length * 3 : part instanceof Uint8Array ? part.length * 2 : 16;
  }
  return total;
}
