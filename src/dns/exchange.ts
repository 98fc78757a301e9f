/** One question to one server: a datagram, or a connection when the answer is too long for it. */

import { Buffer } from "node:buffer";
import { getRandomValues } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { connect } from "node:net";
import { reasonOf } from "../log.ts";
import { isSameAddress } from "./name.ts";
import type { Server } from "./servers.ts";
import { decodeMessage, encodeQuery, type Message, type Question } from "./wire.ts";

export interface Exchange {
  readonly server: Server;
  /** The name in the form of `parseName`. */
  readonly question: Pick<Question, "name" | "type">;
  readonly dnssec: boolean;
  /** Milliseconds until it is given up. */
  readonly patience: number;
  /** Gives it up at once. */
  readonly signal: AbortSignal;
}

export type Exchanged =
  | { readonly result: "reply"; readonly reply: Message; /** Octets. */ readonly size: number }
  | { readonly result: "failure"; readonly reason: string }
  | { readonly result: "silence" };

/** Never rejects. Whatever is not the answer to this very query is ignored until the time is over. */
export function askByUdp(exchange: Exchange): Promise<Exchanged> {
  const { server, question, dnssec } = exchange;
  const id = randomId();
  return settle(exchange, (done) => {
    const query = encodeQuery(id, question, dnssec);
    // A socket of its own, so that every query leaves from another port, chosen at random by the kernel: together
    // with the id that is what somebody off the path has to guess.
    const socket = createSocket(server.address.includes(":") ? "udp6" : "udp4");
    socket.on("error", (error) => done(failure(error)));
    socket.on("message", (packet: Uint8Array, from: RemoteInfo) => {
      if (from.port !== server.port || !isSameAddress(from.address, server.address)) return;
      const reply = decodeMessage(packet);
      if (reply !== undefined && answers(reply, id, question)) done({ result: "reply", reply, size: packet.length });
    });
    socket.bind(0, () => {
      try {
        socket.send(query, server.port, server.address, (error) => {
          if (error) done(failure(error));
        });
      } catch (error) {
        // Given up, and closed, before it was bound.
        done(failure(error));
      }
    });
    return () => closed(socket);
  });
}

/** Never rejects. Here the stream belongs to one server, so a wrong answer is that server's failure. */
export function askByTcp(exchange: Exchange): Promise<Exchanged> {
  const { server, question, dnssec } = exchange;
  const id = randomId();
  return settle(exchange, (done) => {
    const query = encodeQuery(id, question, dnssec);
    const socket = connect({ host: server.address, port: server.port });
    let pieces: Uint8Array[] = [], received = 0, expected = Infinity;
    socket.on("error", (error: Error) => done(failure(error)));
    socket.on("close", () => done({ result: "failure", reason: "connection closed without an answer" }));
    // RFC 1035 §4.2.2: two octets of length stand before each message. RFC 7766 §8: in the same write.
    socket.on(
      "connect",
      () => socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 255]), query])),
    );
    socket.on("data", (piece: Uint8Array) => {
      pieces.push(piece);
      received += piece.length;
      if (expected === Infinity && received >= 2) {
        const start = Buffer.concat(pieces);
        expected = 2 + start.readUInt16BE(0);
        pieces = [start];
      }
      if (received < expected) return;
      const reply = decodeMessage(Buffer.concat(pieces).subarray(2, expected));
      const fits = reply !== undefined && answers(reply, id, question);
      done(
        fits
          ? { result: "reply", reply, size: expected }
          : { result: "failure", reason: "answer to another question by TCP" },
      );
    });
    return () =>
      new Promise((gone) => {
        if (socket.closed) return gone();
        socket.once("close", gone);
        socket.destroy();
      });
  });
}

/**
 * Runs `start` until it is done, its patience is over or the signal fires; then cleans up, once. Resolves when the
 * socket is gone, so that who counts exchanges counts descriptors.
 */
function settle(
  { patience, signal }: Exchange,
  start: (done: (exchanged: Exchanged) => void) => () => Promise<void>,
): Promise<Exchanged> {
  if (signal.aborted) return Promise.resolve({ result: "silence" });
  return new Promise((resolve) => {
    let settled = false, stop = () => Promise.resolve();
    const done = (exchanged: Exchanged) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", silence);
      void stop().then(() => resolve(exchanged));
    };
    const silence = () => done({ result: "silence" });
    const timer = setTimeout(silence, patience);
    signal.addEventListener("abort", silence);
    try {
      stop = start(done);
      if (settled) void stop();
    } catch (error) {
      // No descriptor left, or no such address family on this machine.
      done(failure(error));
    }
  });
}

function answers(reply: Message, id: number, { name, type }: Exchange["question"]): boolean {
  // Servers may play with the case of the name; it has been brought to lower case on both sides.
  return reply.response && reply.id === id && reply.question.name === name && reply.question.type === type &&
    reply.question.class === "IN";
}

function failure(error: unknown): Exchanged {
  return { result: "failure", reason: reasonOf(error) };
}

function randomId(): number {
  return getRandomValues(new Uint16Array(1))[0] ?? 0;
}

function closed(socket: Socket): Promise<void> {
  return new Promise((gone) => {
    try {
      socket.close(() => gone());
    } catch {
      // It never came to life, or an error has already closed it.
      gone();
    }
  });
}
