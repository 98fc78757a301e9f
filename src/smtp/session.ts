/**
 * One SMTP conversation as a pure state machine: bytes, answers and the passing of time go in, effects come out.
 * It never waits, never reads a clock, never throws at input. Every command gets exactly one reply.
 *
 * `ask` and `startTls` are the last effect of a batch: the session reads nothing more until `answer` or `secured`.
 * That alone makes pipelining right, and forgets what was sent in clear behind STARTTLS.
 */

import { needsUtf8 } from "./address.ts";
import { Arrival } from "./arrival.ts";
import { type Command, parseCommand, type RecipientLine, type Sender } from "./command.ts";
import type { Effect, Hello, Question, Transaction } from "./effect.ts";
import { Input, type Line } from "./lines.ts";
import { type Awaited, beginLogin, type LoginStep, respond } from "./login.ts";
import * as say from "./replies.ts";
import { closing, isPositive, type Reply, reply } from "./reply.ts";
import type { Mechanism } from "./sasl.ts";

export interface SessionSettings {
  readonly kind: "mx" | "submission" | "submissions";
  readonly hostname: string;
  /** The connection is under TLS from its first byte. */
  readonly secure: boolean;
  readonly canStartTls: boolean;
  /** What AUTH offers under TLS on the submission kinds. */
  readonly mechanisms: readonly Mechanism[];
  /** Octets. */
  readonly maxMessageSize: number;
  readonly maxLine: number;
  readonly maxCommand: number;
  readonly maxRecipients: number;
  readonly maxMessages: number;
  readonly maxErrors: number;
}

/** What the next bytes are. */
type Mode =
  | { readonly reads: "command" }
  | { readonly reads: "data"; readonly arrival: Arrival }
  | { readonly reads: "chunk"; left: number; readonly last: boolean; readonly refusal: Reply | undefined }
  | { readonly reads: "response"; readonly awaited: Awaited }
  | { readonly reads: "nothing" };

// RFC 4954 §4: an AUTH line may be this long, whether it is a response or brings one along.
const MAX_AUTH_LINE = 12288;
const AUTH: readonly number[] = [65, 85, 84, 72];
/** Commands that move nothing: more of them in one session is not a mail client. */
const MAX_IDLE_COMMANDS = 1000;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class Session {
  readonly #settings: SessionSettings;
  readonly #input = new Input();
  #mode: Mode = { reads: "command" };
  #asked: Question | undefined;
  #greeted = false;
  #closed = false;
  #waitsForTls = false;
  #secure: boolean;
  #authenticated = false;
  #hello: Hello | undefined;
  #sender: Sender | undefined;
  #recipients: RecipientLine[] = [];
  #arrival: Arrival | undefined;
  #messages = 0;
  #errors = 0;
  #protocolErrors = 0;
  #idle = 0;
  #effects: Effect[] = [];

  constructor(settings: SessionSettings) {
    this.#settings = settings;
    this.#secure = settings.secure;
  }

  /** True while a message is on its way in: the connection reads bigger pieces then and watches their rate. */
  get receivesMessage(): boolean {
    return this.#mode.reads === "data" || this.#mode.reads === "chunk";
  }

  /** Refusals for the form or the order of what was said. */
  get protocolErrors(): number {
    return this.#protocolErrors;
  }

  open(): Effect[] {
    this.#ask({ about: "client" });
    return this.#take();
  }

  receive(bytes: Uint8Array): Effect[] {
    if (this.#closed) return [];
    if (!this.#greeted) {
      // RFC 5321 §4.3.1: the server speaks first. Who does not wait is no mail server.
      this.#send(say.TALKS_TOO_EARLY);
      return this.#take();
    }
    this.#input.add(bytes);
    return this.#read();
  }

  /** The answer to the open question. Anything but a positive one leaves the state as it was before the question. */
  answer(said: Reply): Effect[] {
    const question = this.#asked;
    if (question === undefined || this.#closed) return [];
    this.#asked = undefined;
    switch (question.about) {
      case "client":
        this.#greeted = true;
        this.#send(isPositive(said) ? said : closing(said));
        break;
      case "hello":
        if (isPositive(said)) this.#welcome(question.hello);
        else this.#reply(said);
        break;
      case "credentials":
      case "exchange":
        if (question.about === "exchange" && said.code === 334) {
          this.#mode = { reads: "response", awaited: { mechanism: question.mechanism, first: false } };
        }
        if (said.code === 235) this.#authenticated = true;
        this.#reply(said);
        break;
      case "sender":
        if (isPositive(said)) this.#sender = question.sender;
        this.#reply(said);
        break;
      case "recipient":
        if (isPositive(said)) this.#recipients.push(question.recipient);
        this.#reply(said);
        break;
      case "message":
        this.#messages++;
        this.#arrival = undefined;
        this.#endTransaction();
        if (isPositive(said)) this.#idle = 0;
        this.#reply(said);
        break;
      default:
        question satisfies never;
    }
    return this.#read();
  }

  /** TLS has begun: RFC 3207 §4.2, all that was said before is forgotten. */
  secured(): Effect[] {
    this.#waitsForTls = false;
    this.#secure = true;
    this.#hello = undefined;
    this.#endTransaction();
    this.#input.clear();
    return this.#take();
  }

  /** The peer has let a deadline pass, or the server stops. */
  expire(reason: Reply): Effect[] {
    if (this.#closed) return [];
    this.#send(closing(reason));
    return this.#take();
  }

  /** The peer is gone. What had begun to arrive leaves nothing. */
  hangUp(): Effect[] {
    this.#endTransaction();
    this.#closed = true;
    return this.#take();
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

  #read(): Effect[] {
    while (!this.#closed && this.#asked === undefined && !this.#waitsForTls && this.#step());
    this.#input.settle();
    return this.#take();
  }

  /** Takes one thing from the input. False when it needs more bytes. */
  #step(): boolean {
    const mode = this.#mode;
    switch (mode.reads) {
      case "command": {
        const cap = isAuth(this.#input.peek()) ? MAX_AUTH_LINE : this.#settings.maxCommand;
        const line = this.#input.line(cap);
        if (line !== undefined) this.#command(line);
        else if (isTlsHandshake(this.#input.peek())) this.#send(say.TLS_ON_CLEAR_PORT);
        return line !== undefined;
      }
      case "response": {
        const line = this.#input.line(MAX_AUTH_LINE);
        if (line !== undefined) this.#response(line, mode.awaited);
        return line !== undefined;
      }
      case "data":
        return this.#input.length > 0 && this.#readData(mode.arrival);
      case "chunk":
        return this.#readChunk(mode);
      case "nothing":
        return false;
      default:
        return mode satisfies never;
    }
  }

  #readData(arrival: Arrival): boolean {
    const { pieces, used, ended } = arrival.data(this.#input.peek());
    for (const bytes of pieces) this.#effects.push({ do: "body", bytes });
    this.#input.drop(used);
    if (ended) this.#messageEnds();
    return ended;
  }

  #readChunk(chunk: Mode & { reads: "chunk" }): boolean {
    if (chunk.left > 0) {
      const bytes = this.#input.peek().subarray(0, chunk.left);
      if (bytes.length === 0) return false;
      chunk.left -= bytes.length;
      if (chunk.refusal === undefined && this.#arrival?.chunk(bytes)) this.#effects.push({ do: "body", bytes });
      this.#input.drop(bytes.length);
      if (chunk.left > 0) return false;
    }
    this.#mode = { reads: "command" };
    const fault = chunk.refusal ?? this.#arrival?.fault(false);
    if (fault !== undefined) this.#abandon(fault);
    else if (chunk.last) this.#messageEnds();
    else this.#send(say.CHUNK_TAKEN);
    return true;
  }

  #messageEnds(): void {
    this.#mode = { reads: "command" };
    const transaction = this.#transaction(), hello = this.#hello;
    const fault = this.#arrival?.fault(true);
    if (fault !== undefined || transaction === undefined || hello === undefined) {
      this.#abandon(fault ?? say.NO_TRANSACTION);
    } else this.#ask({ about: "message", transaction, hello });
  }

  // ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────

  #command(line: Line): void {
    const text = textOf(line);
    if (typeof text !== "string") return this.#reply(text);
    const command = parseCommand(text);
    if (!("code" in command)) return this.#obey(command);
    // A message that was meant to come behind a command we cannot read must not be taken for one that may.
    if (/^(?:BDAT|DATA)\b/i.test(text)) this.#abandon(command);
    else this.#reply(command);
  }

  #obey(command: Command): void {
    switch (command.verb) {
      case "EHLO":
      case "HELO":
        return this.#greet({ name: command.name, extended: command.verb === "EHLO" });
      case "MAIL":
        return this.#mail(command.sender);
      case "RCPT":
        return this.#rcpt(command.recipient);
      case "DATA":
        return this.#data();
      case "BDAT":
        return this.#bdat(command.size, command.last);
      case "AUTH":
        return this.#auth(command.mechanism, command.initial);
      case "STARTTLS":
        return this.#startTls(command.alone);
      case "QUIT":
        return this.#send(say.BYE);
      case "RSET":
        this.#endTransaction();
        return this.#idleCommand(say.FLUSHED);
      case "NOOP":
        return this.#idleCommand(say.OK);
      case "HELP":
        return this.#idleCommand(say.HELP);
      case "VRFY":
        return this.#idleCommand(say.CANNOT_VERIFY);
      case "EXPN":
        return this.#reply(say.NO_EXPN);
      default:
        command satisfies never;
    }
  }

  #greet(hello: Hello): void {
    // RFC 2920 §3.1: it must be the last of a group, because what may follow depends on its reply.
    if (this.#input.length > 0) return this.#send(say.TALKS_AHEAD);
    // Like RSET it ends a transaction: MAIL and EHLO by turns would go on without end, a look-up each.
    if (++this.#idle > MAX_IDLE_COMMANDS) return this.#send(say.TOO_MANY_COMMANDS);
    this.#endTransaction();
    this.#ask({ about: "hello", hello });
  }

  #welcome(hello: Hello): void {
    this.#hello = hello;
    const { hostname } = this.#settings;
    this.#send(hello.extended ? say.extensions(this.#settings, this.#secure) : reply(250, "", hostname));
  }

  #mail(sender: Sender): void {
    const hello = this.#hello;
    if (hello === undefined) return this.#reply(say.HELLO_FIRST);
    if (this.#settings.kind !== "mx") {
      if (!this.#secure) return this.#reply(say.TLS_FIRST);
      if (!this.#authenticated) return this.#reply(say.AUTH_FIRST);
    }
    if (this.#sender !== undefined) return this.#reply(say.NESTED_MAIL);
    if (this.#messages >= this.#settings.maxMessages) return this.#send(say.TOO_MANY_MESSAGES);
    if ((sender.size ?? 0) > this.#settings.maxMessageSize) return this.#reply(say.TOO_BIG);
    this.#ask({ about: "sender", sender, hello });
  }

  #rcpt(recipient: RecipientLine): void {
    const sender = this.#sender;
    if (sender === undefined || this.#arrival !== undefined) return this.#reply(say.NO_TRANSACTION);
    if (this.#recipients.length >= this.#settings.maxRecipients) return this.#send(say.TOO_MANY_RECIPIENTS);
    const { path } = recipient;
    if (path !== "postmaster" && !sender.smtputf8 && needsUtf8(path)) return this.#reply(say.NEEDS_SMTPUTF8);
    this.#ask({ about: "recipient", recipient, transaction: { sender, recipients: this.#recipients } });
  }

  #data(): void {
    const sender = this.#sender;
    if (this.#arrival !== undefined) return this.#abandon(say.CHUNKS_ONLY);
    if (sender === undefined || this.#recipients.length === 0) return this.#abandon(say.NO_TRANSACTION);
    // RFC 3030 §3.
    if (sender.body === "BINARYMIME") return this.#abandon(say.BINARY_NEEDS_BDAT);
    // RFC 2920 §3.1, and a body sent before 354 is how commands are smuggled.
    if (this.#input.length > 0) return this.#send(say.TALKS_AHEAD);
    this.#arrival = new Arrival(this.#settings, sender.body);
    this.#mode = { reads: "data", arrival: this.#arrival };
    this.#send(say.GO_AHEAD);
  }

  #bdat(size: number, last: boolean): void {
    if (size === 0 && !last && ++this.#idle > MAX_IDLE_COMMANDS) return this.#send(say.TOO_MANY_COMMANDS);
    let refusal: Reply | undefined;
    const transaction = this.#transaction();
    if (transaction === undefined) refusal = say.NO_TRANSACTION;
    else {
      this.#arrival ??= new Arrival(this.#settings, transaction.sender.body);
      if (this.#arrival.overflows(size)) refusal = say.TOO_BIG;
    }
    // RFC 3030 §2: the octets follow whatever we think of them, and are read to their end.
    this.#mode = { reads: "chunk", left: size, last, refusal };
  }

  #startTls(alone: boolean): void {
    if (this.#secure) return this.#abandon(say.TLS_ALREADY);
    if (!this.#settings.canStartTls) return this.#abandon(say.NO_TLS);
    if (!alone) return this.#abandon(say.TLS_ALONE);
    this.#endTransaction();
    this.#input.clear();
    this.#waitsForTls = true;
    this.#send(say.TLS_READY);
    this.#effects.push({ do: "startTls" });
  }

  #auth(mechanism: string, initial: string | undefined): void {
    const offered = this.#settings.mechanisms.find((name) => name === mechanism);
    if (this.#settings.kind === "mx") return this.#abandon(say.NO_AUTH_HERE);
    if (this.#hello === undefined) return this.#abandon(say.HELLO_FIRST);
    if (!this.#secure) return this.#abandon(say.AUTH_NEEDS_TLS);
    if (this.#authenticated) return this.#abandon(say.AUTH_ALREADY);
    if (offered === undefined) return this.#abandon(say.NO_SUCH_MECHANISM);
    this.#login(beginLogin(offered, initial));
  }

  #response(line: Line, awaited: Awaited): void {
    this.#mode = { reads: "command" };
    const text = textOf(line);
    if (typeof text === "string") this.#login(respond(text, awaited));
    else this.#reply(text);
  }

  #login(step: LoginStep): void {
    switch (step.next) {
      case "refuse":
        return this.#reply(step.reply);
      case "challenge":
        this.#mode = { reads: "response", awaited: step.awaited };
        return this.#send(step.reply);
      case "ask":
        return this.#ask(step.question);
      default:
        step satisfies never;
    }
  }

  // ── state ────────────────────────────────────────────────────────────────────────────────────────────────────

  #transaction(): Transaction | undefined {
    if (this.#sender === undefined || this.#recipients.length === 0) return undefined;
    return { sender: this.#sender, recipients: this.#recipients };
  }

  #endTransaction(): void {
    if (this.#arrival !== undefined) this.#effects.push({ do: "discard" });
    this.#arrival = undefined;
    this.#sender = undefined;
    this.#recipients = [];
    this.#mode = { reads: "command" };
  }

  /** After a refusal of this kind nothing of the transaction is left: a client that missed it may not go on. */
  #abandon(said: Reply): void {
    if (this.#arrival !== undefined) this.#messages++;
    this.#endTransaction();
    this.#reply(said);
  }

  #idleCommand(said: Reply): void {
    this.#send(++this.#idle > MAX_IDLE_COMMANDS ? say.TOO_MANY_COMMANDS : said);
  }

  /** A reply that counts if it is a permanent no: who earns too many of them is not listened to any longer. */
  #reply(said: Reply): void {
    if (said.code >= 500 && ++this.#errors >= this.#settings.maxErrors) this.#send(say.TOO_MANY_ERRORS);
    else this.#send(said);
  }

  #ask(question: Question): void {
    this.#asked = question;
    this.#effects.push({ do: "ask", question });
  }

  #send(said: Reply): void {
    this.#effects.push({ do: "send", reply: said });
    // RFC 3463 §3.6: X.5.X is the status of the protocol, whatever the policy may say besides.
    if (said.enhanced?.startsWith("5.5.")) this.#protocolErrors++;
    if (said.close !== true && said.code !== 421) return;
    this.#endTransaction();
    this.#closed = true;
    this.#mode = { reads: "nothing" };
    this.#effects.push({ do: "close" });
  }

  #take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

/** The text of a command line, or why there is none. */
function textOf(line: Line): string | Reply {
  if (line.kind === "flood") return say.FLOOD;
  if (line.kind === "too long") return say.COMMAND_TOO_LONG;
  if (line.bare) return say.BARE_IN_COMMAND;
  try {
    return utf8.decode(line.bytes);
  } catch {
    return say.NOT_UTF8;
  }
}

/** The word is spelled in bytes: most of the time the line is not here yet. */
function isAuth(bytes: Uint8Array): boolean {
  return AUTH.every((letter, index) => ((bytes[index] ?? 0) & 0xdf) === letter);
}

/** A TLS client on a clear port waits for an answer that never comes; it is told at once. */
function isTlsHandshake(bytes: Uint8Array): boolean {
  return bytes[0] === 0x16 && bytes[1] === 0x03 && (bytes[2] ?? 255) <= 0x04;
}
