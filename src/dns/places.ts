/** The places for exchanges with name servers: each exchange holds a socket, and a server that has none left is deaf. */

export interface Asker {
  /** May take what is kept for the patient. May become true meanwhile: then `admit` has to be called. */
  readonly isPatient: boolean;
  /** Nobody wants the place any more. */
  readonly signal: AbortSignal;
}

export interface Bounds {
  readonly places: number;
  /** How many may wait for a place. */
  readonly waiting: number;
  /** Of both, so many are kept for the patient. */
  readonly kept: number;
}

/** Gives the place back, once. */
export type Leave = () => void;

interface Waiting {
  readonly asker: Asker;
  readonly end: (leave: Leave | undefined) => void;
}

export class Places {
  readonly #bounds: Bounds;
  /** Taken by all, and by those who are not patient. */
  #taken = 0;
  #hurried = 0;
  /** In the order of their arrival. None of them may take a place that is free now. */
  readonly #waiting = new Set<Waiting>();

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  /** Waits so many milliseconds for a place; undefined when none came, or when too many wait. Never rejects. */
  take(asker: Asker, patience: number): Promise<Leave | undefined> {
    if (asker.signal.aborted) return Promise.resolve(undefined);
    if (this.#isOpenFor(asker)) return Promise.resolve(this.#enter(asker));
    const { waiting: room, kept } = this.#bounds;
    if (this.#waiting.size >= room - (asker.isPatient ? 0 : kept)) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const end = (leave: Leave | undefined) => {
        clearTimeout(timer);
        asker.signal.removeEventListener("abort", giveUp);
        this.#waiting.delete(waiting);
        resolve(leave);
      };
      const waiting = { asker, end }, giveUp = () => end(undefined);
      const timer = setTimeout(giveUp, patience);
      asker.signal.addEventListener("abort", giveUp);
      this.#waiting.add(waiting);
    });
  }

  /** Lets in who may come in now, the first first. */
  admit(): void {
    for (const { asker, end } of this.#waiting) {
      if (this.#taken >= this.#bounds.places) return;
      if (this.#isOpenFor(asker)) end(this.#enter(asker));
    }
  }

  #isOpenFor({ isPatient }: Asker): boolean {
    const { places, kept } = this.#bounds;
    return this.#taken < places && (isPatient || this.#hurried < places - kept);
  }

  #enter({ isPatient }: Asker): Leave {
    const hurried = isPatient ? 0 : 1;
    let isIn = true;
    this.#taken++;
    this.#hurried += hurried;
    return () => {
      if (!isIn) return;
      isIn = false;
      this.#taken--;
      this.#hurried -= hurried;
      this.admit();
    };
  }
}
