/** The other end of a connection, written by hand: it sends any bytes and reads replies, in clear or under TLS. */

import { bytesOf, joined, textOf } from "./every_cut.ts";
import { AUTHORITY } from "./front.ts";

const PATIENCE = 5_000;

export class SmtpPeer {
  #conn: Deno.Conn;
  readonly #patience: number;
  #unread = "";
  #ended = false;

  /** `patience` in milliseconds, for each piece of an answer. */
  constructor(conn: Deno.Conn, patience = PATIENCE) {
    this.#conn = conn;
    this.#patience = patience;
  }

  static async call(port: number, patience = PATIENCE): Promise<SmtpPeer> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    conn.setNoDelay(true);
    return new SmtpPeer(conn, patience);
  }

  /** Implicit TLS. */
  static async callTls(port: number): Promise<SmtpPeer> {
    return new SmtpPeer(await Deno.connectTls({ hostname: "localhost", port, caCerts: [AUTHORITY] }));
  }

  /** The client half, after 220. */
  async startTls(): Promise<void> {
    const secured = await Deno.startTls(this.#conn as Deno.TcpConn, { hostname: "localhost", caCerts: [AUTHORITY] });
    await secured.handshake();
    this.#conn = secured;
  }

  /** One character, one byte. */
  async send(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? bytesOf(text) : text;
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** The lines of one reply; undefined when the server has closed instead. */
  async reply(): Promise<readonly string[] | undefined> {
    const lines: string[] = [];
    while (true) {
      const end = this.#unread.indexOf("\r\n");
      if (end < 0) {
        if (await this.#more()) continue;
        if (this.#unread !== "") throw new Error(`half a line before the end: ${JSON.stringify(this.#unread)}`);
        return undefined;
      }
      const line = this.#unread.slice(0, end);
      this.#unread = this.#unread.slice(end + 2);
      lines.push(line);
      if (line[3] !== "-") return lines;
    }
  }

  /** Sends and gives the last line of one reply, or `closed`. */
  async say(line: string): Promise<string> {
    await this.send(`${line}\r\n`);
    return await this.lastLine();
  }

  async lastLine(): Promise<string> {
    return (await this.reply())?.at(-1) ?? "closed";
  }

  /** All that still comes, up to the end of the connection, as text. RST counts as an end. */
  async rest(): Promise<string> {
    while (await this.#more());
    const text = this.#unread;
    this.#unread = "";
    return text;
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const buffer = new Uint8Array(16384);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(fail, this.#patience, new Error(`no answer within ${this.#patience} ms`));
    });
    try {
      const count = await Promise.race([this.#conn.read(buffer), late]);
      this.#ended = count === null;
      if (count !== null) this.#unread += textOf(buffer.subarray(0, count));
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.UnexpectedEof)) throw error;
      this.#ended = true;
    } finally {
      clearTimeout(timer);
    }
    return !this.#ended;
  }

  /** No more from here; the server may still talk. */
  async closeWrite(): Promise<void> {
    await (this.#conn as Deno.TcpConn).closeWrite();
  }

  close(): void {
    try {
      this.#conn.close();
    } catch { /* closed already */ }
  }
}

/** Bytes for a client that speaks in one write what others say in many. */
export function lines(...commands: readonly string[]): Uint8Array {
  return joined(commands.map((command) => bytesOf(`${command}\r\n`)));
}
