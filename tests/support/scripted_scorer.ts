/** A server where rspamd or spamd is expected, which says to a whole request what a test tells it to. */

import { createServer, type Socket } from "node:net";
import type { ScoredMessage } from "../../src/check/score.ts";
import { until } from "./letters.ts";

/** What is said to a request, or to who has just connected. */
export type ScorerScript = (socket: Socket) => void;

export class ScriptedScorer {
  readonly port: number;
  /** Head and body, in Latin-1. */
  readonly requests: string[] = [];
  /** How many there were. */
  connections = 0;
  readonly #open: Set<Socket>;
  /** Those whose other side says no more; whether it still listens is not told. */
  readonly #shut = new Set<Socket>();
  readonly #close: () => Promise<void>;

  private constructor(port: number, open: Set<Socket>, close: () => Promise<void>) {
    this.port = port;
    this.#open = open;
    this.#close = close;
  }

  /** `greeting` is played when somebody connects. */
  static async start(script: ScorerScript, greeting: ScorerScript = () => {}): Promise<ScriptedScorer> {
    const open = new Set<Socket>();
    const listener = createServer({ allowHalfOpen: true }, (socket) => {
      open.add(socket);
      server.connections++;
      socket.on("error", () => {});
      socket.on("close", () => {
        open.delete(socket);
        server.#shut.delete(socket);
      });
      socket.on("end", () => server.#shut.add(socket));
      let head = "", missing: number | undefined, body: string[] = [];
      socket.on("data", (piece: Uint8Array) => {
        let text = new TextDecoder("latin1").decode(piece);
        if (missing === undefined) {
          const end = (head += text).indexOf("\r\n\r\n");
          if (end < 0) return;
          missing = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
          [head, text] = [head.slice(0, end + 4), head.slice(end + 4)];
        }
        body.push(text);
        missing -= text.length;
        if (missing > 0) return;
        server.requests.push(head + body.join(""));
        [head, missing, body] = ["", undefined, []];
        server.script(socket);
      });
      greeting(socket);
    });
    await new Promise<void>((ready) => listener.listen(0, "127.0.0.1", ready));
    const address = listener.address();
    const server = new ScriptedScorer(address !== null && typeof address === "object" ? address.port : 0, open, () => {
      for (const socket of open) socket.destroy();
      return new Promise((gone) => listener.close(() => gone()));
    });
    server.script = script;
    return server;
  }

  /** May be changed between requests. */
  script: ScorerScript = () => {};

  /** Waits until those who asked have left. */
  async left(): Promise<void> {
    const gone = () => {
      // Who has left answers with a reset.
      for (const socket of this.#shut) socket.write("?");
      return this.#open.size === 0;
    };
    await until(gone, "the last connection to be gone", 2000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

/** Says it and hangs up. */
export function saying(text: string): ScorerScript {
  return (socket) => socket.end(new TextEncoder().encode(text));
}

/** Says it, and then nothing. */
export function holding(text: string): ScorerScript {
  return (socket) => socket.write(new TextEncoder().encode(text));
}

/** Says the first, and then the second over and over, as fast as it is read. */
export function endless(first: string, over: string): ScorerScript {
  const more = new TextEncoder().encode(over.repeat(Math.ceil(16_384 / over.length)));
  return (socket) => {
    const pour = () => {
      while (!socket.destroyed && socket.write(more));
    };
    socket.on("drain", pour);
    socket.write(new TextEncoder().encode(first));
    pour();
  };
}

/** Says the first, and then one character each 20 ms. */
export function dripping(first: string): ScorerScript {
  return (socket) => {
    socket.write(new TextEncoder().encode(first));
    const timer = setInterval(() => socket.destroyed ? clearInterval(timer) : socket.write("x"), 20);
    socket.on("close", () => clearInterval(timer));
  };
}

export function http(body: string, status = "200 OK", more = ""): string {
  const length = new TextEncoder().encode(body).length;
  return `HTTP/1.1 ${status}\r\nContent-Length: ${length}\r\n${more}\r\n${body}`;
}

export function spamd(score: string, symbols: string): string {
  return `SPAMD/1.1 0 EX_OK\r\nContent-length: ${symbols.length}\r\nSpam: True ; ${score}\r\n\r\n${symbols}`;
}

/** What both filters take for spam, whatever else is in it. */
export const GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n";
export const ORDINARY = "Hello Bob, shall we meet tomorrow at noon in the garden?\r\n";

/** As our server hands it over: with our Received field on top. */
export function scored(body: string = ORDINARY, parts: Partial<ScoredMessage> = {}): ScoredMessage {
  const date = new Date().toUTCString().replace("GMT", "+0000");
  const text =
    `Received: from mx.remote.test ([198.51.100.7])\r\n\tby mail.ours.test with ESMTP\r\n\tid Q1; ${date}\r\n` +
    `From: Ann <ann@remote.test>\r\nTo: Bob <bob@ours.test>\r\nSubject: tomorrow\r\nDate: ${date}\r\n` +
    `Message-ID: <${crypto.randomUUID()}@remote.test>\r\n\r\n${body}`;
  return {
    bytes: new TextEncoder().encode(text),
    ip: "198.51.100.7",
    helo: "mx.remote.test",
    sender: "ann@remote.test",
    recipients: ["bob@ours.test"],
    queueId: "Q1",
    hostname: "mail.ours.test",
    ...parts,
  };
}
