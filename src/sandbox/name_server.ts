/** A zone served on loopback, by UDP and TCP, as a resolver that knows nothing else. */

import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import { decodeMessage, encodeReply, type Message } from "../dns/wire.ts";
import { behaviourAt, lookIn, type Zone } from "./zone.ts";

export interface Asked {
  readonly name: string;
  readonly type: string;
  readonly by: "udp" | "tcp";
}

export interface NameServerSettings {
  /** Default: 127.0.0.1. */
  readonly address?: string;
  /** The same for UDP and TCP. Default: 0, which takes a free one. */
  readonly port?: number;
  /** Hears each question before it is answered. */
  readonly hear?: (asked: Asked) => void;
}

const SERVFAIL = 2, NXDOMAIN = 3, REFUSED = 5;
/** RFC 1035 §4.2.1: what fits by UDP for who does not say otherwise. */
const PLAIN_UDP_SIZE = 512, UDP_SIZE = 1232;
/** Milliseconds after which a silent connection is closed. */
const IDLE = 5000;
/** Ports that are free for TCP may be taken for UDP: so often another one is tried. */
const TRIES = 20;

/** Rejects when the port is taken. */
export async function serveZone(zone: Zone, settings: NameServerSettings = {}): Promise<NameServer> {
  const { address = "127.0.0.1", port = 0, hear = () => {} } = settings;
  for (let left = port === 0 ? TRIES : 1;; left--) {
    const tcp = createServer();
    const udp = createSocket(address.includes(":") ? "udp6" : "udp4");
    try {
      const taken = await listen(tcp, port, address);
      await bind(udp, taken, address);
      return new NameServer(zone, hear, { address, port: taken }, tcp, udp);
    } catch (error) {
      await closed(tcp);
      await closed(udp);
      if (left === 1) throw error;
    }
  }
}

export class NameServer {
  /** Where it is reached: an entry for the resolver's list of servers. */
  readonly server: { readonly address: string; readonly port: number };
  readonly #hear: (asked: Asked) => void;
  readonly #tcp: Server;
  readonly #udp: UdpSocket;
  readonly #connections = new Set<Socket>();
  readonly #late = new Set<ReturnType<typeof setTimeout>>();
  #zone: Zone;
  #closed = false;

  constructor(
    zone: Zone,
    hear: (asked: Asked) => void,
    server: { readonly address: string; readonly port: number },
    tcp: Server,
    udp: UdpSocket,
  ) {
    this.#zone = zone;
    this.#hear = hear;
    this.server = server;
    this.#tcp = tcp;
    this.#udp = udp;
    // Who asked may be gone before the answer: nothing follows from it.
    udp.on("error", () => {});
    tcp.on("error", () => {});
    udp.on("message", (packet: Uint8Array, from: RemoteInfo) => {
      const send = (reply: Uint8Array) => udp.send(reply, from.port, from.address, () => {});
      this.#answer(packet, "udp", send);
    });
    tcp.on("connection", (socket: Socket) => this.#serve(socket));
  }

  /** From the next question on. */
  replaceZone(zone: Zone): void {
    this.#zone = zone;
  }

  /** Settles when both sockets, all connections and all timers are gone. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#late) clearTimeout(timer);
    for (const socket of this.#connections) socket.destroy();
    await closed(this.#tcp);
    await closed(this.#udp);
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    socket.on("close", () => this.#connections.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.setTimeout(IDLE, () => socket.destroy());
    let waiting = Buffer.alloc(0);
    socket.on("data", (piece: Uint8Array) => {
      waiting = Buffer.concat([waiting, piece]);
      while (waiting.length >= 2 && waiting.length >= 2 + waiting.readUInt16BE(0)) {
        const end = 2 + waiting.readUInt16BE(0);
        this.#answer(waiting.subarray(2, end), "tcp", (reply) => {
          if (!socket.destroyed) socket.write(Buffer.concat([lengthOf(reply), reply]));
        });
        waiting = waiting.subarray(end);
      }
    });
  }

  #answer(packet: Uint8Array, by: Asked["by"], send: (reply: Uint8Array) => void): void {
    const query = decodeMessage(packet);
    if (query === undefined || query.response || this.#closed) return;
    const { name, type } = query.question;
    this.#hear({ name, type, by });
    const reply = this.#reply(query);
    const behaviour = behaviourAt(this.#zone, name);
    switch (behaviour?.does) {
      case undefined:
        return send(fitting(reply, query, by));
      case "authentic":
        return send(fitting({ ...reply, authentic: query.authentic }, query, by));
      case "servfail":
        return send(encodeReply({ ...reply, answers: [], authorities: [], code: SERVFAIL }));
      case "refused":
        return send(encodeReply({ ...reply, answers: [], authorities: [], code: REFUSED }));
      case "silent":
        return;
      case "truncate":
        return send(by === "udp" ? truncated(reply) : encodeReply(reply));
      case "wrong-id":
        return send(encodeReply({ ...reply, id: reply.id ^ 1 }));
      case "wrong-question":
        return send(encodeReply({ ...reply, question: { ...reply.question, name: `not.${name}` } }));
      case "late": {
        const timer = setTimeout(() => {
          this.#late.delete(timer);
          send(fitting(reply, query, by));
        }, behaviour.milliseconds);
        this.#late.add(timer);
        return;
      }
      default:
        behaviour satisfies never;
    }
  }

  #reply({ id, question, udpSize }: Message): Reply {
    const { exists, records, soa } = lookIn(this.#zone, question.name, question.type);
    return {
      id,
      question,
      answers: records,
      authorities: soa === undefined ? [] : [soa],
      code: exists ? 0 : NXDOMAIN,
      authoritative: false,
      truncated: false,
      authentic: false,
      ...(udpSize === undefined ? {} : { udpSize: UDP_SIZE }),
    };
  }
}

type Reply = Omit<Message, "response">;

/** As it is, or without its records when it is too long for this way. */
function fitting(reply: Reply, query: Message, by: Asked["by"]): Uint8Array {
  const bytes = encodeReply(reply);
  const most = by === "tcp" ? 65535 : Math.min(Math.max(query.udpSize ?? 0, PLAIN_UDP_SIZE), UDP_SIZE);
  return bytes.length <= most ? bytes : truncated(reply);
}

function truncated(reply: Reply): Uint8Array {
  return encodeReply({ ...reply, answers: [], authorities: [], truncated: true });
}

function lengthOf(reply: Uint8Array): Uint8Array {
  return Uint8Array.of(reply.length >> 8, reply.length & 255);
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      const address = server.address();
      resolve(address === null || typeof address === "string" ? port : address.port);
    });
  });
}

function bind(socket: UdpSocket, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(port, address, () => resolve());
  });
}

function closed(closable: Server | UdpSocket): Promise<void> {
  return new Promise((resolve) => {
    try {
      closable.close(() => resolve());
    } catch {
      // It was never open.
      resolve();
    }
  });
}
