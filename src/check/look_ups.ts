/**
 * The look-ups about one caller. At most one of a kind is under way, however many names and senders he gives: who
 * takes another name has no more questions open for the one before, and of MAIL and RSET by turns only the last one is
 * asked. When he is gone, nobody waits for answers any more.
 */

import type { Dns } from "../dns/records.ts";
import { type Blocklist, checkDnsbl, type Listing } from "./dnsbl.ts";
import { checkHelo, type HeloFinding } from "./helo.ts";
import type { Claim, SpfFinding } from "./spf.ts";

export interface LookUpParts {
  readonly dns: Dns;
  readonly dnsbl: readonly Blocklist[];
  readonly spf: { check(claim: Claim): Promise<SpfFinding> };
}

/** Milliseconds for the look-ups about the host, and at the end of a message for what only adds to the score. */
const BUDGET = 20_000, PATIENCE = 3_000;

export class LookUps {
  readonly #parts: LookUpParts;
  readonly #host: string;
  readonly #mismatch: () => void;
  readonly #gone = new AbortController();
  #listings: Promise<readonly Listing[]> = Promise.resolve([]);
  #name: { readonly name: string; readonly giveUp: AbortController } | undefined;
  #helo: Promise<HeloFinding> | undefined;
  #heloFound: HeloFinding | undefined;
  #claim: Claim | undefined;
  #spf: Promise<SpfFinding> | undefined;

  /** `host`: address of the peer. `mismatch` is called for each name that is another host's. */
  constructor(parts: LookUpParts, host: string, mismatch: () => void) {
    this.#parts = parts;
    this.#host = host;
    this.#mismatch = mismatch;
  }

  /** What is known of the last name so far. */
  get heloFound(): HeloFinding | undefined {
    return this.#heloFound;
  }

  askLists(): void {
    const { dns, dnsbl } = this.#parts;
    if (dnsbl.length === 0) return;
    this.#listings = within(BUDGET, [this.#gone.signal], (signal) => checkDnsbl(this.#host, dnsbl, dns, signal));
  }

  /** What is known or asked already is not asked again: under TLS the same name comes a second time. */
  helo(name: string): Promise<HeloFinding> {
    if (this.#name?.name === name && this.#helo !== undefined) return this.#helo;
    this.#name?.giveUp.abort();
    this.#heloFound = undefined;
    const asked = this.#name = { name, giveUp: new AbortController() };
    const check = (signal: AbortSignal) => checkHelo(name, this.#host, this.#parts.dns, signal);
    return this.#helo = within(BUDGET, [this.#gone.signal, asked.giveUp.signal], check).then((found) => {
      if (this.#name !== asked) return found;
      if (found.result === "mismatch") this.#mismatch();
      return this.#heloFound = found;
    });
  }

  /** Undefined: nobody is asked for this sender. */
  spf(claim: Claim | undefined): Promise<SpfFinding> | undefined {
    const before = this.#spf;
    this.#claim = claim;
    return this.#spf = claim && this.#askSpf(claim, before);
  }

  /** At the end of a message: SPF, and as much of the others as is known soon. */
  async found(): Promise<
    { helo?: HeloFinding | undefined; spf?: SpfFinding | undefined; listings: readonly Listing[] }
  > {
    const [helo, spf, listings] = await Promise.all([
      soon(this.#helo, undefined),
      this.#spf,
      soon(this.#listings, []),
    ]);
    return { helo, spf, listings };
  }

  end(): void {
    this.#gone.abort();
    this.#claim = undefined;
  }

  async #askSpf(claim: Claim, before: Promise<unknown> | undefined): Promise<SpfFinding> {
    await before;
    if (this.#claim === claim) return await this.#parts.spf.check(claim);
    return { result: "temperror", domain: "", identity: "mailfrom" };
  }
}

/** Gives up after so many milliseconds, and when one of these fires. */
async function within<T>(
  budget: number,
  signals: readonly AbortSignal[],
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController(), giveUp = () => late.abort();
  const timer = setTimeout(giveUp, budget);
  for (const signal of signals) signal.addEventListener("abort", giveUp, { once: true });
  try {
    return await work(late.signal);
  } finally {
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener("abort", giveUp);
  }
}

async function soon<T>(found: Promise<T> | undefined, late: T): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const waited = new Promise<T>((done) => timer = setTimeout(done, PATIENCE, late));
  return await Promise.race([found ?? late, waited]).finally(() => clearTimeout(timer));
}
