/**
 * A certificate from an authority that speaks ACME (RFC 8555): what is on disk is shown, and renewed when a third of its
 * life is left. While that fails the old one stays, and the authority is asked again at longer and longer intervals,
 * over restarts too: it counts what we ask.
 */

import { createHash } from "node:crypto";
import { type Log, reasonOf } from "../log.ts";
import { type Attempts, type Held, readAttempts, readHeld, writeAttempts, writeHeld } from "./acme_folder.ts";
import { orderCertificate } from "./acme_order.ts";
import { OrderFailed } from "./acme_problem.ts";
import type { AcmeSettings } from "./acme_settings.ts";
import { isFor } from "./certificate_names.ts";
import type { KeyPair } from "./certificates.ts";

/** Milliseconds. */
export interface Pace {
  /** After the first failure, and at least between two orders; twice as long after each further one ... */
  readonly first: number;
  /** ... but no longer than this. */
  readonly longest: number;
  /** The clock on the wall is looked at so often: somebody may set it. */
  readonly look: number;
  /** For one order, all in all. */
  readonly order: number;
}

export interface AcmeParts {
  /** The private key of our account with the authority of this directory, in PEM. */
  readonly accountKey: (directory: string) => Promise<string>;
  /** There is a new one. */
  readonly renewed: (pair: KeyPair) => void;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly pace?: Pace;
}

/** How it stands. Times in milliseconds since 1970. */
export interface AcmeState {
  readonly names: readonly string[];
  readonly directory: string;
  /** Of the certificate that we hold; undefined: there is none. */
  readonly notAfter?: number;
  readonly nextAttempt: number;
  /** Orders that failed one after the other since the last certificate. */
  readonly failures: number;
  readonly lastAttempt?: number;
  /** A sentence: why the last one failed. */
  readonly lastError?: string;
  /** The last one has not ended, or was cut off; until that is known it is counted among those that failed. */
  readonly isUnderWay?: boolean;
}

const UNDER_WAY = "An order is under way, or was cut off.";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const PACE: Pace = { first: MINUTE, longest: 6 * HOUR, look: HOUR, order: 5 * MINUTE };
/** Authorities ask for patience of up to a week; whatever they say, and wherever the clock was, we look once a day. */
const LONGEST_PATIENCE = DAY;
/** The share of its waits by which they are made longer or shorter. */
const JITTER = 0.1;
/** A certificate of a few minutes must not wait an hour until somebody looks at the clock. */
const LOOKS_IN_A_LIFE = 50;

/** How it stands, by what is on disk: for another process than the server. Rejects when that cannot be read. */
export async function readAcmeState(settings: AcmeSettings, now = Date.now()): Promise<AcmeState> {
  const { store, names } = settings;
  return stateOf(settings, await readHeld(store, names[0]!), await readAttempts(store, names[0]!), now);
}

function stateOf(
  settings: AcmeSettings,
  held: Held | undefined,
  attempts: Attempts | undefined,
  now: number,
): AcmeState {
  const { names, directory } = settings, counted = attempts?.settings === printOf(settings) ? attempts : undefined;
  const isWanted = held?.directory === directory && names.every((name) => isFor(held.leaf, name));
  const renewAt = isWanted ? held.renewAt : now, notBefore = counted?.notBefore ?? now;
  return {
    names,
    directory,
    // What lies further ahead was written by a clock that was wrong.
    nextAttempt: Math.max(renewAt, notBefore - now > LONGEST_PATIENCE ? now : notBefore),
    failures: counted?.failures ?? 0,
    ...(held && { notAfter: held.notAfter }),
    ...(counted?.last !== undefined && { lastAttempt: counted.last }),
    ...(counted?.error !== undefined && { lastError: counted.error }),
    ...(counted?.error === UNDER_WAY && { isUnderWay: true }),
  };
}

/** What an order depends on. */
function printOf({ names, directory, directoryCa, email, challenge, listen }: AcmeSettings): string {
  const all = [names, directory, directoryCa, email, challenge, listen.hostname, listen.port];
  return createHash("sha256").update(JSON.stringify(all)).digest("base64url");
}

export class Acme {
  readonly #settings: AcmeSettings;
  readonly #parts: AcmeParts;
  readonly #now: () => number;
  readonly #pace: Pace;
  readonly #closing = new AbortController();
  #held: Held | undefined;
  #attempts: Attempts | undefined;
  /** Issued, but not on disk yet. */
  #unwritten: Held | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> = Promise.resolve();
  #isOrdering = false;

  private constructor(
    settings: AcmeSettings,
    parts: AcmeParts,
    held: Held | undefined,
    attempts: Attempts | undefined,
  ) {
    this.#settings = settings;
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    this.#pace = parts.pace ?? PACE;
    this.#held = held;
    this.#attempts = attempts;
  }

  /** Reads what is on disk; nothing is ordered before `start`. Rejects with a sentence when it cannot be read. */
  static async open(settings: AcmeSettings, parts: AcmeParts): Promise<Acme> {
    const { store, names: [name = ""] } = settings;
    try {
      return new Acme(settings, parts, await readHeld(store, name), await readAttempts(store, name));
    } catch (error) {
      throw new Error(
        `Cannot read the certificate of ${name} in ${store}/acme: ${reasonOf(error)}. ` +
          "The folder and its files must belong to the user that runs maildemon.",
      );
    }
  }

  /** What is shown; undefined until the first one is there. */
  get current(): KeyPair | undefined {
    return this.#held?.pair;
  }

  /** Whether an order with these settings would be the same. */
  isFor(settings: AcmeSettings): boolean {
    return settings.store === this.#settings.store && printOf(settings) === printOf(this.#settings);
  }

  state(): AcmeState {
    const state = stateOf(this.#settings, this.#held, this.#attempts, this.#now());
    // What is not on disk would be gone with the next start.
    return this.#unwritten && this.#attempts ? { ...state, nextAttempt: this.#attempts.notBefore } : state;
  }

  /** Orders when it is time, now and from now on. */
  start(): void {
    if (!this.#closing.signal.aborted) this.#look();
  }

  /** Somebody may have mended what was wrong: what failed is tried now, unless the authority itself asked for patience. */
  hurry(): void {
    const attempts = this.#attempts;
    if (this.#isOrdering || this.#closing.signal.aborted || !attempts?.failures) return;
    clearTimeout(this.#timer);
    this.#attempts = { ...attempts, notBefore: Math.max(attempts.asked ?? 0, this.#now()) };
    this.#look();
  }

  /** Settles within a few seconds; an order that is under way is given up, and begun anew by the next start. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  #look(): void {
    const now = this.#now(), due = this.state().nextAttempt;
    if (due > now) return this.#wait();
    this.#isOrdering = true;
    this.#running = this.#attempt().finally(() => {
      this.#isOrdering = false;
      this.#wait();
    });
  }

  #wait(): void {
    if (this.#closing.signal.aborted) return;
    const held = this.#held, wait = this.state().nextAttempt - this.#now();
    const look = Math.min(this.#pace.look, held ? (held.notAfter - held.renewAt) * 3 / LOOKS_IN_A_LIFE : Infinity);
    this.#timer = setTimeout(() => this.#look(), Math.max(Math.min(wait, look), 0));
  }

  /** Never rejects. */
  async #attempt(): Promise<void> {
    const { names, directory } = this.#settings;
    const failures = this.state().failures + 1;
    const failed = async (error: unknown) => {
      const patience = Math.min(error instanceof OrderFailed && error.retryAfter || 0, LONGEST_PATIENCE);
      const wait = Math.max(this.#backoff(failures), patience);
      await this.#remember(failures, wait, reasonOf(error), patience).catch(() => {});
      const isBad = this.#held === undefined || this.#held.notAfter <= this.#now();
      this.#parts.log(isBad ? "error" : "warning", "certificate-not-renewed", {
        names: names.join(","),
        error: reasonOf(error),
        failures,
        next: new Date(this.state().nextAttempt).toISOString(),
      });
    };
    try {
      // Before anything is asked: who is killed, or has no room to write, must not ask again and again.
      await this.#write(this.#attemptsAfter(failures, this.#backoff(failures), UNDER_WAY));
      const held = this.#held = this.#unwritten ??= await this.#order();
      // Shown even when it cannot be written: it is good.
      this.#parts.renewed(held.pair);
      await writeHeld(this.#settings.store, names[0]!, held);
      this.#unwritten = undefined;
      // Without a note of it the certificate is no worse.
      await this.#remember(0, this.#pauseAfter(held)).catch(() => {});
      this.#parts.log("info", "certificate-renewed", {
        names: names.join(","),
        authority: directory,
        until: new Date(held.notAfter).toISOString(),
      });
    } catch (error) {
      // The next start begins where this one did.
      if (this.#closing.signal.aborted && this.#unwritten === undefined) await this.#restore();
      else await failed(error);
    }
  }

  async #order(): Promise<Held> {
    const { directory } = this.#settings;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#pace.order)]);
    const accountKey = await Promise.race([this.#parts.accountKey(directory), silenceOfTheStore(signal)]);
    return await orderCertificate(this.#settings, accountKey, signal);
  }

  #backoff(failures: number): number {
    const wait = Math.min(this.#pace.first * 2 ** (failures - 1), this.#pace.longest);
    return wait * (1 + JITTER * (2 * Math.random() - 1));
  }

  /** When our clock is far ahead, a new one is due for renewal at once: the next is no better, and they are counted. */
  #pauseAfter({ renewAt }: Held): number {
    return renewAt > this.#now() ? this.#pace.first : this.#pace.longest;
  }

  async #restore(): Promise<void> {
    await this.#write(this.#attempts ?? { settings: "", failures: 0, notBefore: 0 }).catch(() => {});
  }

  /** In memory in any case: it is what stands between us and a loop. Rejects when it cannot be written. */
  async #remember(failures: number, wait: number, error?: string, patience = 0): Promise<void> {
    const asked = patience > 0 ? { asked: this.#now() + patience } : {};
    this.#attempts = { ...this.#attemptsAfter(failures, wait, error), ...asked };
    await this.#write(this.#attempts);
  }

  #attemptsAfter(failures: number, wait: number, error?: string): Attempts {
    const last = this.#now(), settings = printOf(this.#settings);
    return { settings, failures, notBefore: last + wait, last, ...(error !== undefined && { error }) };
  }

  async #write(attempts: Attempts): Promise<void> {
    await writeAttempts(this.#settings.store, this.#settings.names[0]!, attempts);
  }
}

/** A store on another machine may never answer. */
function silenceOfTheStore(signal: AbortSignal): Promise<never> {
  const reason = "The store did not give the key of our account in time. Look whether its server can be reached.";
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new OrderFailed(reason))));
}
