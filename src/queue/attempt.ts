/** One call of `Deliver`, made safe: it always ends, with exactly one outcome for each recipient of the job. */
import type { Content, Deliver, Job, Outcome, RemoteReply } from "./entry.ts";
import type { Learned } from "./lanes.ts";
import { Damaged } from "./failures.ts";
import { type Log, reasonOf } from "../log.ts";

export interface Attempt {
  readonly outcomes: readonly Outcome[];
  readonly learned: Learned;
  /** The message could not be read from disk, whatever `Deliver` made of that. */
  readonly damaged?: Damaged;
}

export async function attempt(deliver: Deliver, job: Job, log: Log): Promise<Attempt> {
  const content = new WatchedContent(job.content);
  let said: readonly Outcome[] = [];
  let threw: unknown;
  try {
    said = await deliver({ ...job, content });
  } catch (error) {
    threw = error;
  }
  if (content.damaged !== undefined) {
    return { outcomes: [], learned: { lane: "unknown" }, damaged: content.damaged };
  }
  if (threw !== undefined) log("error", "delivery-threw", { id: job.id, error: reasonOf(threw) });
  const named = new Map(said.map((outcome) => [outcome.recipient, outcome]));
  const unnamed = job.recipients.filter((recipient) => !named.has(recipient));
  if (unnamed.length > 0 && threw === undefined) {
    log("error", "delivery-left-out", { id: job.id, recipients: unnamed.length });
  }
  return {
    outcomes: job.recipients.map((recipient) =>
      named.get(recipient) ?? { recipient, result: "later", reply: NO_OUTCOME }
    ),
    learned: learnedFrom(job.recipients.flatMap((recipient) => named.get(recipient) ?? [])),
  };
}

const NO_OUTCOME: RemoteReply = {
  code: 451,
  enhanced: "4.3.0",
  text: "The attempt ended without an outcome",
  host: "local",
};

function learnedFrom(outcomes: readonly Outcome[]): Learned {
  const unreachable = outcomes.find((outcome) => outcome.unreachable);
  if (unreachable !== undefined) return { lane: "unreachable", reply: unreachable.reply };
  return { lane: outcomes.length > 0 ? "reached" : "unknown" };
}

/** The content as Deliver sees it. Remembers a damage that whoever reads may take for a fault of the network. */
class WatchedContent implements Content {
  readonly size: number;
  damaged: Damaged | undefined;
  readonly #content: Content;

  constructor(content: Content) {
    this.#content = content;
    this.size = content.size;
  }

  async *pieces(): AsyncIterable<Uint8Array> {
    try {
      yield* this.#content.pieces();
    } catch (error) {
      if (error instanceof Damaged) this.damaged = error;
      throw error;
    }
  }
}
