/**
 * Senders who wait on the line for what the next server says to their message. Each of them hears one thing: the
 * refusal, and then there is no message any more; or that it was taken, and then whatever goes wrong is written to him.
 * What has begun to be written down as a refusal can no longer turn into the other, however long the disk takes.
 */
import type { Clock } from "./clock.ts";
import type { Outcome, Recipient, RemoteReply } from "./entry.ts";
import { discreet } from "./report.ts";
import type { Entry } from "./spool.ts";

interface Watch {
  /** Recipients whose first attempt has no outcome yet. */
  readonly awaited: Set<number>;
  readonly recipients: readonly Recipient[];
  /** What the others were refused with, by recipient, as the sender may hear it. */
  readonly refusals: Map<number, RemoteReply>;
  /** On the monotonic clock: when the sender is tired of waiting. */
  readonly until: number;
  readonly resolve: (refusal: RemoteReply | undefined) => void;
  readonly cancel: () => void;
  /** The refusal is being written down. */
  decided: boolean;
}

export class FirstAttempts {
  readonly #clock: Clock;
  readonly #watches = new Map<string, Watch>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What its sender is to hear: the refusal, or undefined for a promise. At most `patience` ms until it is decided. */
  watch({ id, envelope }: Entry, patience: number): Promise<RemoteReply | undefined> {
    // That a message goes to several places has only to be said: who is refused by all of them is refused.
    const places = [...envelope.recipients.keys()].filter((index) => {
      const { target } = envelope.recipients[index]!;
      return target.to !== "nowhere" || target.because !== "expanded";
    });
    if (places.length === 0) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const cancel = this.#clock.after(patience, () => this.promise(id));
      const until = this.#clock.monotonic() + patience;
      const awaited = new Set(places), refusals = new Map<number, RemoteReply>();
      const { recipients } = envelope;
      this.#watches.set(id, { awaited, recipients, refusals, until, resolve, cancel, decided: false });
    });
  }

  /** Milliseconds that the sender of this message may still be on the line; 0 when he is not. */
  patienceOf(id: string): number {
    const watch = this.#watches.get(id);
    return watch === undefined ? 0 : Math.max(watch.until - this.#clock.monotonic(), 0);
  }

  /**
   * Takes note of outcomes. With the last refusal of all that there can be, the answer is what the first recipient was
   * refused with: now write it down, then say `settle`. Undefined when there is no such sender (any more).
   */
  refusal(id: string, outcomes: readonly Outcome[]): RemoteReply | undefined {
    const watch = this.#watches.get(id);
    if (watch === undefined) return undefined;
    for (const { recipient, result, reply } of outcomes) {
      if (!watch.awaited.has(recipient)) continue;
      if (result !== "failed") {
        this.promise(id);
        return undefined;
      }
      watch.awaited.delete(recipient);
      watch.refusals.set(recipient, discreet(reply, watch.recipients[recipient]!));
    }
    if (watch.awaited.size > 0) return undefined;
    watch.decided = true;
    return watch.refusals.get(Math.min(...watch.refusals.keys()));
  }

  /** Who waits for this message is promised that it will be seen to, unless its refusal is being written down. */
  promise(id: string): void {
    if (this.#watches.get(id)?.decided === false) this.settle(id, undefined);
  }

  promiseAll(): void {
    for (const id of [...this.#watches.keys()]) this.promise(id);
  }

  settle(id: string, refusal: RemoteReply | undefined): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return;
    this.#watches.delete(id);
    watch.cancel();
    watch.resolve(refusal);
  }
}
