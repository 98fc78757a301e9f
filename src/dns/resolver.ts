/**
 * A stub resolver that can tell `no such name` from a server's trouble, which neither Deno's nor Node's does: with
 * them, a hiccup of the name server would bounce mail for good.
 */

import { Cache } from "./cache.ts";
import { askByTcp, askByUdp, type Exchanged } from "./exchange.ts";
import { isHostName, parseName, reverseName } from "./name.ts";
import { Places } from "./places.ts";
import { MAX_CHAIN, type Reading, readReply } from "./reading.ts";
import type { Data, Dns, DnsRecord, Limits, Lookup, Mx, RecordType, Tlsa } from "./records.ts";
import { formatServer, type Server } from "./servers.ts";
import { SharedQuestion } from "./shared_question.ts";

export interface ResolverSettings {
  /** Asked in this order, beginning with the one that answered last. */
  readonly servers: readonly Server[];
  /** Believe the AD bit. Only for servers that validate and that are reached by a safe path. Default: false. */
  readonly trustAd?: boolean;
  /** Milliseconds for one try with one server. Default: 3,000. */
  readonly patience?: number;
  /** Milliseconds for one question, all tries and CNAMEs together. Default: 12,000. */
  readonly deadline?: number;
  /**
   * Exchanges with servers at a time, each with a socket of its own; a fifth is kept for questions without `signal`, so
   * that whoever calls us with many names does not keep us from sending. Default: 200.
   */
  readonly exchanges?: number;
  /** Questions that wait until another one has given back its place, within their deadline. Default: 1,000. */
  readonly waiting?: number;
  /** Answers that are remembered. Default: 10,000, and never more than 16 MiB. */
  readonly remembered?: number;
  /** Milliseconds, for what is remembered. Default: a clock that no change of the time disturbs. */
  readonly now?: () => number;
}

// Seconds. Longer TTLs are the business of the name server behind us; RFC 2308 §5 and §7 bound the other two.
const LONGEST_TTL = 3600, LONGEST_NEGATIVE_TTL = 900, FAILURE_TTL = 3;
const MAX_REMEMBERED_OCTETS = 16 * 1024 * 1024;
const DEFAULTS = {
  trustAd: false,
  patience: 3000,
  deadline: 12_000,
  exchanges: 200,
  waiting: 1000,
  remembered: 10_000,
  now: () => performance.now(),
};

type Found = Lookup<DnsRecord>;
type Failure = Extract<Found, { readonly reason: string }>;
type Open = SharedQuestion<Found>;
type Asked = { readonly name: string; readonly type: RecordType };
/** What the servers made of one name. `size` in octets. */
type Told =
  | { readonly reading: Exclude<Reading, { says: "failure" }>; readonly authenticated: boolean; readonly size: number }
  | Failure;

export class Resolver implements Dns {
  readonly #settings: Required<ResolverSettings>;
  readonly #cache: Cache<Found>;
  readonly #places: Places;
  /** The questions under way. */
  readonly #open = new Map<string, Open>();
  #isClosed = false;
  /** Index of the server that last said anything, so that a dead one is not waited for again with each question. */
  #first = 0;

  constructor(settings: ResolverSettings) {
    this.#settings = { ...DEFAULTS, ...settings };
    const { remembered, exchanges, waiting } = this.#settings;
    this.#cache = new Cache(remembered, MAX_REMEMBERED_OCTETS);
    this.#places = new Places({ places: exchanges, waiting, kept: Math.floor(exchanges / 5) });
  }

  a(name: string, limits?: Limits): Promise<Lookup<string>> {
    return this.ask("A", name, limits);
  }

  aaaa(name: string, limits?: Limits): Promise<Lookup<string>> {
    return this.ask("AAAA", name, limits);
  }

  async mx(name: string, limits?: Limits): Promise<Lookup<Mx>> {
    const found = await this.ask("MX", name, limits);
    if (found.outcome !== "answer") return found;
    const records = found.records.filter(({ exchange }) => exchange === "" || isHostName(exchange));
    return records.length === 0 ? failed("only records that name no host") : { ...found, records };
  }

  txt(name: string, limits?: Limits): Promise<Lookup<string>> {
    return this.ask("TXT", name, limits);
  }

  tlsa(name: string, limits?: Limits): Promise<Lookup<Tlsa>> {
    return this.ask("TLSA", name, limits);
  }

  /** What is not an address has no name. */
  ptr(address: string, limits?: Limits): Promise<Lookup<string>> {
    return this.ask("PTR", reverseName(address) ?? "", limits);
  }

  async ask<T extends RecordType>(type: T, text: string, limits: Limits = {}): Promise<Lookup<Data<T>>> {
    const name = parseName(text);
    if (name === undefined) return { outcome: "no such name", authenticated: false, ttl: 0 };
    const found = await this.#find(type, name, limits);
    if (found.outcome !== "answer") return found;
    // readReply lets only records of this type through.
    return { ...found, records: found.records.map((record) => record.data as Data<T>) };
  }

  /** Gives up what is under way, which then has failed. Settles when every socket and timer is gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const open = [...this.#open.values()];
    for (const question of open) question.abandon();
    await Promise.all(open.map(({ answer }) => answer));
  }

  #find(type: RecordType, name: string, { signal }: Limits): Found | Promise<Found> {
    const key = `${type} ${name}`;
    const known = this.#cache.get(key, this.#settings.now());
    if (known !== undefined) return aged(known.value, known.left);
    if (this.#isClosed) return CLOSED;
    if (signal?.aborted) return OUT_OF_BUDGET;
    const isPatient = signal === undefined;
    let open = this.#open.get(key);
    if (open === undefined || open.signal.aborted) {
      open = new SharedQuestion(isPatient, (question) => this.#resolve(key, { type, name }, question));
      this.#open.set(key, open);
      void this.#forget(key, open);
    } else if (isPatient && !open.isPatient) {
      open.isPatient = true;
      this.#places.admit();
    }
    return open.share(signal, OUT_OF_BUDGET);
  }

  async #forget(key: string, open: Open): Promise<void> {
    await open.answer;
    if (this.#open.get(key) === open) this.#open.delete(key);
  }

  async #resolve(key: string, { type, name }: Asked, open: Open): Promise<Found> {
    const deadline = performance.now() + this.#settings.deadline;
    let at = name, authenticated = true, ttl = Infinity, size = 0;
    for (let hop = 0; hop <= MAX_CHAIN; hop++) {
      const told = await this.#askServers({ name: at, type }, open, deadline);
      if (told === CLOSED || told === OUT_OF_BUDGET || told === TOO_MANY) return told;
      if ("outcome" in told) return this.#remember(key, told, FAILURE_TTL, 0);
      const { reading } = told;
      authenticated &&= told.authenticated;
      ttl = Math.min(ttl, reading.ttl);
      size += told.size;
      switch (reading.says) {
        case "ask again":
          at = reading.name;
          continue;
        case "answer": {
          ttl = Math.min(ttl, LONGEST_TTL);
          const { records, name } = reading;
          return this.#remember(key, { outcome: "answer", records, name, authenticated, ttl }, ttl, size);
        }
        default:
          reading.says satisfies "no such name" | "no data";
          ttl = Math.min(ttl, LONGEST_NEGATIVE_TTL);
          return this.#remember(key, { outcome: reading.says, authenticated, ttl }, ttl, size);
      }
    }
    return this.#remember(key, failed(`chain of more than ${MAX_CHAIN} CNAME records`), FAILURE_TTL, 0);
  }

  /** Server after server, round after round, until one says something about the name or the time is over. */
  async #askServers(question: Asked, open: Open, deadline: number): Promise<Told> {
    const failures = new Map<Server, string>();
    while (failures.size < this.#settings.servers.length) {
      for (const server of this.#inTurn()) {
        // Only silence is worth another try: what a server said once it will say again.
        if (failures.has(server)) continue;
        if (deadline - performance.now() < 1) return failures.size === 0 ? TIMED_OUT : failedAt(failures);
        // For each try: so a question that meets only silence comes behind those that were not asked yet.
        const leave = await this.#places.take(open, deadline - performance.now());
        if (leave === undefined && !open.signal.aborted) return failures.size === 0 ? TOO_MANY : failedAt(failures);
        const exchanged = await this.#exchange(server, question, open.signal, deadline).finally(leave);
        if (open.signal.aborted) return this.#isClosed ? CLOSED : OUT_OF_BUDGET;
        if (exchanged.result === "silence") continue;
        this.#first = this.#settings.servers.indexOf(server);
        if (exchanged.result === "failure") {
          failures.set(server, exchanged.reason);
          continue;
        }
        const { reply, size } = exchanged;
        const reading = readReply(reply, question.name, question.type);
        if (reading.says !== "failure") {
          return { reading, size, authenticated: this.#settings.trustAd && reply.authentic };
        }
        failures.set(server, reading.reason);
      }
    }
    return failedAt(failures);
  }

  #inTurn(): readonly Server[] {
    const { servers } = this.#settings;
    return [...servers.slice(this.#first), ...servers.slice(0, this.#first)];
  }

  async #exchange(server: Server, question: Asked, signal: AbortSignal, deadline: number): Promise<Exchanged> {
    const { trustAd, patience } = this.#settings;
    const exchange = () => ({
      server,
      question,
      dnssec: trustAd,
      // The wait for a place, or for the answer by UDP, may have used up all of it.
      patience: Math.max(Math.min(patience, deadline - performance.now()), 0),
      signal,
    });
    const byUdp = await askByUdp(exchange());
    // RFC 2181 §9: what was cut off is not an answer, not even in part.
    return byUdp.result === "reply" && byUdp.reply.truncated ? await askByTcp(exchange()) : byUdp;
  }

  #remember(key: string, found: Found, seconds: number, size: number): Found {
    if (seconds > 0) this.#cache.set(key, found, this.#settings.now() + seconds * 1000, size + 2 * key.length + 256);
    return found;
  }
}

const CLOSED: Failure = { outcome: "server failed", reason: "the resolver is closed" };
const TIMED_OUT: Failure = { outcome: "timed out", reason: "no name server answered in time" };
const TOO_MANY: Failure = { outcome: "server failed", reason: "too many look-ups are open" };
const OUT_OF_BUDGET: Failure = { outcome: "timed out", reason: "the time for all look-ups of this message is used up" };

function failed(reason: string): Failure {
  return { outcome: "server failed", reason };
}

function failedAt(failures: ReadonlyMap<Server, string>): Failure {
  if (failures.size === 0) return failed("no name server is set");
  return failed([...failures].map(([server, reason]) => `${formatServer(server)}: ${reason}`).join("; "));
}

/** What is remembered holds only for what is left of its time. */
function aged(found: Found, left: number): Found {
  return "ttl" in found ? { ...found, ttl: Math.ceil(left / 1000) } : found;
}
