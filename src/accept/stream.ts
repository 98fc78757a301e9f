/**
 * One accepted connection: bytes in and out, in clear or under TLS. `Deno.startTls` is the client half only, so the
 * server half is node:tls over the connection that `Deno.listen` accepted (works since Deno 2.8).
 *
 * It knows no deadlines: whoever waits for it closes it when time is up, and every wait ends with an error then.
 */

import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import tls from "node:tls";

/** What `Received` tells about TLS. */
export interface TlsFacts {
  /** `TLSv1.3`. */
  readonly protocol: string;
  /** `TLS_AES_128_GCM_SHA256`. */
  readonly cipher: string;
  /** The name the client asked for (SNI). */
  readonly serverName: string | undefined;
  /** What SCRAM binds to: the certificate of this handshake, which may not be the current one any more. */
  readonly endPoint: Uint8Array;
}

/** What is shown to a client that asks for this name, in one handshake: always the current certificate. */
export type ShownTo = (
  serverName: string | undefined,
) => { readonly context: tls.SecureContext; readonly endPoint: Uint8Array };

/** Bytes that may wait in a TLS socket before we stop reading from the peer. */
const TLS_PIECE = 16384;

export class Stream {
  readonly #conn: Deno.TcpConn;
  #tls: tls.TLSSocket | undefined;
  #early: Uint8Array | undefined;
  #closed = false;

  /** `early`: what has been read from it already, behind a PROXY header. */
  constructor(conn: Deno.TcpConn, early?: Uint8Array) {
    this.#conn = conn;
    this.#early = early;
    // Replies are small and each is waited for: Nagle would cost 40 ms a piece.
    conn.setNoDelay(true);
  }

  /** Some bytes, read into `buffer` or not; null at the end. Rejects when the connection broke. */
  async read(buffer: Uint8Array): Promise<Uint8Array | null> {
    if (this.#tls) return await readTls(this.#tls);
    const early = this.#takeEarly();
    if (early) return early;
    const count = await this.#conn.read(buffer);
    return count === null ? null : buffer.subarray(0, count);
  }

  /** All of it. Waits while the peer does not read. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#tls) return await writeTls(this.#tls, bytes);
    // `Conn.write` may take only a part.
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** The server half of a handshake. What was sent in clear before must have been read and forgotten. */
  async startTls(shownTo: ShownTo): Promise<TlsFacts> {
    const duplex = duplexOver(this.#conn, () => this.close());
    const early = this.#takeEarly();
    if (early) duplex.unshift(early);
    let shown = shownTo(undefined);
    const socket = new tls.TLSSocket(duplex, {
      isServer: true,
      secureContext: shown.context,
      SNICallback(serverName, done) {
        try {
          shown = shownTo(serverName);
          done(null, shown.context);
        } catch (error) {
          done(error instanceof Error ? error : new Error(String(error)));
        }
      },
    });
    this.#tls = socket;
    await new Promise<void>((resolve, reject) => {
      socket.once("secure", resolve);
      socket.on("error", reject);
      const gone = () => reject(new Error("closed during the TLS handshake"));
      socket.once("close", gone);
      // The TLS socket itself would wait for the rest of the handshake, from a peer who has said that there is none.
      duplex.once("end", gone);
    });
    const serverName = (socket as { servername?: string | false }).servername;
    return {
      protocol: socket.getProtocol() ?? "TLS",
      cipher: socket.getCipher()?.name ?? "unknown",
      serverName: serverName ? serverName : undefined,
      endPoint: shown.endPoint,
    };
  }

  /**
   * Says goodbye: no more from us, and what the peer still sends is read and dropped until it closes too (or `close`
   * is called). Without this a reply is lost whenever unread bytes make the kernel answer with RST.
   */
  async finish(): Promise<void> {
    try {
      if (this.#tls) this.#tls.end();
      else await this.#conn.closeWrite();
      const buffer = new Uint8Array(4096);
      while ((await this.read(buffer)) !== null);
    } catch { /* the peer was faster */ }
    this.close();
  }

  #takeEarly(): Uint8Array | undefined {
    const early = this.#early;
    this.#early = undefined;
    return early;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tls?.destroy();
    try {
      this.#conn.close();
    } catch { /* closed by an error before */ }
  }
}

/** The connection as node:tls wants it. */
function duplexOver(conn: Deno.TcpConn, close: () => void): Duplex {
  return new Duplex({
    read() {
      const buffer = new Uint8Array(TLS_PIECE);
      conn.read(buffer).then(
        (count) => {
          const push = () => this.push(count === null ? null : buffer.subarray(0, count));
          // More is ready, most likely: others have their turn before it is read (see the connection).
          if (count === TLS_PIECE) setImmediate(push);
          else push();
        },
        (error) => this.destroy(error),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      (async () => {
        for (let at = 0; at < chunk.length;) at += await conn.write(chunk.subarray(at));
      })().then(() => done(), done);
    },
    final(done) {
      conn.closeWrite().then(() => done(), () => done());
    },
    destroy(error, done) {
      close();
      done(error);
    },
  });
}

function readTls(socket: tls.TLSSocket): Promise<Uint8Array | null> {
  const ready: Uint8Array | null = socket.read();
  if (ready !== null) return Promise.resolve(ready);
  if (socket.readableEnded || socket.destroyed) return Promise.resolve(null);
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => () => {
      for (const [event, listener] of listeners) socket.off(event, listener);
      act();
    };
    const listeners: readonly [string, (error: Error) => void][] = [
      ["readable", () => {
        const bytes: Uint8Array | null = socket.read();
        if (bytes !== null) settle(() => resolve(bytes))();
      }],
      ["end", settle(() => resolve(null))],
      ["close", settle(() => resolve(null))],
      ["error", (error) => settle(() => reject(error))()],
    ];
    for (const [event, listener] of listeners) socket.on(event, listener);
  });
}

function writeTls(socket: tls.TLSSocket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) return reject(new Error("the connection is closed"));
    const gone = () => reject(new Error("the connection is closed"));
    socket.once("close", gone);
    // The copy is node's to keep; ours may be used again.
    socket.write(bytes, (error) => {
      socket.off("close", gone);
      if (error) reject(error);
      else resolve();
    });
  });
}
