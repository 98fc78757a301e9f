/**
 * Whose turn it is. What goes to the same place (a domain's servers, a mailbox) goes through one lane, in the order in
 * which it came; lanes take turns, so that one with 100,000 messages does not hold up one with a single message. A lane
 * whose place cannot be reached rests, and one job at a time finds out whether it is back.
 */
import type { RemoteReply, Target } from "./entry.ts";
import type { Clock } from "./clock.ts";

/** Some recipients of one message that all lie in one lane. */
export interface LaneJob {
  readonly id: string;
  /** Indexes into the envelope's recipients. */
  readonly recipients: readonly number[];
}

/** What a job learned about the place it went to. */
export type Learned =
  | { readonly lane: "reached" }
  | { readonly lane: "unreachable"; readonly reply: RemoteReply }
  | { readonly lane: "unknown" };

export interface LaneSettings {
  /** Jobs at one time to other servers: in all, and in one lane. */
  readonly concurrency: number;
  readonly concurrencyPerDomain: number;
  /** Jobs at one time into mailboxes of this machine: they share one disk with the mail that comes in … */
  readonly mailboxConcurrency: number;
  /** … which goes first: so few while any came within the last `lull` milliseconds. At least 1. */
  readonly mailboxConcurrencyInFlood: number;
  readonly lull: number;
  /** First and longest rest of a lane in milliseconds; it doubles from one to the other. */
  readonly restFirst: number;
  readonly restLongest: number;
}

export const defaultLanes: LaneSettings = {
  concurrency: 100,
  concurrencyPerDomain: 10,
  mailboxConcurrency: 16,
  mailboxConcurrencyInFlood: 1,
  lull: 50,
  restFirst: 5 * 60_000,
  restLongest: 60 * 60_000,
};

export interface LaneParts {
  readonly clock: Clock;
  /** Does a job. Never rejects. */
  readonly run: (job: LaneJob) => Promise<Learned>;
  /** False while nothing may be started. Call `pump` when it becomes true. */
  readonly mayStart: () => boolean;
  /**
   * Asked about each job that waits in a lane which was found out of reach once more, `probes` times since the job came:
   * true takes it out of the lane.
   */
  readonly giveUp: (job: LaneJob, probes: number, reply: RemoteReply) => boolean;
}

type Pool = "mailbox" | "remote";

interface Waiting extends LaneJob {
  /** `Lane.failures` when the job came. */
  readonly since: number;
}

interface Rest {
  readonly until: number;
  readonly length: number;
  readonly cancel: () => void;
}

interface Lane {
  readonly name: string;
  readonly pool: Pool;
  jobs: Waiting[];
  /** Index of the first job that still waits; what lies before it is gone. */
  head: number;
  running: number;
  /** Present from the first failure to reach the place until the first success; `until` 0 once it is over. */
  rest?: Rest;
  /** How often the place was found out of reach, all in all. */
  failures: number;
}

export class Lanes {
  #settings: LaneSettings;
  readonly #parts: LaneParts;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that could start a job now, in the order of their turns. */
  readonly #ready: Readonly<Record<Pool, Set<Lane>>> = { mailbox: new Set(), remote: new Set() };
  readonly #running: Record<Pool, number> = { mailbox: 0, remote: 0 };
  #lastArrival = -Infinity;
  #closed = false;

  constructor(settings: LaneSettings, parts: LaneParts) {
    this.#settings = settings;
    this.#parts = parts;
  }

  /** From now on; a lane that rests ends its rest as before. */
  configure(settings: LaneSettings): void {
    this.#settings = settings;
    for (const lane of this.#lanes.values()) this.#consider(lane);
    this.pump();
  }

  get running(): number {
    return this.#running.mailbox + this.#running.remote;
  }

  /** Lanes in memory, and how many of them rest. */
  count(): { lanes: number; resting: number } {
    const now = this.#parts.clock.monotonic();
    let resting = 0;
    for (const { rest } of this.#lanes.values()) if (rest !== undefined && rest.until > now) resting++;
    return { lanes: this.#lanes.size, resting };
  }

  /** Milliseconds that the lane will still rest; 0 when it does not. */
  restOf(name: string): number {
    const until = this.#lanes.get(name)?.rest?.until ?? 0;
    return Math.max(0, until - this.#parts.clock.monotonic());
  }

  /** A message has come in. What is in the journal is safe and can wait; who is on the line should not have to. */
  arrived(): void {
    this.#lastArrival = this.#parts.clock.monotonic();
  }

  /** Appends a job; nothing starts before `pump`. */
  add(name: string, to: Target["to"], job: LaneJob): void {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { name, pool: to === "maildir" ? "mailbox" : "remote", jobs: [], head: 0, running: 0, failures: 0 };
      this.#lanes.set(name, lane);
    }
    lane.jobs.push({ ...job, since: lane.failures });
    this.#consider(lane);
  }

  /** Starts what may start. */
  pump(): void {
    for (const pool of ["remote", "mailbox"] as const) {
      while (this.#running[pool] < this.#most(pool) && this.#parts.mayStart()) {
        const [lane] = this.#ready[pool];
        if (lane === undefined) break;
        this.#ready[pool].delete(lane);
        this.#start(lane);
        this.#consider(lane);
      }
    }
  }

  /** Ends the rest of a lane by order, as if its time were over: the next job finds out. */
  wake(name: string): void {
    const lane = this.#lanes.get(name);
    if (lane === undefined) return;
    this.#endRest(lane);
  }

  /** Forgets all that waits, and keeps nothing for later any more. What runs goes on. */
  close(): void {
    this.#closed = true;
    for (const lane of this.#lanes.values()) {
      lane.rest?.cancel();
      delete lane.rest;
      lane.jobs = [];
      lane.head = 0;
      this.#consider(lane);
    }
  }

  /** Of those that run in a flood, the next one to end looks again: no timer is needed to notice that it is over. */
  #most(pool: Pool): number {
    const { concurrency, mailboxConcurrency, mailboxConcurrencyInFlood, lull } = this.#settings;
    if (pool === "remote") return concurrency;
    return this.#parts.clock.monotonic() - this.#lastArrival < lull ? mailboxConcurrencyInFlood : mailboxConcurrency;
  }

  #start(lane: Lane): void {
    const job = lane.jobs[lane.head++];
    if (job === undefined) return;
    // Cut off what is done now and then: shifting each job out would move 100,000 others every time.
    if (lane.head === lane.jobs.length || lane.head >= 1024 && lane.head * 2 > lane.jobs.length) {
      lane.jobs = lane.jobs.slice(lane.head);
      lane.head = 0;
    }
    lane.running++;
    this.#running[lane.pool]++;
    const { failures } = lane;
    this.#parts.run({ id: job.id, recipients: job.recipients }).catch((): Learned => ({ lane: "unknown" })).then(
      (learned) => {
        lane.running--;
        this.#running[lane.pool]--;
        this.#learn(lane, learned, failures);
        this.#consider(lane);
        this.pump();
      },
    );
  }

  /** `failures` is what was known when the job began. */
  #learn(lane: Lane, learned: Learned, failures: number): void {
    switch (learned.lane) {
      case "reached":
        lane.rest?.cancel();
        delete lane.rest;
        return;
      case "unreachable":
        // Ten jobs that fail together are one failure of the place, not ten.
        if (lane.failures === failures) this.#layToRest(lane, learned.reply);
        return;
      case "unknown":
        return;
      default:
        learned satisfies never;
    }
  }

  #layToRest(lane: Lane, reply: RemoteReply): void {
    if (this.#closed) return;
    const { clock, giveUp } = this.#parts, { restFirst, restLongest } = this.#settings;
    const length = lane.rest === undefined ? restFirst : Math.min(lane.rest.length * 2, restLongest);
    lane.rest?.cancel();
    lane.failures++;
    // Each probe speaks for all that wait behind it; otherwise a long lane would never grow old enough to bounce.
    lane.jobs = lane.jobs.slice(lane.head).filter((job) => !giveUp(job, lane.failures - job.since, reply));
    lane.head = 0;
    lane.rest = {
      until: clock.monotonic() + length,
      length,
      cancel: clock.after(length, () => this.#endRest(lane)),
    };
  }

  #endRest(lane: Lane): void {
    if (lane.rest === undefined) return;
    // Remembered a while longer, so that the next failure doubles the rest even if nothing waits just now.
    const { length, cancel } = lane.rest;
    cancel();
    lane.rest = {
      until: 0,
      length,
      cancel: this.#parts.clock.after(this.#settings.restLongest, () => this.#forget(lane)),
    };
    this.#consider(lane);
    this.pump();
  }

  #forget(lane: Lane): void {
    if (lane.running > 0 || lane.head < lane.jobs.length) return this.#endRest(lane);
    delete lane.rest;
    this.#consider(lane);
  }

  /** Gives a lane its place among those that are ready, or takes it away, or lets go of a lane that nobody needs. */
  #consider(lane: Lane): void {
    const waits = lane.head < lane.jobs.length;
    if (!waits && lane.running === 0 && lane.rest === undefined) this.#lanes.delete(lane.name);
    const probing = lane.rest !== undefined;
    const most = probing
      ? 1
      : lane.pool === "mailbox"
      ? this.#settings.mailboxConcurrency
      : this.#settings.concurrencyPerDomain;
    const awake = !probing || lane.rest!.until <= this.#parts.clock.monotonic();
    if (waits && awake && lane.running < most) this.#ready[lane.pool].add(lane);
    else this.#ready[lane.pool].delete(lane);
  }
}
