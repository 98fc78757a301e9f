/** What every benchmark of acceptance does: send, wait until all is delivered, take the median. */

import type { Peer } from "./postfix.ts";

/** Waits until nothing is delivered any more, so that no round pays for the one before. */
export async function settled(peer: Peer): Promise<void> {
  for (let last = -1;;) {
    const now = await peer.delivered();
    if (now === last) return;
    last = now;
    await new Promise((done) => setTimeout(done, 500));
  }
}

export function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}

export function percent(values: readonly number[]): string {
  return `${Math.round(100 * median(values))} %`;
}
