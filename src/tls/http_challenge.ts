/** The challenge http-01 (RFC 8555 §8.3): a file that the authority reads under our name. It is all that is here. */

import { createServer, type Socket } from "node:net";
import { type Door, type Endpoint, openDoor } from "./challenge_door.ts";

/** Octets: authorities send a few hundred, a proxy in front may add some. */
const MAX_REQUEST = 16_384;
/** A proxy may ask with the whole URL. */
const REQUEST = /^GET (?:https?:\/\/[^/ ]*)?(\/[^ ]*) HTTP\/1\.[01]\r\n/i;

/** `answers`: the key authorization for each token; looked at anew for each request. */
export async function openHttpChallenge(listen: Endpoint, answers: ReadonlyMap<string, string>): Promise<Door> {
  const known = (path: string) => {
    const token = /^\/\.well-known\/acme-challenge\/([\w-]+)$/.exec(path)?.[1];
    return token === undefined ? undefined : answers.get(token);
  };
  return await openDoor(createServer((socket) => answer(socket, known)), "http-01", listen);
}

function answer(socket: Socket, known: (path: string) => string | undefined): void {
  let request = "";
  const hear = (piece: Uint8Array) => {
    request += String.fromCharCode(...piece.subarray(0, MAX_REQUEST));
    if (!request.includes("\r\n\r\n") && request.length < MAX_REQUEST) return;
    // What comes behind it is read and dropped: closing over it would lose the answer.
    socket.off("data", hear).resume();
    const found = known(REQUEST.exec(request)?.[1] ?? "");
    const body = found ?? "There is nothing here.\n";
    socket.end(
      `HTTP/1.1 ${found === undefined ? "404 Not Found" : "200 OK"}\r\nContent-Type: application/octet-stream\r\n` +
        `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
  };
  socket.on("data", hear);
}
