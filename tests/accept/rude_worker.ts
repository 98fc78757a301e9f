/** A rude client on a thread of its own: on the server's thread it would wait its turn like everybody else. */

import { connect } from "node:net";

export interface Rudeness {
  readonly port: number;
  /** Calls that hang up (RST) at once, or a message without end. */
  readonly does: "hang up" | "send without end";
}

const HUNG_UP = 40;
const utf8 = new TextEncoder();

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Rudeness>) => Promise<void>;
  postMessage(message: "sending"): void;
};

scope.onmessage = ({ data }) => data.does === "hang up" ? hangUp(data.port) : sendWithoutEnd(data);

async function hangUp(port: number): Promise<void> {
  await Promise.all(Array.from({ length: HUNG_UP }, () =>
    new Promise<void>((done) => {
      const socket = connect(port, "127.0.0.1", () => socket.resetAndDestroy());
      socket.once("close", () => done());
    })));
}

async function sendWithoutEnd({ port }: Rudeness): Promise<void> {
  const reply = new Uint8Array(4096);
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.read(reply);
  for (const command of ["EHLO c.test", "MAIL FROM:<eve@remote.test>", "RCPT TO:<ann@dev.test>", "DATA"]) {
    await conn.write(utf8.encode(`${command}\r\n`));
    await conn.read(reply);
  }
  scope.postMessage("sending");
  const piece = new Uint8Array(1 << 20).fill(120);
  while (true) for (let at = 0; at < piece.length;) at += await conn.write(piece.subarray(at));
}
