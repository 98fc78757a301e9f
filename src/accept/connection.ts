/** Performs what a session wants: reads, writes, asks, and ends when a deadline has passed. */

import { type Log, reasonOf } from "../log.ts";
import type { Effect, Question } from "../smtp/effect.ts";
import { STOPPING, TIMED_OUT } from "../smtp/replies.ts";
import { formatReply, isPositive, type Reply } from "../smtp/reply.ts";
import type { Session } from "../smtp/session.ts";
import type { Caller } from "./caller.ts";
import type { ShownTo, Stream } from "./stream.ts";

/** The one who decides, and takes the message in. Never rejects for what a peer said; a rejection is our fault, 451. */
export interface Host {
  answer(question: Question): Promise<Reply>;
  /** A piece of the message. The promise, when there is one, is back-pressure. */
  body(bytes: Uint8Array): void | Promise<void>;
  discard(): void;
  /** The conversation is over. */
  ended?(protocolErrors: number): void;
}

/** Milliseconds; bytes a second. */
export interface ConnectionLimits {
  readonly commandTimeout: number;
  readonly dataTimeout: number;
  readonly sessionTimeout: number;
  readonly minDataRate: number;
  /** The greeting waits this long, and one turn of the event loop at least; who speaks before it is sent away. */
  readonly greetDelay: number;
}

/** A slow start is no attack: the rate of a message is judged after this time. */
const RATE_GRACE = 30_000;
const HANDSHAKE_TIMEOUT = 30_000;
/** For the last reply, and for the peer to close. */
const FAREWELL_TIMEOUT = 2_000;
/** Idle connections are many and hold a small buffer; a message is read in bigger pieces. */
const SMALL = 2048, LARGE = 65536;
/** So many bytes one connection may bring before the others have their turn: a command costs more than a line of text. */
const MESSAGE_TURN = 2 * LARGE, COMMAND_TURN = 4 * SMALL;
/** So much is said before it is written although more commands wait. */
const MAX_OUTPUT = 16384;

const OUR_FAULT: Reply = { code: 451, enhanced: "4.3.0", lines: ["Something is wrong here: try again later"] };
/** Large buffers between two messages: making one costs as much as reading the message. */
const spare: Uint8Array[] = [], MAX_SPARE = 32;
const EMPTY = new Uint8Array(0);
const text = new TextEncoder();

export class Connection {
  readonly #began = performance.now();
  #deadline: number;
  /** Nobody hurries us while we work, and a reply that is not read is the peer's fault. */
  #state: "reading" | "writing" | "working" = "working";
  #output = "";
  #buffer: Uint8Array = EMPTY;
  /** Bytes that were read since the others last had their turn for sure. */
  #sinceTurn = 0;
  #stopping = false;
  /** A read that began before the greeting. */
  #pending: Promise<Uint8Array | null> | undefined;
  #ended = false;
  /** For the log. */
  #why = "quit";
  #message: { began: number; bytes: number } | undefined;
  #replies = 0;
  #last = "";

  constructor(
    readonly caller: Caller,
    private readonly stream: Stream,
    private readonly session: Session,
    private readonly host: Host,
    private readonly settings: ConnectionLimits & { readonly shownTo?: ShownTo },
    private readonly log: Log,
  ) {
    this.#deadline = this.#began + settings.commandTimeout;
  }

  /** The whole conversation. Never rejects. */
  async run(): Promise<void> {
    try {
      // Implicit TLS: no byte in clear, in either direction.
      if (this.caller.kind === "submissions") await this.#handshake();
      await this.#perform(this.session.open());
      while (!this.#ended) await this.#read();
    } catch (error) {
      if (!this.#ended) this.#why = reasonOf(error);
    } finally {
      this.#state = "working";
      this.host.discard();
      this.host.ended?.(this.session.protocolErrors);
      this.stream.close();
    }
    const { host, user, tls } = this.caller;
    const seconds = Math.round((performance.now() - this.#began) / 10) / 100;
    const fields = { connection: this.caller.id, host, user, tls: tls?.protocol, seconds, replies: this.#replies };
    this.log("info", "session-ended", { ...fields, last: this.#last, why: this.#why });
  }

  /** Ends the conversation when its time is up. Called from outside, every second or so. */
  sweep(now: number): void {
    if (this.#state === "working") return;
    const end = Math.min(this.#deadline, this.#began + this.settings.sessionTimeout);
    if (now >= end || this.#isTooSlow(now)) this.#expire(TIMED_OUT);
  }

  /** The server stops: a message that is arriving may still end, then the peer is told. */
  stop(): void {
    this.#stopping = true;
    if (this.#state === "reading" && this.#message === undefined) this.#expire(STOPPING);
  }

  /** No more patience: what is not finished is lost, and was not promised to anybody. */
  abort(): void {
    this.#ended = true;
    this.#why = "cut off";
    this.stream.close();
  }

  #expire(reason: Reply): void {
    // Who does not read what was said before will not read this either.
    if (this.#ended || this.#state === "writing") return this.abort();
    void this.#sayGoodbye(reason);
  }

  /** Never rejects. */
  async #sayGoodbye(reason: Reply): Promise<void> {
    const effects = this.session.expire(reason);
    this.#ended = true;
    this.#why = reason === STOPPING ? "stopping" : "expired";
    this.host.discard();
    for (const effect of effects) if (effect.do === "send") this.#say(effect.reply);
    const abort = setTimeout(() => this.stream.close(), FAREWELL_TIMEOUT);
    try {
      await this.stream.write(text.encode(this.#output));
    } catch {
      /* the peer is gone */
    } finally {
      clearTimeout(abort);
      this.stream.close();
    }
  }

  /** Used again for every read: the session keeps nothing of it. */
  #room(): Uint8Array {
    const wanted = this.#message ? LARGE : SMALL;
    if (this.#buffer.length === wanted) return this.#buffer;
    if (this.#buffer.length === LARGE && spare.length < MAX_SPARE) spare.push(this.#buffer);
    return this.#buffer = wanted === LARGE ? spare.pop() ?? new Uint8Array(LARGE) : new Uint8Array(SMALL);
  }

  /** Waits before the greeting, `more` milliseconds longer than with others; true when the peer did not. */
  async #speaksFirst(more: number): Promise<boolean> {
    this.#pending = this.stream.read(this.#room());
    let timer: ReturnType<typeof setTimeout> | undefined;
    const wait = this.settings.greetDelay + more;
    const waited = new Promise<undefined>((done) => timer = setTimeout(done, wait, undefined));
    const first = await Promise.race([this.#pending, waited]).finally(() => clearTimeout(timer));
    return first instanceof Uint8Array;
  }

  async #read(): Promise<void> {
    if (this.session.receivesMessage) {
      const now = performance.now();
      this.#message ??= { began: now, bytes: 0 };
      this.#deadline = now + this.settings.dataTimeout;
    } else {
      this.#message = undefined;
      if (this.#stopping) return await this.#sayGoodbye(STOPPING);
    }
    this.#state = "reading";
    const bytes = await (this.#pending ?? this.stream.read(this.#room()));
    this.#pending = undefined;
    // Who sends faster than we read makes every read ready at once, and the event loop would never turn: neither for
    // the others, nor for the clock that ends this.
    this.#sinceTurn += bytes?.length ?? 0;
    if (this.#sinceTurn >= (this.#message ? MESSAGE_TURN : COMMAND_TURN)) {
      this.#sinceTurn = 0;
      // Not setImmediate: as long as there is something to do at once, the runtime looks for the bytes of others only
      // each 61st time, and half a dozen senders in a hurry would make everybody else wait for half a second.
      await new Promise((turned) => setTimeout(turned));
    }
    if (this.#ended) return;
    this.#state = "working";
    if (bytes === null) {
      this.#ended = true;
      this.#why = "hung up";
      return await this.#perform(this.session.hangUp());
    }
    if (this.#message) this.#message.bytes += bytes.length;
    const effects = this.session.receive(bytes);
    // A command has this long from end to end: single bytes now and then buy no time.
    if (effects.length > 0) this.#deadline = performance.now() + this.settings.commandTimeout;
    await this.#perform(effects);
  }

  async #perform(effects: readonly Effect[]): Promise<void> {
    while (effects.length > 0) {
      let next: readonly Effect[] = [];
      for (const effect of effects) {
        switch (effect.do) {
          case "send":
            this.#say(effect.reply);
            if (this.#output.length > MAX_OUTPUT) await this.#flush();
            break;
          case "body": {
            const full = this.host.body(effect.bytes);
            if (full) await full;
            break;
          }
          case "discard":
            this.host.discard();
            break;
          case "ask": {
            const said = await this.#answer(effect.question);
            // What was stored has waited for the disk, and the others have had their turn.
            if (effect.question.about === "message" && isPositive(said)) this.#sinceTurn = 0;
            const early = effect.question.about === "client" && await this.#speaksFirst(said.delay ?? 0);
            next = early ? this.session.receive(EMPTY) : this.session.answer(said);
            break;
          }
          case "startTls":
            await this.#flush();
            await this.#handshake();
            next = this.session.secured();
            break;
          case "close":
            await this.#flush();
            await this.#farewell();
            break;
          default:
            effect satisfies never;
        }
      }
      effects = next;
    }
    await this.#flush();
  }

  async #answer(question: Question): Promise<Reply> {
    try {
      return await this.host.answer(question);
    } catch (error) {
      this.log("error", "answer-failed", {
        connection: this.caller.id,
        question: question.about,
        error: error instanceof Error ? error.stack ?? error.message : String(error),
      });
      return OUR_FAULT;
    }
  }

  #say(said: Reply): void {
    this.#replies++;
    this.#last = `${said.code} ${said.enhanced ?? ""}`.trim();
    this.#output += formatReply(said);
  }

  async #flush(): Promise<void> {
    if (this.#output === "" || this.#ended) return;
    const bytes = text.encode(this.#output);
    this.#output = "";
    this.#state = "writing";
    this.#deadline = performance.now() + this.settings.commandTimeout;
    await this.stream.write(bytes);
    this.#state = "working";
  }

  async #handshake(): Promise<void> {
    const { shownTo } = this.settings;
    if (shownTo === undefined) throw new Error("no certificate");
    const abort = setTimeout(() => this.stream.close(), HANDSHAKE_TIMEOUT);
    try {
      this.caller.tls = await this.stream.startTls(shownTo);
    } finally {
      clearTimeout(abort);
    }
  }

  async #farewell(): Promise<void> {
    this.#ended = true;
    const abort = setTimeout(() => this.stream.close(), FAREWELL_TIMEOUT);
    try {
      await this.stream.finish();
    } finally {
      clearTimeout(abort);
    }
  }

  #isTooSlow(now: number): boolean {
    if (this.#message === undefined || this.#state !== "reading") return false;
    const elapsed = now - this.#message.began;
    return elapsed > RATE_GRACE && this.#message.bytes < (elapsed / 1000) * this.settings.minDataRate;
  }
}
