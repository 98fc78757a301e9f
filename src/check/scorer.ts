/**
 * A spam scorer of somebody else: rspamd or SpamAssassin's spamd. It is asked for advice, and its trouble is never the
 * message's: who gets no answer goes on without. What it costs to ask in vain is bounded here.
 */

import { askRspamd } from "./rspamd.ts";
import type { Answer, Score, ScoredMessage } from "./score.ts";
import type { AskLimits } from "./scorer_socket.ts";
import { askSpamd } from "./spamd.ts";

export type ScorerSetting =
  | { readonly by: "rspamd"; /** Of its normal worker: `http://127.0.0.1:11333`. */ readonly url: string }
  | { readonly by: "spamd"; readonly host: string; readonly port: number };

/** Milliseconds, where nothing else is said. */
export interface ScorerLimits {
  /** For one message, from the call to the answer. Default: 10,000. */
  readonly deadline: number;
  /** Until there is a connection. Default: 2,000. */
  readonly connect: number;
  /** How long it is left alone when it did not answer three times in a row. Default: 30,000. */
  readonly rest: number;
  /** Messages with which it is asked at the same time. Default: 20. */
  readonly atOnce: number;
  /** Messages that wait for their turn meanwhile. Default: 100. */
  readonly waiting: number;
}

const USUAL: ScorerLimits = { deadline: 10_000, connect: 2000, rest: 30_000, atOnce: 20, waiting: 100 };
/** In a row. */
const FAILURES = 3;
const STOPPING = "the server is stopping";

export function openScorer(setting: ScorerSetting, limits: Partial<ScorerLimits> = {}): Scorer {
  const all = { ...USUAL, ...limits };
  switch (setting.by) {
    case "rspamd": {
      const { url } = setting;
      return new Scorer(`rspamd at ${new URL(url).host}`, (message, limits) => askRspamd(url, message, limits), all);
    }
    case "spamd": {
      const { host, port } = setting, shown = host.includes(":") ? `[${host}]` : host;
      return new Scorer(`spamd at ${shown}:${port}`, (message, limits) => askSpamd(setting, message, limits), all);
    }
    default:
      return setting satisfies never;
  }
}

/** Told why it gets no turn, or undefined when it has it. */
type Turn = (refusal: string | undefined) => void;

export class Scorer {
  readonly #name: string;
  readonly #ask: (message: ScoredMessage, limits: AskLimits) => Promise<Answer>;
  readonly #limits: ScorerLimits;
  readonly #closing = new AbortController();
  readonly #open = new Set<Promise<Answer>>();
  /** Turns that are taken. */
  #taken = 0;
  /** Those that wait, the oldest first. */
  readonly #waiting = new Set<Turn>();
  #failures = 0;
  /** What went wrong last. */
  #trouble = "";
  #restsUntil = 0;
  #probing = false;

  constructor(name: string, ask: (message: ScoredMessage, limits: AskLimits) => Promise<Answer>, limits: ScorerLimits) {
    this.#name = name;
    this.#ask = ask;
    this.#limits = limits;
  }

  /** Never rejects, and takes no longer than the deadline. */
  async score(message: ScoredMessage): Promise<Score> {
    const began = performance.now();
    const probe = this.#mayProbe();
    // At once, for who comes now must see it.
    if (probe) this.#probing = true;
    const refusal = await this.#turn(probe);
    if (refusal !== undefined) return this.#noAnswer(refusal);
    const deadline = this.#limits.deadline - (performance.now() - began);
    const asked = this.#ask(message, { connect: this.#limits.connect, deadline, signal: this.#closing.signal });
    this.#open.add(asked);
    const answer = await asked;
    this.#open.delete(asked);
    this.#taken--;
    if (probe) this.#probing = false;
    // Who had little time left after waiting cannot say that the scorer is too slow.
    const hasty = answer.says === "nothing" && answer.late === true && deadline < 0.9 * this.#limits.deadline;
    if (!hasty) this.#learn(answer, probe);
    this.#callNext();
    if (answer.says !== "score") return this.#noAnswer(answer.reason);
    const { says: _, ...scored } = answer;
    return { result: "scored", ...scored, took: Math.round(performance.now() - began) };
  }

  /** Gives up what is under way. Settles when every socket and timer is gone. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#refuseWaiting(STOPPING);
    await Promise.all(this.#open);
  }

  #noAnswer(reason: string): Score {
    return { result: "no answer", reason: `${this.#name}: ${reason}` };
  }

  #isResting(): boolean {
    return this.#failures >= FAILURES;
  }

  /** One message finds out whether the scorer is back; the others go on without meanwhile. */
  #mayProbe(): boolean {
    return this.#isResting() && !this.#probing && performance.now() >= this.#restsUntil &&
      !this.#closing.signal.aborted;
  }

  #turn(probe: boolean): Promise<string | undefined> {
    return new Promise((resolve) => {
      if (this.#closing.signal.aborted) return resolve(STOPPING);
      if (this.#isResting() && !probe) return resolve(this.#resting());
      if (this.#taken < this.#limits.atOnce || probe) {
        this.#taken++;
        return resolve(undefined);
      }
      if (this.#waiting.size >= this.#limits.waiting) return resolve("too many messages wait for it");
      const turn: Turn = (refusal) => {
        clearTimeout(timer);
        this.#waiting.delete(turn);
        if (refusal === undefined) this.#taken++;
        resolve(refusal);
      };
      const timer = setTimeout(() => turn("no turn in time, as many messages wait for it"), this.#limits.deadline);
      this.#waiting.add(turn);
    });
  }

  /**
   * Only silence makes it rest: an answer that is no score comes quickly, and may be due to the message alone. Whoever
   * finds such a message must not be able to have all others go unscored.
   */
  #learn(answer: Answer, probe: boolean): void {
    switch (answer.says) {
      case "score":
      case "unusable":
        this.#failures = 0;
        return;
      case "nothing":
        if (this.#closing.signal.aborted) return;
        this.#failures++;
        this.#trouble = answer.reason;
        // Those that were under way when it began do not make it longer.
        if (!probe && this.#failures !== FAILURES) return;
        this.#restsUntil = performance.now() + this.#limits.rest;
        return this.#refuseWaiting(this.#resting());
      default:
        return answer satisfies never;
    }
  }

  #resting(): string {
    return `not asked after ${FAILURES} failures in a row, the last one: ${this.#trouble}`;
  }

  #callNext(): void {
    for (const turn of this.#waiting) {
      if (this.#taken < this.#limits.atOnce) return turn(undefined);
    }
  }

  #refuseWaiting(reason: string): void {
    for (const turn of this.#waiting) turn(reason);
  }
}
