/**
 * Keeps each message until every recipient is delivered, bounced or dropped by hand.
 *
 *   accepted ─▶ lane ─▶ attempt ─▶ outcome recorded ─▶ all done ─▶ removed
 *               ▲                     │ later             │ some failed
 *               └──── due heap ◀──────┘                   └▶ bounce stored ─▶ removed ─▶ bounce accepted
 */
import type { Deliver, Outcome, RemoteReply, Standing, Target } from "./entry.ts";
import type { Entry } from "./spool.ts";
import { type Log, reasonOf } from "../log.ts";
import { type Attempt, attempt } from "./attempt.ts";
import { ByHand } from "./by_hand.ts";
import { type Clock, systemClock } from "./clock.ts";
import { DueHeap } from "./due_heap.ts";
import { FirstAttempts } from "./first_attempt.ts";
import { Flights } from "./flights.ts";
import { type Changes, isBounceSource, isUnmarked, Ledger, type MakeBounce, type Stored } from "./ledger.ts";
import { defaultLanes, type LaneJob, Lanes, type LaneSettings, type Learned } from "./lanes.ts";
import { defaultRetry, isTooOld, longestWait, type RetrySettings } from "./retry.ts";
import { afterAttempt, afterProbe, failed, isDone, tellAt, told } from "./standing.ts";
import { placeOf } from "./target.ts";

export interface QueueSettings {
  readonly retry: RetrySettings;
  readonly lanes: LaneSettings;
  /** Milliseconds from the first failure to its bounce while other recipients are still tried: one bounce for many. */
  readonly gatherFailures: number;
  /** Milliseconds after which the sender of what still waits is told so. */
  readonly warnAfter: number;
}

export const defaultQueue: QueueSettings = {
  retry: defaultRetry,
  lanes: defaultLanes,
  gatherFailures: 60_000,
  warnAfter: 4 * 3600_000,
};

export interface QueueParts {
  readonly spool: Stored;
  /** Has a deadline for each of its own waits: the queue waits for it as long as it takes. */
  readonly deliver: Deliver;
  /** What may share a connection, and gets out of reach together: the domain, the relay, the mailbox. */
  readonly laneOf: (target: Target) => string;
  readonly makeBounce: MakeBounce;
  readonly log: Log;
  readonly clock?: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
}

export interface QueueStats {
  readonly messages: number;
  readonly running: number;
  readonly lanes: number;
  readonly resting: number;
  /** When the oldest message arrived; absent when there is none. */
  readonly oldest?: number;
}

interface DueItem {
  readonly at: number;
  readonly id: string;
  /** Concerns the recipients whose standing says the same, as `due` or as `warning`. */
  readonly due: number;
}

// What one turn of the event loop takes on, so that sessions are answered in between.
const BATCH = 500;

export class Queue {
  #settings: QueueSettings;
  readonly #parts: QueueParts;
  readonly #spool: Stored;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** For commands. They work also when the queue is not started: what they make due is done by the next start. */
  readonly byHand: ByHand;
  readonly #lanes: Lanes;
  readonly #ledger: Ledger;
  readonly #flights = new Flights();
  readonly #firstAttempts: FirstAttempts;
  #hurries = false;
  readonly #due = new DueHeap<DueItem>();
  /** All that is under way, for `stop` to wait for. */
  readonly #tasks = new Set<Promise<unknown>>();
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;
  #state: "new" | "started" | "stopped" = "new";

  constructor(settings: QueueSettings, parts: QueueParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#spool = parts.spool;
    this.#clock = parts.clock ?? systemClock;
    this.#random = parts.random ?? Math.random;
    this.#firstAttempts = new FirstAttempts(this.#clock);
    this.#lanes = new Lanes(settings.lanes, {
      clock: this.#clock,
      run: (job) => this.#track(this.#run(job)),
      mayStart: () => this.#state === "started" && this.#ledger.stuck === 0,
      giveUp: (job, probes, reply) => this.#giveUp(job, probes, reply),
    });
    this.#ledger = new Ledger({
      ...parts,
      clock: this.#clock,
      flights: this.#flights,
      // A note and a refusal would be two answers.
      telling: (id) => this.#firstAttempts.promise(id),
      schedule: (id, standings, least) => this.#schedule(id, standings, least),
      accepted: (bounce) => this.accepted(bounce),
      written: () => this.#lanes.pump(),
    });
    this.byHand = new ByHand({
      ...parts,
      lanes: this.#lanes,
      ledger: this.#ledger,
      flights: this.#flights,
      clock: this.#clock,
      track: (task) => this.#track(task),
    });
  }

  /** From now on: what has its next time already keeps it. */
  configure(settings: QueueSettings): void {
    this.#settings = settings;
    this.#lanes.configure(settings.lanes);
  }

  /** Takes up everything in the spool. */
  start(): void {
    if (this.#state !== "new") return;
    this.#state = "started";
    this.#ledger.telling = true;
    const unmarked: Entry[] = [], others: Entry[] = [];
    for (const entry of this.#spool.entries()) (isUnmarked(entry, this.#spool) ? unmarked : others).push(entry);
    // Before the originals have a turn: they must not compose the same bounce again.
    for (const bounce of unmarked) this.#release(bounce);
    for (const { id, standings } of others) {
      if (standings.every(isDone)) this.#inBackground(id, () => this.#ledger.finish(id));
      else this.#schedule(id, standings);
    }
  }

  /** A message that has just been committed: tried at once. */
  accepted(entry: Entry): void {
    if (this.#state !== "started") return; // It is in the spool: the next start finds it.
    this.#lanes.arrived();
    this.#dispatch(entry, (standing) => standing.state === "waiting");
    this.#lanes.pump();
  }

  /**
   * As `accepted`, for a sender who is still on the line: waits at most `patience` ms for the first attempt of all
   * recipients. When every one of them was refused for good in it, the message is gone, nobody is written to, and the
   * sender has to hear this reply, that of the first recipient. Undefined: it has been taken, as by `accepted`.
   */
  firstAttempt(entry: Entry, patience: number): Promise<RemoteReply | undefined> {
    const { id, envelope: { recipients } } = entry;
    const waits = this.#state === "started" && !this.#hurries;
    const answer = waits ? this.#firstAttempts.watch(entry, patience) : Promise.resolve(undefined);
    this.accepted(entry);
    // Where the way rests, there is nothing to wait for.
    if (recipients.some(({ target }) => this.#lanes.restOf(this.#parts.laneOf(target)) > 0)) {
      this.#firstAttempts.promise(id);
    }
    return answer;
  }

  /** From now on no sender waits for a first attempt: when sessions are cut, each has to know whether we have his message. */
  hurry(): void {
    this.#hurries = true;
    this.#firstAttempts.promiseAll();
  }

  stats(): QueueStats {
    const [oldest] = this.#spool.entries();
    return {
      messages: this.#spool.size,
      running: this.#lanes.running,
      ...this.#lanes.count(),
      ...(oldest === undefined ? {} : { oldest: oldest.envelope.arrived }),
    };
  }

  /**
   * Begins nothing new and waits for what is under way, at most `deadline` ms. What is not finished then is tried again
   * after the next start. Close the spool afterwards.
   */
  async stop(deadline: number): Promise<void> {
    if (this.#state !== "started") return this.#ledger.close();
    this.#state = "stopped";
    this.#timer?.cancel();
    this.#due.clear();
    this.#lanes.close();
    this.#firstAttempts.promiseAll();
    let cancel = () => {};
    const late = new Promise<void>((resolve) => cancel = this.#clock.after(deadline, resolve));
    await Promise.race([Promise.allSettled([...this.#tasks]), late]);
    cancel();
    this.#ledger.close();
    const { running } = this.#lanes;
    if (running > 0) this.#parts.log("warning", "queue-stopped-early", { running });
  }

  #schedule(id: string, standings: Iterable<Standing>, least = 0): void {
    if (this.#state !== "started") return;
    const now = this.#clock.now(), monotonic = this.#clock.monotonic(), longest = longestWait(this.#settings.retry);
    const dues = new Set<number>();
    for (const standing of standings) {
      if (standing.state === "waiting") dues.add(standing.due);
      const telling = tellAt(standing);
      if (telling > 0) dues.add(telling);
    }
    // Clamped: a clock that was set back by days would otherwise hold the mail for days.
    for (const due of dues) this.#due.push({ at: monotonic + Math.min(Math.max(due - now, least), longest), id, due });
    this.#arm();
  }

  #arm(): void {
    const first = this.#due.first;
    if (this.#state !== "started" || first === undefined) return;
    if (this.#timer !== undefined && this.#timer.at <= first.at) return;
    this.#timer?.cancel();
    const cancel = this.#clock.after(first.at - this.#clock.monotonic(), () => this.#ring());
    this.#timer = { at: first.at, cancel };
  }

  #ring(): void {
    this.#timer = undefined;
    const monotonic = this.#clock.monotonic();
    for (let taken = 0; taken < BATCH; taken++) {
      const item = this.#due.first;
      if (item === undefined || item.at > monotonic) break;
      this.#due.pop();
      const entry = this.#spool.entry(item.id);
      if (entry === undefined) continue;
      this.#dispatch(entry, ({ state, due }) => state === "waiting" && due === item.due);
      const news = entry.standings.filter((standing) => tellAt(standing) === item.due);
      if (news.some(isDone)) this.#inBackground(item.id, () => this.#ledger.tell(item.id));
      if (!news.every(isDone)) this.#inBackground(item.id, () => this.#ledger.warn(item.id, item.due));
    }
    this.#lanes.pump();
    this.#arm();
  }

  /** Puts the recipients that `isDue` into their lanes, one job for each lane. */
  #dispatch({ id, envelope, standings }: Entry, isDue: (standing: Standing) => boolean): void {
    const jobs = new Map<string, { readonly to: Target["to"]; readonly recipients: number[] }>();
    for (const [recipient, standing] of standings.entries()) {
      if (!isDue(standing) || this.#flights.stage(id, recipient) !== undefined) continue;
      const { target } = envelope.recipients[recipient]!, lane = this.#parts.laneOf(target);
      const job = jobs.get(lane);
      if (job === undefined) jobs.set(lane, { to: target.to, recipients: [recipient] });
      else job.recipients.push(recipient);
      this.#flights.enter(id, recipient, "queued");
    }
    for (const [lane, { to, recipients }] of jobs) this.#lanes.add(lane, to, { id, recipients });
  }

  async #run({ id, recipients: meant }: LaneJob): Promise<Learned> {
    try {
      const entry = this.#spool.entry(id);
      const recipients = meant.filter((recipient) => entry?.standings[recipient]?.state === "waiting");
      if (entry === undefined || recipients.length === 0) return { lane: "unknown" };
      for (const recipient of recipients) this.#flights.enter(id, recipient, "running");
      const content = this.#spool.content(id), { envelope, recovered: uncertain } = entry;
      const made = await attempt(
        this.#parts.deliver,
        { id, envelope, recipients, content, uncertain },
        this.#parts.log,
      );
      await this.#flights.inTurn(id, () => this.#conclude(id, made));
      return made.learned;
    } catch (error) {
      this.#parts.log("error", "outcome-lost", { id, error: reasonOf(error) });
      return { lane: "unknown" };
    } finally {
      this.#flights.leave(id, meant);
    }
  }

  async #conclude(id: string, { outcomes, damaged }: Attempt): Promise<void> {
    const entry = this.#spool.entry(id);
    if (entry === undefined) return;
    if (damaged !== undefined) {
      this.#firstAttempts.promise(id);
      return await this.#ledger.setAside(id, damaged.message);
    }
    const refusal = this.#firstAttempts.refusal(id, outcomes);
    if (refusal !== undefined && await this.#refuse(entry, outcomes, refusal)) return;
    const now = this.#clock.now();
    // Who waits on the line must not be written to meanwhile.
    const tellAt = now + Math.max(this.#settings.gatherFailures, this.#firstAttempts.patienceOf(id));
    const moment = { now, tellAt, random: this.#random() };
    const changes: Changes = new Map();
    for (const outcome of outcomes) {
      const was = entry.standings[outcome.recipient]!;
      const next = afterAttempt(was, outcome, entry.envelope, moment, this.#settings);
      changes.set(outcome.recipient, next);
      this.#report(entry, outcome.recipient, next);
    }
    await this.#ledger.change(entry, changes, "untilDone", [...changes.keys()]);
  }

  /** The sender is on the line and hears of the refusal there. False when it cannot be written: then he hears of a promise. */
  async #refuse(entry: Entry, outcomes: readonly Outcome[], refusal: RemoteReply): Promise<boolean> {
    const { id, standings, envelope } = entry, now = this.#clock.now();
    const changes: Changes = new Map();
    for (const [recipient, was] of standings.entries()) {
      changes.set(recipient, isDone(was) ? told(was) : { ...was, state: "dropped", due: 0 });
    }
    for (const { recipient, reply } of outcomes) {
      const { attempts } = standings[recipient]!;
      changes.set(recipient, { state: "failed", attempts: attempts + 1, due: 0, lastAttempt: now, reply });
    }
    try {
      await this.#ledger.change(entry, changes, "once", outcomes.map(({ recipient }) => recipient));
    } catch (error) {
      this.#parts.log("error", "refusal-not-written", { id, error: reasonOf(error) });
      this.#firstAttempts.settle(id, undefined);
      return false;
    }
    this.#firstAttempts.settle(id, refusal);
    for (const { recipient } of outcomes) this.#report(entry, recipient, changes.get(recipient)!);
    this.#parts.log("info", "message-refused", { id, from: envelope.sender, code: refusal.code, text: refusal.text });
    return true;
  }

  /** All that waits behind a probe that failed has been tried with it, as far as its sender is concerned. */
  #giveUp({ id, recipients }: LaneJob, probes: number, reply: RemoteReply): boolean {
    const entry = this.#spool.entry(id);
    if (entry === undefined) return true;
    const { envelope, standings } = entry, { retry, lanes, warnAfter } = this.#settings;
    const now = this.#clock.now(), times = { now, nextLook: now + lanes.restLongest, warnAfter };
    const waiting = recipients.filter((recipient) => standings[recipient]!.state === "waiting");
    const old = waiting.every((recipient) =>
      isTooOld({ attempts: standings[recipient]!.attempts + probes, arrived: envelope.arrived, now }, retry)
    );
    const late: Next = (was, recipient) => afterProbe(was, { recipient, reply }, envelope, times);
    const over: Next = (was, recipient) =>
      was.state !== "waiting" || this.#flights.stage(id, recipient) !== undefined
        ? undefined
        : failed({ ...was, lastAttempt: now }, { recipient, reply }, envelope, now);
    if (old) this.#flights.leave(id, recipients);
    if (old || waiting.some((recipient) => late(standings[recipient]!, recipient) !== undefined)) {
      this.#inBackground(id, () => this.#moveOn(id, waiting, old ? over : late));
    }
    return old;
  }

  async #moveOn(id: string, recipients: readonly number[], next: Next): Promise<void> {
    const entry = this.#spool.entry(id);
    if (entry === undefined) return;
    const changes: Changes = new Map();
    for (const recipient of recipients) {
      const standing = next(entry.standings[recipient]!, recipient);
      if (standing === undefined) continue;
      changes.set(recipient, standing);
      if (isDone(standing)) this.#report(entry, recipient, standing);
    }
    if (changes.size > 0) await this.#ledger.change(entry, changes, "untilDone");
  }

  /** A bounce whose original does not know of it yet. */
  #release(bounce: Entry): void {
    const { source } = bounce.envelope;
    if (!isBounceSource(source)) return;
    const { about } = source, { id } = about;
    this.#inBackground(id, async () => {
      await this.#ledger.markTold(id, about);
      this.accepted(bounce);
    });
  }

  #report({ id, envelope }: Entry, recipient: number, { state, attempts, due, reply }: Standing): void {
    const { address, target } = envelope.recipients[recipient]!;
    this.#parts.log("info", `recipient-${state === "waiting" ? "deferred" : state}`, {
      id,
      to: address,
      target: placeOf(target),
      attempts,
      code: reply?.code,
      enhanced: reply?.enhanced,
      host: reply?.host,
      text: reply?.text,
      next: state === "waiting" ? new Date(due).toISOString() : undefined,
    });
  }

  #inBackground(id: string, work: () => Promise<void>): void {
    this.#track(this.#flights.inTurn(id, work)).catch((error) => {
      this.#parts.log("error", "queue-work-failed", { id, error: reasonOf(error) });
    });
  }

  #track<T>(task: Promise<T>): Promise<T> {
    const settled: Promise<void> = task.then(() => {}, () => {}).then(() => void this.#tasks.delete(settled));
    this.#tasks.add(settled);
    return task;
  }
}

/** The new standing of a recipient; undefined when it stays as it is. */
type Next = (was: Standing, recipient: number) => Standing | undefined;
