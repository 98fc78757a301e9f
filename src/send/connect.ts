/** The way to a server, and why there may be none. */

import net from "node:net";
import type { RemoteReply } from "../queue/entry.ts";
import { localReply } from "./remote_reply.ts";
import type { Server } from "./route.ts";
import type { Step } from "./steps.ts";

/** Why there is no conversation with a server. */
export class Refusal extends Error {
  constructor(
    readonly reply: RemoteReply,
    /** How far it came: `connect` when nobody was there, `greeting` when nothing was said. */
    readonly step: Step,
    /** It was the server's own word, and not our conclusion. */
    readonly said: boolean,
  ) {
    super(reply.text);
  }
}

/** `mx.example.org [192.0.2.1]`, `unix:/run/dovecot/lmtp`. */
export function peerOf({ name }: Server, address: string): string {
  return address.startsWith("/") ? name : `${name} [${address}]`;
}

/** A connection by TCP, or to a socket of this machine. Rejects with a `Refusal` when there is none in time. */
export function connect(server: Server, address: string, limit: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const isPath = address.startsWith("/");
    const socket = net.connect(isPath ? { path: address } : { host: address, port: server.port, noDelay: true });
    const refuse = (why: string) => {
      clearTimeout(timer);
      socket.destroy();
      const reply = localReply(
        451,
        "4.4.1",
        isPath ? `cannot connect: ${why}` : `cannot connect to port ${server.port}: ${why}`,
        peerOf(server, address),
      );
      reject(new Refusal(reply, "connect", false));
    };
    const timer = setTimeout(() => refuse(`no answer within ${Math.ceil(limit / 1000)} s`), limit);
    socket.on("error", (error) => refuse(error.message)); // It stays: a late error of a socket ends the process.
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}
