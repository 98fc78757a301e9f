/** A question under way: who asks the same meanwhile shares the answer, and when nobody is left it is given up. */

export class SharedQuestion<T> {
  /** One of those who ask has no budget, as who routes mail that is ours. */
  isPatient: boolean;
  readonly answer: Promise<T>;
  readonly #abandoned = new AbortController();
  #askers = 0;

  /** `ask` never rejects, and ends soon after the signal of the question has fired. */
  constructor(isPatient: boolean, ask: (question: SharedQuestion<T>) => Promise<T>) {
    this.isPatient = isPatient;
    this.answer = ask(this);
  }

  /** Nobody wants the answer. */
  get signal(): AbortSignal {
    return this.#abandoned.signal;
  }

  abandon(): void {
    this.#abandoned.abort();
  }

  /** The answer, or `late` when the signal fires first; the question then goes on for the others who share it. */
  share(signal: AbortSignal | undefined, late: T): Promise<T> {
    this.#askers++;
    if (signal === undefined) return this.answer;
    return new Promise((resolve) => {
      const giveUp = () => {
        resolve(late);
        this.#askers--;
        if (this.#askers === 0) this.abandon();
      };
      signal.addEventListener("abort", giveUp, { once: true });
      void this.answer.then((answer) => {
        signal.removeEventListener("abort", giveUp);
        resolve(answer);
      });
    });
  }
}
