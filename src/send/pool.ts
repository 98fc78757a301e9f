/** Connections between two messages. As long as there is mail for a server, it need not be greeted again. */

import type { Conversation } from "./conversation.ts";
import type { Server } from "./route.ts";

export interface PoolSettings {
  /** Milliseconds that a connection waits for another message. */
  readonly idle: number;
  /** Messages after which a connection is given up; some servers refuse more. */
  readonly messagesEach: number;
}

export const POOL: PoolSettings = { idle: 5_000, messagesEach: 100 };

interface Idle {
  readonly conversation: Conversation;
  readonly timer: ReturnType<typeof setTimeout>;
}

export class Pool {
  readonly #idle = new Map<string, Idle[]>();
  readonly #leaving = new Set<Promise<void>>();
  #closed = false;

  constructor(private readonly settings: PoolSettings) {}

  /** True when a connection to this server waits. */
  has(server: Server): boolean {
    return (this.#idle.get(keyOf(server)) ?? []).some(({ conversation }) => conversation.usable);
  }

  /** A connection to this server, the one used last; it belongs to the caller until it is put back. */
  take(server: Server): Conversation | undefined {
    const key = keyOf(server), waiting = this.#idle.get(key) ?? [];
    for (let idle = waiting.pop(); idle !== undefined; idle = waiting.pop()) {
      clearTimeout(idle.timer);
      if (waiting.length === 0) this.#idle.delete(key);
      if (idle.conversation.usable) return idle.conversation;
    }
    return undefined;
  }

  /** Gives a connection back, or ends it when it has served. */
  put(server: Server, conversation: Conversation): void {
    if (!conversation.usable) return;
    if (this.#closed || conversation.messages >= this.settings.messagesEach) return this.leave(conversation);
    const key = keyOf(server);
    const timer = setTimeout(() => this.#expire(key, conversation), this.settings.idle);
    const waiting = this.#idle.get(key);
    if (waiting === undefined) this.#idle.set(key, [{ conversation, timer }]);
    else waiting.push({ conversation, timer });
  }

  /** Ends all connections. Settles when they are gone. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { conversation, timer } of Array.from(this.#idle.values()).flat()) {
      clearTimeout(timer);
      this.leave(conversation);
    }
    this.#idle.clear();
    await Promise.all(this.#leaving);
  }

  #expire(key: string, conversation: Conversation): void {
    const rest = (this.#idle.get(key) ?? []).filter((idle) => idle.conversation !== conversation);
    if (rest.length > 0) this.#idle.set(key, rest);
    else this.#idle.delete(key);
    this.leave(conversation);
  }

  /** Ends a connection that will not be needed any more. */
  leave(conversation: Conversation): void {
    const gone = conversation.quit().finally(() => this.#leaving.delete(gone));
    this.#leaving.add(gone);
  }
}

function keyOf({ name, port, credentials, lmtp }: Server): string {
  return `${name} ${port} ${lmtp ? "lmtp" : ""} ${credentials?.user ?? ""}`;
}
