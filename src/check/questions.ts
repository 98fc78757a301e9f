/** The DNS as one check asks it: all questions within one budget of time, and what the answers are good for afterwards. */

import { nodeStyle, type NodeStyleResolve } from "../dns/node_style.ts";
import type { Dns, Lookup } from "../dns/records.ts";

/** RFC 7208 §4.6.4 asks for at least 20 seconds; nobody waits longer for all look-ups of one check. */
export const DNS_BUDGET = 20_000;

export class Questions {
  /** In the words of Node, as mailauth asks. When the time is over, what is not remembered has `timed out`. */
  readonly resolve: NodeStyleResolve;
  readonly #budget = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  #ttl = Infinity;

  /** `milliseconds` for everything that is asked here. */
  constructor(dns: Dns, milliseconds: number = DNS_BUDGET) {
    const note = <T>(lookup: Lookup<T>): Lookup<T> => {
      this.#ttl = Math.min(this.#ttl, "ttl" in lookup ? lookup.ttl : 0);
      return lookup;
    };
    this.resolve = nodeStyle({
      ask: async (type, name, limits) => note(await dns.ask(type, name, limits)),
      txt: async (name, limits) => note(await dns.txt(name, limits)),
    }, { signal: this.#budget.signal });
    this.#timer = setTimeout(() => this.#budget.abort(), milliseconds);
  }

  get signal(): AbortSignal {
    return this.#budget.signal;
  }

  /** The time is over: what came out of the answers until then may be wrong. */
  get late(): boolean {
    return this.#budget.signal.aborted;
  }

  /** Seconds for which all answers hold; 0 when one of them was the resolver's trouble, Infinity when none was asked. */
  get ttl(): number {
    return this.#ttl;
  }

  /** Nothing more will be asked. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
