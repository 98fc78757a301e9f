/**
 * One SMTP connection to one server. nodemailer leads the dialog; this file gives it a connected socket, hears every
 * command and reply, and holds each step to its own deadline. It draws its own conclusions from the replies
 * (transaction.ts): nodemailer tells less than what was said, and takes some answers for success that are none.
 */

import type net from "node:net";
import { Readable } from "node:stream";
import SMTPConnection from "nodemailer/lib/smtp-connection";
import { reasonOf } from "../log.ts";
import type { RemoteReply } from "../queue/entry.ts";
import { connect, peerOf, Refusal } from "./connect.ts";
import { isLoopback } from "./network.ts";
import { hook, innerOf, listener } from "./nodemailer_watch.ts";
import { BLOCK, OutgoingBody } from "./outgoing_body.ts";
import { codeOf, localReply } from "./remote_reply.ts";
import type { Server } from "./route.ts";
import { limitOf, type Step, type Timeouts, VERBS } from "./steps.ts";
import {
  acceptedBy,
  inWords,
  isInStep,
  mayHaveBody,
  parametersOf,
  type Replies,
  type Transaction,
  type Verdict,
  verdictsOf,
} from "./transaction.ts";

export interface ConversationSettings {
  /** Our name for EHLO. */
  readonly hostname: string;
  readonly timeouts: Timeouts;
}

export type Tls = "if offered" | "required" | "never";

export interface Transacted {
  /** One for each recipient. */
  readonly verdicts: readonly Verdict[];
  /** The server ended the connection before it had said anything about this message: it may be offered elsewhere. */
  readonly untouched: boolean;
}

// One reply; and all that a server may send without completing one, for instance a flood of empty lines.
const MAX_REPLY = 64 * 1024, MAX_UNANSWERED = 128 * 1024;

export class Conversation {
  /** `mx.example.org [192.0.2.1]` */
  readonly peer: string;
  /** How many messages it has been used for. */
  messages = 0;
  readonly #server: Server;
  readonly address: string;
  readonly #timeouts: Timeouts;
  readonly #client: SMTPConnection;
  #dead = false;
  /** A transaction was refused half-way and has to be reset. */
  #dirty = false;
  #step: Step = "greeting";
  /** Sent and not yet answered, in order. */
  #awaited: Step[] = ["greeting"];
  #said = new Map<Step, string[]>();
  #hello = "";
  #amend = (line: string) => line;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort: ((error: Error) => void) | undefined;
  #metered: net.Socket | undefined;
  #unanswered = 0;

  private constructor(
    server: Server,
    address: string,
    socket: net.Socket,
    tls: Tls,
    { hostname, timeouts }: ConversationSettings,
  ) {
    this.peer = peerOf(server, address);
    this.#server = server;
    this.address = address;
    this.#timeouts = timeouts;
    const longest = Math.max(...Object.values(timeouts)) + 1000;
    this.#client = new SMTPConnection({
      connection: socket,
      host: server.name,
      port: server.port,
      name: hostname,
      lmtp: server.lmtp === true,
      secure: server.port === 465 && !server.lmtp,
      ignoreTLS: tls === "never",
      requireTLS: tls === "required",
      opportunisticTLS: tls === "if offered",
      // Opportunistic TLS keeps listeners out. A password is only given to who proves to be the server.
      tls: { rejectUnauthorized: server.credentials !== undefined && !isLoopback(address) },
      // Ours end first; these are the net below.
      connectionTimeout: 4 * longest,
      greetingTimeout: longest,
      socketTimeout: longest,
      socketCloseTimeout: 0,
      maxResponseSize: MAX_REPLY,
      transactionLog: true,
      logger: listener((reply) => this.#heard(reply)),
    });
    this.#client.on("error", (error: Error) => this.#end(error));
    this.#client.on("end", () => this.#end());
    hook(this.#client, { speak: (line) => this.#speak(line), isAwaiting: () => this.#awaited.length > 0 });
  }

  /** Connects, greets, secures the connection and signs in, as far as the server has it. Rejects with a `Refusal`. */
  static async open(server: Server, address: string, tls: Tls, settings: ConversationSettings): Promise<Conversation> {
    const socket = await connect(server, address, settings.timeouts.connect);
    const conversation = new Conversation(server, address, socket, tls, settings);
    try {
      await conversation.#open();
      return conversation;
    } catch (error) {
      const refusal = error instanceof Refusal ? error : conversation.#refusal(error);
      conversation.close();
      throw refusal;
    }
  }

  /** False when it cannot carry another message. */
  get usable(): boolean {
    return !this.#dead;
  }

  get secure(): boolean {
    return this.#client.secure;
  }

  /** What the server offers, upper case: `SIZE` → `35882577`. */
  get offers(): ReadonlyMap<string, string> {
    return new Map(
      this.#hello.split(/\r?\n/).slice(1).map((line) => {
        const [keyword = "", ...rest] = line.slice(4).trim().split(/[ =]/);
        return [keyword.toUpperCase(), rest.join(" ")];
      }),
    );
  }

  /** Sends one message. Never rejects; afterwards ask `usable`. */
  async send(transaction: Transaction): Promise<Transacted> {
    this.messages++;
    let lost: RemoteReply | undefined, clean = true;
    try {
      if (this.#dirty) await this.#operation((done) => this.#client.reset(done));
    } catch (error) {
      lost = this.#loss(error);
      this.close();
    }
    this.#dirty = false;
    this.#said.clear();
    this.#amend = parametersOf(transaction, this.offers);
    const body = new OutgoingBody(transaction.content, {
      mayBegin: () => mayHaveBody(this.#replies()),
      block: () => this.#arm("message"),
      ended: () => this.#expect("final dot", this.#server.lmtp ? acceptedBy(this.#replies()) : 1),
    });
    const stream = Readable.from(body.pieces(), { objectMode: false, highWaterMark: BLOCK });
    stream.on("error", () => {}); // nodemailer hears it too; after it has let go of the stream, nobody would.
    try {
      const envelope = {
        from: transaction.sender,
        to: transaction.recipients.map(({ address }) => address),
        size: transaction.content.size,
        use8BitMime: transaction.eightBit,
      };
      await this.#operation((done) => this.#client.send(envelope, stream, done));
    } catch (error) {
      lost ??= this.#loss(error);
      clean = error instanceof Error && "code" in error && (error.code === "EENVELOPE" || error.code === "EMESSAGE");
    }
    stream.destroy();

    const replies = this.#replies();
    // An answer too many would be taken for the one to the next command, and for somebody else's recipient.
    const isEven = this.#awaited.length === 0 && innerOf(this.#client)._responseQueue.length === 0;
    if (!clean || !isEven || !isInStep(replies)) this.close();
    // RFC 5321 §4.1.1.4: with the answer to the final dot a transaction is over; with any other refusal it is not.
    this.#dirty = replies.final.length === 0;
    lost ??= localReply(451, "4.4.2", "connection lost", this.peer);
    const fault = body.error && localReply(451, "4.3.0", `the message could not be read: ${body.error.message}`);
    const verdicts = verdictsOf(transaction, replies, { peer: this.peer, lost, ...fault && { fault } });
    return { verdicts, untouched: !this.usable && (replies.mail === undefined || codeOf(replies.mail) === 421) };
  }

  /** Says goodbye and ends the connection, within the time for QUIT. Never rejects. */
  async quit(): Promise<void> {
    if (!this.#dead) {
      await new Promise<void>((done) => {
        this.#abort = () => done();
        this.#client.quit();
      });
    }
    this.close();
  }

  /** Ends the connection at once. */
  close(): void {
    this.#dead = true;
    clearTimeout(this.#timer);
    this.#unmeter();
    const socket = this.#client._socket;
    this.#client.close();
    innerOf(this.#client)._responseQueue = []; // It would go through thousands of lines of a flood all the same.
    if (socket) socket.destroy();
  }

  async #open(): Promise<void> {
    this.#arm("greeting");
    await this.#operation((done) => this.#client.connect(done));
    const { credentials } = this.#server;
    if (credentials === undefined) return;
    if (!this.secure && !isLoopback(this.address)) {
      const reply = localReply(451, "4.7.0", "offers no TLS, and a password is not sent in clear", this.peer);
      throw new Refusal(reply, "STARTTLS", false);
    }
    await this.#operation((done) => this.#client.login({ user: credentials.user, pass: credentials.password }, done));
  }

  /** A command is about to leave. */
  #speak(line: string): string {
    // The lines of an AUTH dialog are not commands.
    this.#expect(line === "." ? "final dot" : VERBS.find((verb) => line.startsWith(verb)) ?? "AUTH");
    this.#meter();
    return this.#amend(line);
  }

  #expect(step: Step, replies = 1): void {
    const wasIdle = this.#awaited.length === 0;
    for (let count = 0; count < replies; count++) this.#awaited.push(step);
    if (wasIdle) this.#arm(step);
  }

  #heard(reply: string): void {
    // A fragment that was left when the connection ended is no reply, unless it is a refusal with its text.
    const socket = this.#client._socket;
    if ((!socket || socket.destroyed) && !/^[45]\d\d[ -]/.test(reply)) return;
    this.#unanswered = 0;
    const step = this.#awaited.shift() ?? "message";
    const before = this.#said.get(step);
    if (before === undefined) this.#said.set(step, [reply]);
    else before.push(reply);
    if (step === "EHLO" || step === "HELO" || step === "LHLO") this.#hello = codeOf(reply) === 250 ? reply : "";

    const next = this.#awaited[0];
    if (next !== undefined) this.#arm(next);
    else if (step === "STARTTLS" && reply.startsWith("2")) {
      this.#unmeter(); // What comes now belongs to the TLS layer.
      this.#arm("handshake");
      // RFC 3207 §4: only 220 begins it. After any other success nobody is there to shake hands with.
      if (codeOf(reply) !== 220) this.#end(new Error(`answered ${reply.slice(0, 3)} to STARTTLS`));
    } else if (step !== "DATA") clearTimeout(this.#timer); // After DATA the message goes on.
  }

  #arm(step: Step): void {
    if (this.#dead) return; // A piece of the message may still come from the disk.
    this.#step = step;
    clearTimeout(this.#timer);
    const limit = limitOf(step, this.#timeouts);
    const words = `no progress within ${limit < 1000 ? `${limit} ms` : `${Math.round(limit / 1000)} s`}`;
    this.#timer = setTimeout(() => this.#end(new Error(words)), limit);
  }

  /** Counts what comes in between two replies. */
  #meter(): void {
    const socket = this.#client._socket;
    if (!socket || socket === this.#metered) return;
    this.#unmeter();
    this.#metered = socket;
    socket.on("data", this.#count);
  }

  #unmeter(): void {
    this.#metered?.removeListener("data", this.#count);
    this.#metered = undefined;
  }

  readonly #count = (chunk: Uint8Array) => {
    this.#unanswered += chunk.length;
    if (this.#unanswered > MAX_UNANSWERED) this.#end(new Error("too many bytes that are not a reply"));
  };

  /** Runs what nodemailer calls back about; ends as well when the connection ends in any other way. */
  #operation(run: (done: (error?: Error | null) => void) => void): Promise<void> {
    if (this.#dead) return Promise.reject(new Error("connection closed"));
    return new Promise<void>((resolve, reject) => {
      this.#abort = reject;
      run((error) => error ? reject(error) : resolve());
    });
  }

  #end(error: Error = new Error("connection closed")): void {
    const abort = this.#abort;
    this.#abort = undefined;
    if (!this.#dead) this.close();
    abort?.(error);
  }

  #replies(): Replies {
    const last = (step: Step) => this.#said.get(step)?.at(-1);
    return {
      mail: last("MAIL"),
      rcpt: this.#said.get("RCPT") ?? [],
      data: last("DATA"),
      early: last("message"),
      final: this.#said.get("final dot") ?? [],
    };
  }

  #loss(error: unknown): RemoteReply {
    const why = reasonOf(error);
    return localReply(451, "4.4.2", `no answer to ${this.#step}: ${why}`, this.peer);
  }

  #refusal(error: unknown): Refusal {
    const step = this.#step;
    const raw = error instanceof Error && "response" in error ? error.response : undefined;
    if (typeof raw !== "string" || step === "handshake") return new Refusal(this.#loss(error), step, false);
    const reply = inWords(raw, step, this.peer);
    // A password that is not taken, or a mailbox server that speaks no LMTP, is a matter of our settings: no mail must
    // bounce because of it.
    if (step === "AUTH") return new Refusal({ ...reply, code: 451, enhanced: "4.7.0" }, step, true);
    if (!this.#server.lmtp || reply.code < 500) return new Refusal(reply, step, true);
    const text = `answered ${reply.code} to ${step}: ${reply.text}`;
    return new Refusal(localReply(451, "4.3.5", text, this.peer), step, true);
  }
}
