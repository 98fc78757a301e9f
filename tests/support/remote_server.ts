/** A remote mail server that does what a test tells it, and keeps what it was sent byte for byte. */

import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import tls from "node:tls";

/** A raw reply without its last CRLF, or what happens instead of one. */
export type Answer = string | { readonly bytes: string } | "hang" | "drop";

export interface RemoteScript {
  /** Speaks LMTP: LHLO, and behind the final dot `message` is asked for each recipient, with the line of its RCPT. */
  readonly lmtp?: true;
  readonly greeting?: Answer;
  /** Lines of EHLO after the first. Default: PIPELINING, SIZE, 8BITMIME. */
  readonly offers?: readonly string[];
  /** By verb, or `message` for the final dot. A function is asked with the line and how often the verb came before. */
  readonly on?: Readonly<Record<string, Answer | ((line: string, count: number) => Answer)>>;
  /** Offers STARTTLS. `"broken"` answers 220 and then talks nonsense. */
  readonly tls?: TestCertificate | "broken";
  /** After so many bytes of a message it does this, without waiting for the rest. */
  readonly midMessage?: { readonly after: number; readonly answer: Answer };
}

export interface Received {
  readonly mail: string;
  readonly rcpt: readonly string[];
  /** Unstuffed, with the last CRLF. */
  readonly bytes: Uint8Array;
}

export interface Seen {
  readonly commands: string[];
  readonly messages: Received[];
  secure: boolean;
  ended: boolean;
}

export interface TestCertificate {
  readonly key: string;
  readonly cert: string;
}

const text = new TextEncoder();

/** For `mx.remote.test`, signed by itself, good for nothing else. */
export const TEST_CERTIFICATE: TestCertificate = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEBSUek7G/iNDV/eV
GQOBgJWligaUayKkzNIkQ6o06nChRANCAAS+BUyQq+LdA/spwiF/qNCBe+q70BHj
wEztDDNFF29wy6W8CwKnor2pVPpKOTuVflgAP+BYhB91iOl3MturDfbL
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBpTCCAUqgAwIBAgIUQvGr2sCQ5lLhFxONLFnQEFSNXD4wCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwObXgucmVtb3RlLnRlc3QwIBcNMjYxMTIyMDMyODM3WhgPMjEy
NjEwMjkwMzI4MzdaMBkxFzAVBgNVBAMMDm14LnJlbW90ZS50ZXN0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEvgVMkKvi3QP7KcIhf6jQgXvqu9AR48BM7QwzRRdv
cMulvAsCp6K9qVT6Sjk7lX5YAD/gWIQfdYjpdzLbqw32y6NuMGwwHQYDVR0OBBYE
FF2B96ndFmbDR2qMFuQGtqoMeh1eMB8GA1UdIwQYMBaAFF2B96ndFmbDR2qMFuQG
tqoMeh1eMA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIObXgucmVtb3RlLnRl
c3QwCgYIKoZIzj0EAwIDSQAwRgIhAIF3ShTPG7B7iR02PJpKmBuEPMHwgGcnIZnZ
4T4qhwi6AiEAunZWbfGWur/E69T1yaPyUY+9EeQSHZfwIbz8QS18eME=
-----END CERTIFICATE-----
`,
};

export class RemoteServer {
  readonly seen: Seen[] = [];
  /** 0 for a socket at a path. */
  readonly port: number;
  readonly #listener: Deno.TcpListener | Deno.UnixListener;
  readonly #connections = new Set<Connection>();
  readonly #running: Promise<void>;

  constructor(
    public script: RemoteScript = {},
    { hostname = "127.0.0.1", port = 0, path }: { hostname?: string; port?: number; path?: string } = {},
  ) {
    this.#listener = path === undefined ? Deno.listen({ hostname, port }) : Deno.listen({ transport: "unix", path });
    this.port = "port" in this.#listener.addr ? this.#listener.addr.port : 0;
    this.#running = this.#accept();
  }

  get messages(): Received[] {
    return this.seen.flatMap(({ messages }) => messages);
  }

  async close(): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) connection.end();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #accept(): Promise<void> {
    const running = new Set<Promise<void>>();
    while (true) {
      let conn: Deno.TcpConn | Deno.UnixConn;
      try {
        conn = await this.#listener.accept();
      } catch {
        break;
      }
      const seen: Seen = { commands: [], messages: [], secure: false, ended: false };
      this.seen.push(seen);
      const connection = new Connection(conn, this.script, seen);
      this.#connections.add(connection);
      const done = connection.run().finally(() => {
        seen.ended = true;
        this.#connections.delete(connection);
        running.delete(done);
      });
      running.add(done);
    }
    await Promise.all(running);
  }
}

class Connection {
  #buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #over = false;
  #secure: tls.TLSSocket | undefined;
  /** Takes what is read, once TLS stands between. */
  #wire: Duplex | undefined;
  readonly #counts = new Map<string, number>();

  constructor(
    private readonly conn: Deno.TcpConn | Deno.UnixConn,
    private readonly script: RemoteScript,
    private readonly seen: Seen,
  ) {}

  async run(): Promise<void> {
    if ("setNoDelay" in this.conn) this.conn.setNoDelay(true);
    const reading = this.#read();
    try {
      await this.#dialog();
    } catch {
      // The other side is gone, or the test is over.
    }
    this.end();
    await reading;
  }

  end(): void {
    this.#over = true;
    this.#wake?.();
    this.#secure?.destroy();
    try {
      this.conn.close();
    } catch { /* It is closed. */ }
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(65536);
    while (!this.#over) {
      const count = await this.conn.read(buffer).catch(() => null);
      if (count === null) break;
      if (this.#wire === undefined) this.#feed(buffer.slice(0, count));
      else this.#wire.push(buffer.slice(0, count));
    }
    this.#wire?.push(null);
    this.#ended();
  }

  #feed(bytes: Uint8Array): void {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    this.#wake?.();
  }

  #ended(): void {
    this.#over = true;
    this.#wake?.();
  }

  async #until(mark: string): Promise<Buffer> {
    for (let from = 0;;) {
      const at = this.#buffer.indexOf(mark, Math.max(0, from - mark.length));
      if (at >= 0) {
        const found = this.#buffer.subarray(0, at + mark.length);
        this.#buffer = this.#buffer.subarray(at + mark.length);
        return found;
      }
      from = this.#buffer.length;
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    if (this.#over) throw new Error("ended");
    await new Promise<void>((done) => this.#wake = done);
    this.#wake = undefined;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const secure = this.#secure;
    if (secure !== undefined) {
      await new Promise<void>((done) => secure.write(bytes, () => done()));
    } else for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
  }

  async #say(answer: Answer): Promise<string> {
    if (answer === "drop") {
      this.end();
      throw new Error("dropped");
    }
    if (answer === "hang") {
      while (true) await this.#more();
    }
    const wire = typeof answer === "string" ? `${answer}\r\n` : answer.bytes;
    await this.#write(Buffer.from(wire, "latin1"));
    return wire;
  }

  #answer(verb: string, line: string, usual: Answer): Answer {
    const count = this.#counts.get(verb) ?? 0;
    this.#counts.set(verb, count + 1);
    const told = this.script.on?.[verb];
    return (typeof told === "function" ? told(line, count) : told) ?? usual;
  }

  async #dialog(): Promise<void> {
    const { offers = ["PIPELINING", "SIZE 52428800", "8BITMIME"], tls: offered } = this.script;
    await this.#say(this.script.greeting ?? "220 mx.remote.test ESMTP");
    let mail = "", rcpt: string[] = [];
    while (true) {
      const line = (await this.#until("\r\n")).toString().slice(0, -2);
      this.seen.commands.push(line);
      const verb = line.split(" ")[0]?.toUpperCase() ?? "";
      if (verb === (this.script.lmtp ? "LHLO" : "EHLO")) {
        const starttls = offered !== undefined && !this.seen.secure ? ["STARTTLS"] : [];
        const lines = ["mx.remote.test", ...offers, ...starttls];
        await this.#say(
          this.#answer(
            verb,
            line,
            lines.map((it, at) => `250${at === lines.length - 1 ? " " : "-"}${it}`).join("\r\n"),
          ),
        );
      } else if (verb === "STARTTLS") {
        await this.#startTls(line);
      } else if (verb === "DATA") {
        const said = await this.#say(
          this.#answer("DATA", line, rcpt.length > 0 ? "354 go on" : "503 5.5.1 no recipients"),
        );
        if (said.startsWith("354")) {
          const bytes = await this.#message();
          this.seen.messages.push({ mail, rcpt, bytes });
          const asked = this.script.lmtp ? rcpt : [line];
          rcpt = [];
          for (const line of asked) await this.#say(this.#answer("message", line, "250 2.0.0 taken"));
        }
      } else {
        const said = await this.#say(this.#answer(verb, line, verb === "QUIT" ? "221 2.0.0 bye" : "250 2.0.0 fine"));
        if (verb === "MAIL" && said.startsWith("2")) (mail = line, rcpt = []);
        if (verb === "RSET") rcpt = [];
        if (verb === "RCPT" && said.startsWith("2")) rcpt = [...rcpt, line];
        if (verb === "QUIT") return;
      }
    }
  }

  async #message(): Promise<Uint8Array> {
    const { midMessage } = this.script;
    if (midMessage !== undefined) {
      while (this.#buffer.length < midMessage.after) await this.#more();
      await this.#say(midMessage.answer);
    }
    if (this.#buffer.length < 3) await this.#more();
    if (this.#buffer.subarray(0, 3).toString() === ".\r\n") {
      return await this.#until(".\r\n").then(() => new Uint8Array());
    }
    const wire = (await this.#until("\r\n.\r\n")).subarray(0, -3);
    return new Uint8Array(Buffer.from(wire.toString("latin1").replace(/^\.|(?<=\r\n)\./g, ""), "latin1"));
  }

  async #startTls(line: string): Promise<void> {
    const certificate = this.script.tls;
    const said = await this.#say(this.#answer("STARTTLS", line, "220 2.0.0 go"));
    if (!said.startsWith("220") || certificate === undefined) return;
    if (certificate === "broken") {
      await this.#write(text.encode("this is not TLS at all\r\n"));
      return void await this.#say("drop");
    }
    const held = this.#buffer;
    this.#buffer = Buffer.alloc(0);
    this.#wire = this.#duplex();
    if (held.length > 0) this.#wire.push(held);
    const secure = new tls.TLSSocket(this.#wire as never, {
      isServer: true,
      secureContext: tls.createSecureContext(certificate),
    } as never);
    secure.on("error", () => this.#ended());
    secure.on("close", () => this.#ended());
    secure.on("data", (bytes: Uint8Array) => this.#feed(bytes));
    this.#secure = secure;
    this.seen.secure = true;
  }

  #duplex(): Duplex {
    const { conn } = this;
    return new Duplex({
      read() {},
      write(chunk: Uint8Array, _encoding, done) {
        (async () => {
          for (let at = 0; at < chunk.length;) at += await conn.write(chunk.subarray(at));
        })().then(() => done(), done);
      },
    });
  }
}
