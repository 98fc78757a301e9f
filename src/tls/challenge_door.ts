/**
 * Where a certificate authority looks whether a name is ours. Anybody may call here, and it is open only while an order
 * is: few at a time, and each for a short time. Whom the authority sends says at once what it wants, so that of too many
 * the one who has been here longest has to go: turned away would be the authority.
 */

import type { Server, Socket } from "node:net";
import type { ChallengeType } from "./acme_settings.ts";

export interface Endpoint {
  readonly hostname: string;
  readonly port: number;
}

export interface Door {
  /** Settles when nothing of it is open. */
  close(): Promise<void>;
}

const MAX_CALLERS = 100;
/** Milliseconds for one call, all in all. */
const CALL_LIMIT = 10_000;

/** Opens a server that takes calls at this address. Rejects with a sentence when it cannot be had. */
export async function openDoor(server: Server, type: ChallengeType, { hostname, port }: Endpoint): Promise<Door> {
  const callers = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    if (callers.size >= MAX_CALLERS) callers.values().next().value?.destroy();
    const timer = setTimeout(() => socket.destroy(), CALL_LIMIT);
    callers.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      clearTimeout(timer);
      callers.delete(socket);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.on("error", (error) => {
      const where = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
      reject(new Error(`Cannot listen on ${where} for the challenge ${type}: ${whyNot(error)}`));
    });
    server.listen({ host: hostname, port }, resolve);
  });
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of callers) socket.destroy();
      }),
  };
}

function whyNot(error: Error & { readonly code?: string }): string {
  switch (error.code) {
    case "EADDRINUSE":
      return "another program listens there; let it pass /.well-known/acme-challenge/ on to us and write another " +
        "listen into [tls.acme], or stop it.";
    case "EACCES":
    case "EPERM":
      return "this user may not; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE.";
    case "EADDRNOTAVAIL":
    case "EAFNOSUPPORT":
    case "EINVAL":
      return 'this machine has no such address; write another one into listen of [tls.acme], such as "0.0.0.0:80".';
    default:
      return error.message;
  }
}
