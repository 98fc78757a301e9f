/** A clock that stands still until a test moves it. */
import type { Clock } from "../../src/queue/clock.ts";

export class ManualClock implements Clock {
  #wall: number;
  #monotonic = 0;
  readonly #timers = new Set<{ at: number; ring: () => void }>();

  constructor(wall = Date.UTC(2026, 0, 1)) {
    this.#wall = wall;
  }

  now = (): number => this.#wall;
  monotonic = (): number => this.#monotonic;

  after(wait: number, ring: () => void): () => void {
    const timer = { at: this.#monotonic + Math.max(0, wait), ring };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Somebody sets the clock on the wall; time itself goes on as before. */
  jump(by: number): void {
    this.#wall += by;
  }

  /** Lets time pass, rings what is due on the way, and lets everything that this causes come to rest. */
  async advance(by: number): Promise<void> {
    const end = this.#monotonic + by;
    await settle();
    for (;;) {
      let next: { at: number; ring: () => void } | undefined;
      for (const timer of this.#timers) if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer;
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#wall += next.at - this.#monotonic;
      this.#monotonic = next.at;
      next.ring();
      await settle();
    }
    this.#wall += end - this.#monotonic;
    this.#monotonic = end;
    await settle();
  }
}

/** Until all that has been resolved has had its consequences, as long as these wait for nothing outside. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** For what takes some turns of the event loop by itself, like composing a message. */
export async function until(happened: () => boolean): Promise<void> {
  for (let round = 0; !happened(); round++) {
    if (round > 1000) throw new Error(`This did not happen: ${happened}`);
    await settle();
  }
}
