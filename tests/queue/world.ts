/** The world around a queue in tests: a spool in memory, a clock that a test moves, and servers that say what they are told. */

import { bounceMaker } from "../../src/queue/bounce.ts";
import type { Deliver, Job, Outcome, RemoteReply, Target } from "../../src/queue/entry.ts";
import type { Fields, Level } from "../../src/log.ts";
import { defaultQueue, Queue, type QueueParts, type QueueSettings } from "../../src/queue/queue.ts";
import { placeOf } from "../../src/queue/target.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";
import { envelope, MemorySpool } from "../support/memory_spool.ts";

export const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
export const OK: RemoteReply = { code: 250, enhanced: "2.0.0", text: "Taken", host: "mx.there.test [192.0.2.1]" };
export const LATER: RemoteReply = {
  code: 451,
  enhanced: "4.7.1",
  text: "Greylisted",
  host: "mx.there.test [192.0.2.1]",
};
export const NO: RemoteReply = {
  code: 550,
  enhanced: "5.1.1",
  text: "No such user",
  host: "mx.there.test [192.0.2.1]",
};
export const AWAY: RemoteReply = {
  code: 451,
  enhanced: "4.4.1",
  text: "Connection refused",
  host: "mx.there.test [192.0.2.1]",
};

export type Says = "ok" | "later" | "no" | "away";
export const said: Readonly<Record<Says, Omit<Outcome, "recipient">>> = {
  ok: { result: "delivered", reply: OK },
  later: { result: "later", reply: LATER },
  no: { result: "failed", reply: NO },
  away: { result: "later", reply: AWAY, unreachable: true },
};

/** The world around a queue: `answer` says what becomes of an address; `sent` is what was tried, in order. */
export class World {
  spool = new MemorySpool();
  clock = new ManualClock();
  readonly sent: string[] = [];
  readonly jobs: Job[] = [];
  readonly events: { level: Level; event: string; fields: Fields }[] = [];
  answer: (address: string, job: Job) => Says = () => "ok";
  /** Nobody is told that something is late, unless a test asks for it. */
  settings: QueueSettings = { ...defaultQueue, warnAfter: Infinity };
  queue!: Queue;
  #processes = 0;

  deliver: Deliver = async (job) => {
    // A process that is killed right after its last append sends nothing more either.
    if (this.spool.appends.length >= this.spool.most) return await new Promise(() => {});
    this.jobs.push(job);
    for await (const _ of job.content.pieces());
    return job.recipients.map((recipient) => {
      const { address } = job.envelope.recipients[recipient]!;
      this.sent.push(address);
      return { recipient, ...said[this.answer(address, job)] };
    });
  };

  open(parts: Partial<QueueParts> = {}): Queue {
    const process = ++this.#processes;
    return this.queue = new Queue(this.settings, {
      spool: this.spool,
      // A process that was killed sends nothing more, and its clock stands still.
      deliver: (job) => process === this.#processes ? this.deliver(job) : new Promise(() => {}),
      laneOf,
      makeBounce: bounceMaker(
        { hostname: "mail.ours.test", postmaster: "postmaster@ours.test", giveUpAfter: 5 * DAY },
        (address) => Promise.resolve([{ to: "maildir", path: `/mail/${address}` }]),
        () => this.clock.now(),
      ),
      log: (level, event, fields = {}) => this.events.push({ level, event, fields }),
      clock: this.clock,
      random: () => 0.5,
      ...parts,
    });
  }

  start(parts: Partial<QueueParts> = {}): this {
    this.open(parts).start();
    return this;
  }

  /** The process is killed and started again. */
  async restart(): Promise<void> {
    this.spool = this.spool.reopen();
    this.clock = new ManualClock(this.clock.now());
    this.start();
    await this.clock.advance(0);
  }

  async accept(...to: string[]): Promise<string> {
    const entry = await this.spool.put(envelope(to, { arrived: this.clock.now() }));
    this.queue.accepted(entry);
    await settle();
    return entry.id;
  }

  sentTo(address: string): number {
    return this.sent.filter((each) => each === address).length;
  }

  bounces(): string[] {
    return [...this.spool.entries()].filter(({ envelope: { source } }) => source.by === "bounce").map(({ id }) => id);
  }
}

export function laneOf(target: Target): string {
  return target.to === "remote" ? target.address.slice(target.address.lastIndexOf("@") + 1) : placeOf(target);
}
