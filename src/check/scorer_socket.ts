/** A connection to a spam scorer, for one question: with a deadline for each part, and gone when there is an answer. */

import net from "node:net";
import tls from "node:tls";
import { reasonOf } from "../log.ts";
import { type Answer, wordsOf } from "./score.ts";

export interface ScorerServer {
  /** A name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** TLS, and its certificate has to be good for `host`. */
  readonly secure: boolean;
}

export interface AskLimits {
  /** Milliseconds until there is a connection, the look-up of its name and the handshake of TLS included. */
  readonly connect: number;
  /** Milliseconds for everything together. */
  readonly deadline: number;
  /** Gives it up at once. */
  readonly signal: AbortSignal;
}

/**
 * Connects, and lets `talk` ask until it says what became of it. Never rejects. `talk` returns what has to be done
 * before the socket is destroyed.
 */
export function askOver(
  server: ScorerServer,
  limits: AskLimits,
  talk: (socket: net.Socket, done: (answer: Answer) => void) => () => void,
): Promise<Answer> {
  return new Promise((resolve) => {
    let settled = false, socket: net.Socket | undefined, stop = () => {};
    const done = (answer: Answer) => {
      if (settled) return;
      settled = true;
      clearTimeout(connecting);
      clearTimeout(deadline);
      limits.signal.removeEventListener("abort", abort);
      stop();
      socket?.destroy();
      resolve(answer);
    };
    const late = (what: string, wait: number) => () =>
      done({ says: "nothing", late: true, reason: `no ${what} within ${Math.ceil(wait / 100) / 10} s` });
    const failed = (error: unknown) => done({ says: "nothing", reason: wordsOf(reasonOf(error)) });
    const abort = () => failed("it was given up");
    const connecting = setTimeout(late("connection", limits.connect), limits.connect);
    const deadline = setTimeout(late("answer", limits.deadline), limits.deadline);
    limits.signal.addEventListener("abort", abort);
    if (limits.signal.aborted) return abort();
    try {
      socket = connect(server);
      socket.on("error", failed); // It stays: a late error of a socket ends the process.
      socket.once(server.secure ? "secureConnect" : "connect", () => {
        clearTimeout(connecting);
        if (settled) return;
        try {
          if (socket !== undefined) stop = talk(socket, done);
        } catch (error) {
          failed(error);
        }
        // It may have been done already.
        if (settled) stop();
      });
    } catch (error) {
      failed(error);
    }
  });
}

function connect({ host, port, secure }: ScorerServer): net.Socket {
  if (!secure) return net.connect({ host, port, noDelay: true });
  // A name of a server is a name and no address (RFC 6066 §3).
  return tls.connect({ host, port, ...net.isIP(host) === 0 ? { servername: host } : {} });
}
