/** Listens on one address, lets in who may come in, and looks after all who are in. `Deno.listen` is the front door. */

import { type Log, reasonOf } from "../log.ts";
import { isIn, type Network, parseIp, plainIp, prefixOf } from "../smtp/network.ts";
import { formatReply, reply } from "../smtp/reply.ts";
import type { ListenerKind } from "./caller.ts";
import type { Connection } from "./connection.ts";
import { parseProxyHeader } from "./proxy.ts";
import { Stream } from "./stream.ts";

export interface ListenerSettings {
  readonly host: string;
  readonly port: number;
  readonly kind: ListenerKind;
  /** Peers that must speak the PROXY protocol first. */
  readonly proxies: readonly Network[];
}

/** All listeners together share one. */
export interface Door {
  readonly maxConnections: number;
  /** For one /32 or /64. */
  readonly maxConnectionsPerHost: number;
}

/** What is made of a connection that was let in; `ended` is called when it is over. */
export type Connect = (
  stream: Stream,
  peer: { readonly host: string; readonly port: number; readonly kind: ListenerKind },
) => { readonly connection: Connection; readonly ended: () => void };

const SWEEP_INTERVAL = 1_000;
/** After an error of accept, "too many open files" above all: it passes, and the loop must not spin. */
const ACCEPT_PAUSE = 200;
const PROXY_TIMEOUT = 5_000;
const FULL = formatReply(reply(421, "4.7.0", "Too many connections: call again later"));

/** Who is in, over all listeners. */
export class Guests {
  #door: Door;
  readonly #connections = new Set<Connection>();
  readonly #perHost = new Map<string, number>();
  #inside = 0;
  #closed = false;
  readonly #sweep = setInterval(() => {
    const now = performance.now();
    for (const connection of this.#connections) connection.sweep(now);
  }, SWEEP_INTERVAL);

  constructor(door: Door) {
    this.#door = door;
  }

  /** For those who come from now on. */
  configure(door: Door): void {
    this.#door = door;
  }

  get size(): number {
    return this.#inside;
  }

  get isFull(): boolean {
    return this.#inside >= this.#door.maxConnections;
  }

  /** False when this host has enough of them, and when the door is closed: a PROXY header may take its time. */
  enter(host: string): boolean {
    const key = hostKey(host), count = this.#perHost.get(key) ?? 0;
    if (this.#closed || count >= this.#door.maxConnectionsPerHost) return false;
    this.#perHost.set(key, count + 1);
    this.#inside++;
    return true;
  }

  leave(host: string): void {
    const key = hostKey(host), count = (this.#perHost.get(key) ?? 1) - 1;
    if (count > 0) this.#perHost.set(key, count);
    else this.#perHost.delete(key);
    this.#inside--;
  }

  async serve(connection: Connection): Promise<void> {
    this.#connections.add(connection);
    try {
      await connection.run();
    } finally {
      this.#connections.delete(connection);
    }
  }

  /** Says goodbye to all; who has not finished by the deadline (milliseconds) is cut off. */
  async close(patience: number): Promise<void> {
    this.#closed = true;
    const end = performance.now() + patience;
    for (const connection of this.#connections) connection.stop();
    while (this.#connections.size > 0 && performance.now() < end) await new Promise((done) => setTimeout(done, 20));
    for (const connection of this.#connections) connection.abort();
    clearInterval(this.#sweep);
  }
}

/** A host is an IPv4 address or an IPv6 /64: whoever has one address of a /64 has them all. */
function hostKey(host: string): string {
  const ip = parseIp(host);
  if (ip === undefined) return host;
  return ip.family === 4 ? `4/${ip.bits}` : `6/${prefixOf(ip, 64).bits}`;
}

export class Listener {
  readonly #listener: Deno.TcpListener;
  #settings: ListenerSettings;
  readonly #guests: Guests;
  readonly #connect: Connect;
  readonly #log: Log;
  #closed = false;

  /** Throws an Error with a sentence, and what was thrown as its cause, when the port cannot be had. */
  constructor(settings: ListenerSettings, guests: Guests, connect: Connect, log: Log) {
    this.#settings = settings;
    this.#guests = guests;
    this.#connect = connect;
    this.#log = log;
    this.#listener = listen(settings.host, settings.port);
  }

  get address(): { readonly host: string; readonly port: number; readonly kind: ListenerKind } {
    const { hostname, port } = this.#listener.addr;
    return { host: hostname, port, kind: this.#settings.kind };
  }

  /** For those who come from now on. The address stays. */
  configure({ kind, proxies }: Pick<ListenerSettings, "kind" | "proxies">): void {
    this.#settings = { ...this.#settings, kind, proxies };
  }

  /** Accepts until closed. Never rejects. */
  async run(): Promise<void> {
    while (!this.#closed) {
      try {
        const conn = await this.#listener.accept();
        this.#admit(conn).catch((error) => this.#log("error", "connection-failed", { error: String(error) }));
      } catch (error) {
        if (this.#closed) return;
        // Who called and hung up again before it was his turn is none of our trouble: a pause for each of them would
        // let one such caller keep all others out.
        if (isGone(error)) continue;
        this.#log("warning", "accept-failed", { error: reasonOf(error) });
        await new Promise((done) => setTimeout(done, ACCEPT_PAUSE));
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.#listener.close();
  }

  async #admit(conn: Deno.TcpConn): Promise<void> {
    const peer = { host: plainIp(conn.remoteAddr.hostname), port: conn.remoteAddr.port, kind: this.#settings.kind };
    if (this.#guests.isFull) return this.#turnAway(conn, peer.host, "max_connections");
    const ip = parseIp(peer.host);
    if (!ip || !this.#settings.proxies.some((proxy) => isIn(ip, proxy))) {
      return await this.#serve(conn, peer, undefined);
    }
    const header = await readProxyHeader(conn);
    if (header === undefined) {
      this.#log("warning", "proxy-header-missing", { host: peer.host });
      return close(conn);
    }
    await this.#serve(conn, { ...peer, ...header.source }, header.rest);
  }

  async #serve(
    conn: Deno.TcpConn,
    peer: { readonly host: string; readonly port: number; readonly kind: ListenerKind },
    early: Uint8Array | undefined,
  ): Promise<void> {
    if (!this.#guests.enter(peer.host)) return this.#turnAway(conn, peer.host, "max_connections_per_host");
    try {
      const { connection, ended } = this.#connect(new Stream(conn, early), peer);
      await this.#guests.serve(connection).finally(ended);
    } finally {
      // It is, unless the peer was gone before anybody could look after him.
      close(conn);
      this.#guests.leave(peer.host);
    }
  }

  /** Says 421 if that goes at once, and forgets the connection. Under implicit TLS no byte goes in clear. */
  #turnAway(conn: Deno.TcpConn, host: string, limit: string): void {
    this.#log("warning", "connection-refused", { host, kind: this.#settings.kind, limit });
    if (this.#settings.kind === "submissions") return close(conn);
    conn.write(new TextEncoder().encode(FULL)).catch(() => {}).finally(() => close(conn));
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.ConnectionReset;
}

function listen(hostname: string, port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port });
  } catch (error) {
    throw new Error(`Cannot listen on ${hostname} port ${port}: ${whyNot(error, hostname)}`, { cause: error });
  }
}

function whyNot(error: unknown, hostname: string): string {
  if (error instanceof Deno.errors.AddrInUse) return "another program listens there; stop it, or choose another port.";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "this user may not; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE.";
  }
  const message = reasonOf(error);
  const isMissing = error instanceof Deno.errors.AddrNotAvailable || /family not supported/i.test(message);
  if (isMissing && hostname === "::") return 'this machine has no IPv6; write "0.0.0.0" in the place of "[::]".';
  return isMissing ? "this machine has no such address." : message;
}

function close(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch { /* closed already */ }
}

async function readProxyHeader(
  conn: Deno.TcpConn,
): Promise<
  { readonly source?: { readonly host: string; readonly port: number }; readonly rest?: Uint8Array } | undefined
> {
  const timer = setTimeout(() => close(conn), PROXY_TIMEOUT);
  let bytes: Uint8Array = new Uint8Array(0);
  try {
    while (true) {
      const header = parseProxyHeader(bytes);
      if (header.is === "invalid") return undefined;
      if (header.is === "complete") {
        const rest = bytes.subarray(header.used);
        return { ...(header.source && { source: header.source }), ...(rest.length > 0 && { rest }) };
      }
      const piece = new Uint8Array(512);
      const count = await conn.read(piece);
      if (count === null) return undefined;
      const more = new Uint8Array(bytes.length + count);
      more.set(bytes);
      more.set(piece.subarray(0, count), bytes.length);
      bytes = more;
    }
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
