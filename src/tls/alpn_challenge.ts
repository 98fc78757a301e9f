/** The challenge tls-alpn-01 (RFC 8737): a certificate of its own that the authority is shown under our name. */

import { createServer, type Socket } from "node:net";
import { alert, answerHello, type ProvedBy } from "./alpn_handshake.ts";
import { joined, readClientHello } from "./alpn_hello.ts";
import { type Door, type Endpoint, openDoor } from "./challenge_door.ts";

/** Octets: a hello with keys for the time after quantum computers has two thousand. */
const MAX_HELLO = 16_384;

/** `proofs`: what proves a name; looked at anew for each handshake. Who asks for anything else gets an alert. */
export async function openAlpnChallenge(listen: Endpoint, proofs: ReadonlyMap<string, ProvedBy>): Promise<Door> {
  return await openDoor(createServer((socket) => answer(socket, proofs)), "tls-alpn-01", listen);
}

function answer(socket: Socket, proofs: ReadonlyMap<string, ProvedBy>): void {
  let received = new Uint8Array(0);
  const hear = (piece: Uint8Array) => {
    received = joined(received, piece);
    const said = flight(received, proofs);
    if (said === undefined && received.length < MAX_HELLO) return;
    // What the client sends to finish is read and dropped: closing over it could lose the flight.
    socket.off("data", hear).resume();
    socket.end(said ?? alert("handshake_failure"));
  };
  socket.on("data", hear);
}

/** Undefined while there is more to come. */
function flight(received: Uint8Array, proofs: ReadonlyMap<string, ProvedBy>): Uint8Array | undefined {
  try {
    const hello = readClientHello(received);
    return hello && answerHello(hello, (name) => proofs.get(name));
  } catch {
    return alert("handshake_failure");
  }
}
