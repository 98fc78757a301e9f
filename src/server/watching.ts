/** What people and programs see of the running server: the page, the metrics, whether it takes mail. */

import type { Guests } from "../accept/listener.ts";
import type { Config } from "../config.ts";
import type { Queue } from "../queue/queue.ts";
import type { Spool } from "../queue/spool.ts";
import type { Counters, Gauges } from "../status/metrics.ts";
import { openStatus, type PageParts, type StatusServer } from "../status/page.ts";
import { VERSION } from "../version.ts";
import { within } from "./closing.ts";
import type { InForce } from "./in_force.ts";
import type { Listening } from "./listening.ts";
import type { Prepared } from "./prepared.ts";
import type { Presenting } from "./presenting.ts";

export interface WatchingParts {
  readonly guests: Guests;
  readonly queue: Queue;
  readonly spool: Spool;
  readonly listening: Listening;
  readonly presenting: Presenting;
  readonly inForce: InForce;
  readonly counters: Counters;
}

/** For the last pages: half a request, which strangers can send too, would be waited for without end; milliseconds. */
const PAGE_PATIENCE = 1_000;
/** After a write that failed, milliseconds: who is sent elsewhere because of it has to come back to see it mended. */
const UNREADY_FOR = 60_000;

export class Watching {
  /** The last new version of the configuration could not be used. */
  reloadRefused = false;
  readonly #parts: WatchingParts;
  readonly #began = performance.now();
  #page: StatusServer | undefined;
  /** Where it is, in the words of the configuration. */
  #where: string | undefined;

  constructor(parts: WatchingParts) {
    this.#parts = parts;
  }

  /** Undefined when there is no page. */
  get port(): number | undefined {
    return this.#page?.port;
  }

  /** Throws a sentence when the page cannot be where it should. */
  prepare(config: Config): Prepared {
    const { listen } = config.status, where = JSON.stringify(listen);
    const token = tokenOf(config), parts = this.#partsOf(config), before = this.#page;
    const next = where === this.#where ? before : listen && openStatus({ ...listen, token }, parts);
    let isUsed = false;
    return {
      use: () => {
        isUsed = true;
        if (next !== before) void close(before);
        this.#page = next;
        this.#where = where;
        next?.configure(token, parts);
      },
      cancel: () => void (isUsed || next === before || close(next)),
    };
  }

  async close(): Promise<void> {
    await close(this.#page);
  }

  #partsOf({ hostname }: Config): PageParts {
    const { listening, counters, spool, inForce } = this.#parts;
    return {
      name: hostname,
      version: VERSION,
      listeners: () => listening.addresses,
      gauges: () => this.#gauges(),
      counters,
      ready: () => spool.sinceFailure > UNREADY_FOR,
      unsubscribe: () => inForce.now.unsubscribe,
    };
  }

  #gauges(): Gauges {
    const { queue, presenting, guests } = this.#parts;
    const { messages, running, resting, oldest } = queue.stats(), now = Date.now(), ends = presenting.endsAt();
    return {
      connections: guests.size,
      queued: messages,
      delivering: running,
      resting,
      oldest: oldest === undefined ? 0 : Math.max(0, Math.round((now - oldest) / 1000)),
      uptime: Math.round((performance.now() - this.#began) / 1000),
      memory: Deno.memoryUsage().rss,
      certificate: ends && Math.round((ends - now) / 1000),
      ordersFailed: presenting.ordered()?.failures,
      reloadRefused: this.reloadRefused ? 1 : 0,
    };
  }
}

async function close(page: StatusServer | undefined): Promise<void> {
  if (page !== undefined) await within(PAGE_PATIENCE, page.close());
}

function tokenOf({ status, secrets }: Config): string | undefined {
  return status.token_file === undefined ? undefined : secrets.get(status.token_file);
}
