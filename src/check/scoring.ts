/** Asks the scorer, if there is one, about a whole message. */

import { type Log, reasonOf } from "../log.ts";
import type { Message } from "./message.ts";
import { printable } from "./printable.ts";
import type { Score, ScoredMessage } from "./score.ts";

export interface ScoringParts {
  readonly scorer?: { score(message: ScoredMessage): Promise<Score> } | undefined;
  /** Our name. */
  readonly hostname: string;
  /** For a long message, which is in memory as a whole while it is looked at. */
  readonly scorerTurn: <T>(work: () => Promise<T>) => Promise<T>;
  readonly log: Log;
}

/** Undefined: there is none. Never rejects: mail that nobody can score now is not scored. */
export async function askScorer(
  { scorer, hostname, scorerTurn, log }: ScoringParts,
  peer: { readonly id: string; readonly host: string },
  { id, start, size, read, received, sender, hello, recipients }: Message,
): Promise<Score | undefined> {
  if (scorer === undefined) return undefined;
  const ask = async () => {
    const whole = await read(), head = new TextEncoder().encode(received);
    const bytes = new Uint8Array(head.length + whole.length);
    bytes.set(head);
    bytes.set(whole, head.length);
    return await scorer.score({
      bytes,
      ip: peer.host,
      helo: hello,
      sender,
      recipients: recipients.map(({ address }) => address),
      queueId: id,
      hostname,
    });
  };
  const score = await (size > start.length ? scorerTurn(ask) : ask()).catch((error): Score => {
    return { result: "no answer", reason: printable(reasonOf(error), 160) };
  });
  if (score.result === "no answer") {
    log("warning", "scorer-silent", { connection: peer.id, host: peer.host, id, reason: score.reason });
  }
  return score;
}
