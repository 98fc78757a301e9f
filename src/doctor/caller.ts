/** A short call at a mail server: hears the greeting, asks for TLS, looks at the certificate, hangs up. Sends no mail. */

import net from "node:net";
import tls from "node:tls";

export interface Call {
  /** An address. */
  readonly host: string;
  readonly port: number;
  /** Who we say we are. */
  readonly hello: string;
  /** Ask for TLS for this name: from the first byte, or by STARTTLS when it is offered; or not at all. */
  readonly tls: "implicit" | "starttls" | "none";
  readonly serverName: string;
  /** Say the line of a proxy first. */
  readonly proxied: boolean;
  /** Whom to believe, in PEM. Default: the authorities that everybody knows. */
  readonly authority?: string;
  /** Milliseconds for everything. */
  readonly patience: number;
}

export interface Met {
  /** Its first line. */
  readonly greeting: string;
  /** The answer to EHLO, in capitals. */
  readonly extensions: readonly string[];
  /** What it presented, in DER, the leaf first. Absent without TLS. */
  readonly chain?: readonly Uint8Array[];
  /** Why a client that is careful would not believe it; absent when it would. */
  readonly distrust?: string;
}

/** How far a call came that failed. */
export class CallFailed extends Error {
  constructor(readonly at: "connection" | "greeting" | "tls", message: string) {
    super(message);
  }
}

/** A longer reply is no greeting. */
const MAX_REPLY = 64 * 1024;

/** Rejects with CallFailed. */
export async function call(about: Call): Promise<Met> {
  const line = new Line(about);
  try {
    await line.open();
    const [greeting = ""] = await line.hear();
    if (!greeting.startsWith("220")) throw new CallFailed("greeting", `says "${greeting}"`);
    const [said = "", ...lines] = await line.say(`EHLO ${about.hello}`);
    if (!said.startsWith("250")) throw new CallFailed("greeting", `answers EHLO with "${said}"`);
    const extensions = lines.map((one) => one.slice(4).trim().toUpperCase());
    if (about.tls === "starttls" && extensions.includes("STARTTLS")) await line.startTls();
    const presented = line.presented();
    line.hangUp();
    return { greeting, extensions, ...presented };
  } finally {
    line.close();
  }
}

class Line {
  readonly #call: Call;
  readonly #late: ReturnType<typeof setTimeout>;
  #socket: net.Socket | undefined;
  #stage: CallFailed["at"] = "connection";
  #text = "";
  #failed: CallFailed | undefined;
  #wake: () => void = () => {};

  constructor(call: Call) {
    this.#call = call;
    const seconds = Math.ceil(call.patience / 1000);
    this.#late = setTimeout(() => this.#fail(`no answer within ${seconds} s`), call.patience);
  }

  /** Nothing without TLS. */
  presented(): Pick<Met, "chain" | "distrust"> {
    if (!(this.#socket instanceof tls.TLSSocket)) return {};
    const { authorized, authorizationError } = this.#socket;
    return { chain: chainOf(this.#socket), ...(!authorized && { distrust: String(authorizationError) }) };
  }

  async open(): Promise<void> {
    const { host, port, proxied } = this.#call;
    const socket = this.#take(net.connect({ host, port, noDelay: true }));
    await this.#until(socket, "connect");
    this.#stage = "greeting";
    if (proxied) socket.write("PROXY UNKNOWN\r\n");
    if (this.#call.tls === "implicit") await this.#secure();
    else this.#listen(socket);
  }

  async say(line: string): Promise<string[]> {
    this.#socket?.write(`${line}\r\n`);
    return await this.hear();
  }

  /** The lines of one reply. */
  async hear(): Promise<string[]> {
    for (;;) {
      const end = /(^|\n)\d{3}(?: [^\n]*)?\r?\n/.exec(this.#text);
      if (end !== null) {
        const length = end.index + end[0].length, reply = this.#text.slice(0, length);
        this.#text = this.#text.slice(length);
        return reply.trimEnd().split(/\r?\n/);
      }
      if (this.#failed !== undefined) throw this.#failed;
      if (this.#text.length > MAX_REPLY) throw new CallFailed("greeting", "talks without end");
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  async startTls(): Promise<void> {
    const [reply = ""] = await this.say("STARTTLS");
    if (!reply.startsWith("220")) throw new CallFailed("tls", `offers STARTTLS and refuses it: ${reply}`);
    this.#socket?.removeAllListeners("data");
    await this.#secure();
  }

  hangUp(): void {
    this.#socket?.end("QUIT\r\n");
  }

  close(): void {
    clearTimeout(this.#late);
    // The QUIT may still be on its way; whoever does not hang up is left.
    const socket = this.#socket;
    const timer = setTimeout(() => socket?.destroy(), 1000);
    if (this.#failed !== undefined) socket?.destroy();
    if (socket === undefined || socket.destroyed) return clearTimeout(timer);
    socket.once("close", () => clearTimeout(timer));
    socket.resume();
  }

  async #secure(): Promise<void> {
    this.#stage = "tls";
    const { serverName, authority } = this.#call, below = this.#socket;
    // Looked at, not believed: what it presents is what is asked.
    const options = {
      rejectUnauthorized: false,
      ...(net.isIP(serverName) === 0 && { servername: serverName }),
      ...(authority !== undefined && { ca: authority }),
    };
    const socket = this.#take(tls.connect(below === undefined ? options : { ...options, socket: below }));
    await this.#until(socket, "secureConnect");
    this.#stage = "greeting";
    this.#listen(socket);
  }

  #take(socket: net.Socket): net.Socket {
    socket.on("error", (error) => this.#fail(error.message)); // It stays: a late error of a socket ends the process.
    socket.on("close", () => this.#fail("the connection was closed"));
    return this.#socket = socket;
  }

  #listen(socket: net.Socket): void {
    socket.on("data", (piece: Uint8Array) => {
      this.#text += new TextDecoder("latin1").decode(piece);
      this.#wake();
    });
  }

  async #until(socket: net.Socket, event: "connect" | "secureConnect"): Promise<void> {
    let happened = false;
    socket.once(event, () => {
      happened = true;
      this.#wake();
    });
    while (!happened) {
      if (this.#failed !== undefined) throw this.#failed;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  #fail(why: string): void {
    this.#failed ??= new CallFailed(this.#stage, why);
    this.#wake();
  }
}

function chainOf(socket: tls.TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  // The root names itself as its issuer.
  for (
    let at = socket.getPeerCertificate(true);
    at?.raw !== undefined && chain.length < 10;
    at = at.issuerCertificate
  ) {
    chain.push(new Uint8Array(at.raw));
    if (at.issuerCertificate === at) break;
  }
  return chain;
}
