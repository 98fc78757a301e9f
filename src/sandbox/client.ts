/** An SMTP client for trying a server: says what it is told to say, hears what comes back. Not for real mail. */

import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";

export interface Heard {
  readonly code: number;
  /** All lines with their codes, joined by newlines. */
  readonly text: string;
}

/** Nothing on loopback takes longer, milliseconds. */
const PATIENCE = 10_000;

export class Client {
  #socket: net.Socket;
  #text = "";
  #arrived: () => void = () => {};

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#listen();
  }

  /** Connects and hears the greeting. `authority`: PEM, for implicit TLS. Rejects when anything but 220 comes. */
  static async connect(port: number, authority?: string): Promise<Client> {
    const socket = authority === undefined
      ? net.connect({ host: "127.0.0.1", port, noDelay: true })
      : tls.connect({ host: "127.0.0.1", port, ca: authority, servername: "localhost" });
    await once(socket, authority === undefined ? "connect" : "secureConnect");
    const client = new Client(socket);
    await client.expect(220, await client.hear());
    return client;
  }

  /** Sends a line and hears the reply. */
  async say(line: string): Promise<Heard> {
    this.#socket.write(`${line}\r\n`);
    return await this.hear();
  }

  /** Says EHLO, and STARTTLS with EHLO again. */
  async startTls(authority: string): Promise<void> {
    await this.expect(220, await this.say("STARTTLS"));
    const clear = this.#socket;
    clear.removeAllListeners("data");
    this.#socket = tls.connect({ socket: clear, ca: authority, servername: "localhost" });
    await once(this.#socket, "secureConnect");
    this.#listen();
    await this.expect(250, await this.say("EHLO client.remote.test"));
  }

  /** One message; gives the reply that decided. `text` has CRLF line ends and no line that begins with a dot. */
  async send(sender: string, recipient: string, text: string): Promise<Heard> {
    for (
      const [line, wanted] of [[`MAIL FROM:<${sender}>`, 250], [`RCPT TO:<${recipient}>`, 250], ["DATA", 354]] as const
    ) {
      const heard = await this.say(line);
      if (heard.code !== wanted) return heard;
    }
    return await this.say(`${text}.`);
  }

  async quit(): Promise<void> {
    await this.say("QUIT");
    this.#socket.destroy();
  }

  expect(code: number, heard: Heard): Heard {
    if (heard.code !== code) throw new Error(`expected ${code}, heard ${heard.text}`);
    return heard;
  }

  async hear(): Promise<Heard> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const reply = /^(?:\d{3}-[^\n]*\n)*(\d{3})(?: [^\n]*)?\n/.exec(this.#text);
      if (reply) {
        this.#text = this.#text.slice(reply[0].length);
        return { code: Number(reply[1]), text: reply[0].trim().replaceAll("\r", "") };
      }
      if (this.#socket.destroyed) throw new Error("the server closed the connection");
      await this.#wait(deadline - performance.now());
    }
  }

  #listen(): void {
    this.#socket.on("data", (bytes) => {
      this.#text += bytes.toString("latin1");
      this.#arrived();
    });
    this.#socket.on("close", () => this.#arrived());
    this.#socket.on("error", () => this.#arrived());
  }

  #wait(patience: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the server does not answer")), patience);
      this.#arrived = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
