/** How another version of the configuration takes the place of the one in force: in one step, or not at all. */

import type { Guests } from "../accept/listener.ts";
import type { Config } from "../config.ts";
import type { Queue } from "../queue/queue.ts";
import type { Control } from "../status/control.ts";
import type { Stories } from "../store/stories.ts";
import type { Closing } from "./closing.ts";
import type { Generation } from "./generation.ts";
import type { InForce } from "./in_force.ts";
import { doorOf, type Listening } from "./listening.ts";
import type { Prepared } from "./prepared.ts";
import type { Presenting } from "./presenting.ts";
import { queueSettings } from "./sending.ts";
import type { Watching } from "./watching.ts";

/** What is open, and has to hear of it. */
export interface ChangingParts {
  readonly inForce: InForce;
  readonly presenting: Presenting;
  readonly listening: Listening;
  readonly watching: Watching;
  readonly guests: Guests;
  readonly queue: Queue;
  readonly stories: Stories;
  readonly control: Control;
  readonly openNext: (config: Config) => Promise<Generation>;
  /** Begun: the server stops, and nobody would close what is opened now. */
  readonly closing: Pick<Closing, "isBegun">;
}

const STOPPING = "The server stops; the next start reads the configuration anew.";

/** Rejects with a sentence when it cannot be used; then nothing has changed. One at a time. */
export async function change(next: Config, parts: ChangingParts): Promise<void> {
  const { inForce, presenting, listening, watching, guests, queue, stories, control, openNext, closing } = parts;
  demandUnchanged(inForce.now.config, next);
  // Whatever can fail comes first. Nobody notices it, and it is undone.
  const prepared: Prepared[] = [];
  let generation: Generation;
  try {
    prepared.push(await presenting.prepare(next));
    if (closing.isBegun) throw new Error(STOPPING);
    prepared.push(listening.prepare(next.listeners));
    prepared.push(watching.prepare(next));
    generation = await openNext(next);
    if (closing.isBegun) throw await generation.close().then(() => new Error(STOPPING));
  } catch (error) {
    for (const one of prepared) one.cancel();
    throw error;
  }
  // And here nothing can.
  inForce.replace(generation);
  guests.configure(doorOf(next));
  queue.configure(queueSettings(next));
  stories.configure({ ...next.stories, settingOf: next.settingOf });
  control.configure({ maxSize: next.limits.max_message_size });
  for (const one of prepared) one.use();
}

/** What the store holds open cannot move under it. */
function demandUnchanged(before: Config, next: Config): void {
  for (const key of ["store", "kv"] as const) {
    if (next[key] === before[key]) continue;
    const { file } = next, was = before[key] ?? "not set";
    throw new Error(
      `${file}: ${key} cannot change while the server runs; restart it, or write again what it was (${was}).`,
    );
  }
}
