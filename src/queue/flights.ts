/** Which recipients are on their way, and whose turn it is to write about a message. Kept only while something happens. */

/** `queued`: waits in a lane. `running`: an attempt is being made, or its outcome being recorded. */
export type Stage = "queued" | "running";

interface Flight {
  readonly stages: Map<number, Stage>;
  /** The last of those that want to change this message's standings. */
  turn?: Promise<void>;
}

export class Flights {
  readonly #flights = new Map<string, Flight>();

  stage(id: string, recipient: number): Stage | undefined {
    return this.#flights.get(id)?.stages.get(recipient);
  }

  enter(id: string, recipient: number, stage: Stage): void {
    this.#of(id).stages.set(recipient, stage);
  }

  leave(id: string, recipients: Iterable<number>): void {
    const flight = this.#flights.get(id);
    if (flight === undefined) return;
    for (const recipient of recipients) flight.stages.delete(recipient);
    this.#letGo(id, flight);
  }

  /** True while an attempt is under way for a recipient that is not among `mine`. */
  othersRun(id: string, mine: readonly number[]): boolean {
    for (const [recipient, stage] of this.#flights.get(id)?.stages ?? []) {
      if (stage === "running" && !mine.includes(recipient)) return true;
    }
    return false;
  }

  /**
   * Does `work` when all that was asked for this message before is done: what reads a standing and writes the next one
   * must not be overtaken. Settles as `work` does.
   */
  inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const flight = this.#of(id);
    const result = (flight.turn ?? Promise.resolve()).then(work);
    const turn: Promise<void> = result.then(() => {}, () => {}).then(() => {
      if (flight.turn !== turn) return;
      delete flight.turn;
      this.#letGo(id, flight);
    });
    flight.turn = turn;
    return result;
  }

  #of(id: string): Flight {
    let flight = this.#flights.get(id);
    if (flight === undefined) this.#flights.set(id, flight = { stages: new Map() });
    return flight;
  }

  #letGo(id: string, flight: Flight): void {
    if (flight.stages.size === 0 && flight.turn === undefined) this.#flights.delete(id);
  }
}
