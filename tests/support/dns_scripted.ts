/** A name server that says exactly what a test tells it to, byte by byte. */

import { Buffer } from "node:buffer";
import { createSocket } from "node:dgram";
import { createServer, type Socket } from "node:net";
import type { DnsRecord } from "../../src/dns/records.ts";
import type { Server } from "../../src/dns/servers.ts";
import { decodeMessage, encodeReply, type Message } from "../../src/dns/wire.ts";

export interface Script {
  /** The datagrams that follow a query, at once or later. */
  readonly udp?: (query: Message) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>;
  /** The pieces that follow a query by TCP, each with its own write; the connection is closed after them if told so. */
  readonly tcp?: (query: Message) => { readonly pieces: readonly Uint8Array[]; readonly close?: true };
}

export interface Scripted {
  readonly server: Server;
  /** Every query that came, by UDP and TCP, and the ports that the datagrams came from. */
  readonly queries: readonly Message[];
  readonly ports: readonly number[];
  close(): Promise<void>;
}

export async function serveScript({ udp, tcp }: Script): Promise<Scripted> {
  const queries: Message[] = [], ports: number[] = [], connections = new Set<Socket>();
  const listener = createServer((socket) => {
    connections.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes: Uint8Array) => {
      const query = decodeMessage(bytes.subarray(2));
      if (query === undefined) return;
      queries.push(query);
      const said = tcp?.(query);
      for (const piece of said?.pieces ?? []) socket.write(piece);
      if (said?.close) socket.end();
    });
  });
  await new Promise<void>((ready) => listener.listen(0, "127.0.0.1", ready));
  const address = listener.address();
  const port = address === null || typeof address === "string" ? 0 : address.port;
  const socket = createSocket("udp4");
  let closed = false;
  socket.on("message", (bytes: Uint8Array, from) => {
    const query = decodeMessage(bytes);
    if (query === undefined) return;
    queries.push(query);
    ports.push(from.port);
    const send = (packets: readonly Uint8Array[]) => {
      for (const packet of packets) if (!closed) socket.send(packet, from.port, from.address);
    };
    const said = udp?.(query) ?? [];
    if (said instanceof Promise) void said.then(send);
    else send(said);
  });
  await new Promise<void>((ready) => socket.bind(port, "127.0.0.1", ready));
  return {
    server: { address: "127.0.0.1", port },
    queries,
    ports,
    close: async () => {
      closed = true;
      for (const connection of connections) connection.destroy();
      await new Promise<void>((gone) => listener.close(() => gone()));
      await new Promise<void>((gone) => socket.close(() => gone()));
    },
  };
}

/** An honest reply, except for what `parts` says otherwise. */
export function replyTo(query: Message, parts: Partial<Message> = {}): Uint8Array {
  const { id, question } = query;
  const plain = { answers: [], authorities: [], code: 0, authoritative: false, truncated: false, authentic: false };
  return encodeReply({ id, question, ...plain, ...parts });
}

/** A message as it goes by TCP. */
export function framed(message: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
}

export function addressRecord(name: string, data: string, ttl = 60): DnsRecord {
  return { name, ttl, type: "A", data };
}

export function alias(name: string, data: string, ttl = 60): DnsRecord {
  return { name, ttl, type: "CNAME", data };
}
