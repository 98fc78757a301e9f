/** What a spam scorer is asked and what it says. The words of one are made harmless here, whoever it is. */

/** A message as a scorer sees it. What a peer said stands in here as it was said: it is cleaned where it is written. */
export interface ScoredMessage {
  /** The whole message, with the Received field that we put on top: SpamAssassin reads there who called. */
  readonly bytes: Uint8Array;
  /** Address of the peer. */
  readonly ip: string;
  readonly helo: string;
  /** The name of the peer's address, when it was looked up and leads back to it. */
  readonly name?: string;
  /** `local@domain` of MAIL FROM; empty for the null sender. */
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly queueId: string;
  /** Who signed in. */
  readonly user?: string;
  /** Our name. */
  readonly hostname: string;
}

export interface ScoreSymbol {
  /** At most 64 characters, printable ASCII without blanks. */
  readonly name: string;
  readonly score?: number;
}

export interface Scored {
  readonly result: "scored";
  readonly score: number;
  /** From which score on the scorer itself calls it spam. */
  readonly required?: number;
  /** At most 50, those that weigh most first. */
  readonly symbols: readonly ScoreSymbol[];
  /** Milliseconds, waiting for a turn included. */
  readonly took: number;
}

/** `reason` is one short line of printable ASCII. */
export type Score = Scored | { readonly result: "no answer"; readonly reason: string };

/**
 * What became of one question. `unusable`: there is somebody, and what it says of this message is no score. `nothing`:
 * nobody there, no whole answer, or none in time.
 */
export type Answer =
  | ({ readonly says: "score" } & Omit<Scored, "result" | "took">)
  | { readonly says: "unusable"; readonly reason: string }
  | { readonly says: "nothing"; readonly reason: string; readonly late?: true };

/** Octets of an answer that are read. */
export const MAX_ANSWER = 1 << 20;
export const TOO_LONG: Answer = { says: "unusable", reason: "its answer is longer than 1 MiB" };
export const CUT_SHORT: Answer = { says: "nothing", reason: "it hung up before its answer was complete" };

const MAX_SYMBOLS = 50, MAX_NAME = 64, MAX_REASON = 160;
/** GTUBE is 1,000 for SpamAssassin. What is far beyond is no score, and would swallow all it is added to. */
const MOST = 1e6;

/** `symbols` as the scorer wrote them. */
export function scoreOf(
  score: number,
  required: number | undefined,
  symbols: Iterable<{ readonly name: string; readonly score?: unknown }>,
): Answer {
  if (!isScore(score)) return { says: "unusable", reason: `${score} is no score` };
  const all = [...symbols].map(({ name, score }) => {
    return { name: printable(name, MAX_NAME), ...isScore(score) ? { score: unsigned(score) } : {} };
  });
  all.sort((one, other) => Math.abs(other.score ?? 0) - Math.abs(one.score ?? 0));
  const asked = isScore(required) ? { required: unsigned(required) } : {};
  return { says: "score", score: unsigned(score), ...asked, symbols: all.slice(0, MAX_SYMBOLS) };
}

export function isScore(value: unknown): value is number {
  return typeof value === "number" && Math.abs(value) <= MOST;
}

/** SpamAssassin says -0.0, which no table should show. */
function unsigned(score: number): number {
  return score === 0 ? 0 : score;
}

/** What another program said, fit for one line of ours. */
export function wordsOf(text: string): string {
  return printable(text.trim().replace(/\s+/g, " "), MAX_REASON, /[^\x20-\x7e]/g);
}

function printable(text: string, most: number, other = /[^\x21-\x7e]/g): string {
  return text.slice(0, most).replace(other, "?");
}
