/** What waits in the queue when the server ends, however it ends, arrives once when it and the other side are back. */

import assert from "node:assert/strict";
import { textOf } from "./support/every_cut.ts";
import { expect, letter, plain, send, until } from "./support/letters.ts";
import { ANN, direct, LocalServer, PASSWORD } from "./support/local_server.ts";
import { RemoteServer } from "./support/remote_server.ts";
import { serveApart } from "./support/serving_process.ts";
import { SmtpPeer } from "./support/smtp_peer.ts";

const REMOTE = "127.0.0.2", COUNT = 20;

/** A port where nobody listens yet, and where `RemoteServer` will. */
async function portOfTheRemote(): Promise<number> {
  const remote = new RemoteServer({}, { hostname: REMOTE });
  await remote.close();
  return remote.port;
}

/** Letters to one or two recipients at a domain whose server is down, small and large. */
async function fill(peer: SmtpPeer, sender: string): Promise<string[]> {
  const texts: string[] = [];
  for (let index = 0; index < COUNT; index++) {
    // Beyond 256 KiB a message is kept in parts.
    const text = letter(index % 10 === 9 ? "0123456789 0123456789 0123456789\r\n".repeat(9_000) : "Hello.\r\n", sender);
    const recipients = index % 2 === 0 ? ["carol@remote.test"] : ["dave@remote.test", "eve@remote.test"];
    expect(await send(peer, sender, recipients, text), "250 2.0.0 Queued");
    texts.push(text);
  }
  return texts;
}

/** Each letter has come once to each of its recipients, and its bytes are what they were. */
function assertArrivedOnce(remote: RemoteServer, texts: readonly string[]): void {
  for (const [index, text] of texts.entries()) {
    const found = remote.messages.filter(({ bytes }) => textOf(bytes).endsWith(text));
    assert.equal(found.length, 1, `letter ${index}`);
    assert.equal(found[0]?.rcpt.length, index % 2 === 0 ? 1 : 2);
  }
  assert.equal(remote.messages.length, texts.length);
}

async function untilTried(server: LocalServer): Promise<void> {
  await until(
    async () => (await server.queue()).some(({ recipients }) => recipients.some(({ attempts }) => attempts > 0)),
    "a first attempt",
  );
}

Deno.test("messages for a server that is down survive stop and start, and arrive once when it is up", async () => {
  const port = await portOfTheRemote();
  await using server = await LocalServer.open({ outbound: direct(port, 'retry = ["1s"]') });
  const peer = await server.signedIn();
  const texts = await fill(peer, ANN.address);
  peer.close();
  await untilTried(server);
  const before = await server.queue();
  assert.equal(before.length, COUNT);
  await server.stop();
  await server.start();
  assert.deepEqual((await server.queue()).map(({ id }) => id), before.map(({ id }) => id));
  await server.stop();
  const remote = new RemoteServer({}, { hostname: REMOTE, port });
  await server.start();
  await server.emptyQueue();
  assertArrivedOnce(remote, texts);
  assert.deepEqual(await server.inbox(), []);
  await server.stop();
  await remote.close();
});

Deno.test("messages that arrived before the restart do not arrive again after it", async () => {
  const port = await portOfTheRemote();
  await using server = await LocalServer.open({ outbound: direct(port, 'retry = ["1s"]') });
  const remote = new RemoteServer({}, { hostname: REMOTE, port });
  const peer = await server.signedIn();
  const texts = await fill(peer, ANN.address);
  peer.close();
  await server.emptyQueue();
  await server.stop();
  await server.start();
  assert.deepEqual(await server.queue(), []);
  await server.stop();
  assertArrivedOnce(remote, texts);
  await remote.close();
});

Deno.test("messages survive kill -9 of the server's process, and arrive once when it and the other side are up", async () => {
  const port = await portOfTheRemote();
  await using server = await LocalServer.prepare({ outbound: direct(port, 'retry = ["1s"]') });
  const child = await serveApart(server);
  let texts: string[];
  try {
    const peer = new SmtpPeer(await server.connectTls(child.port("submissions")));
    expect(await peer.lastLine(), "220");
    expect(await peer.say("EHLO client.remote.test"), "250");
    expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "235");
    texts = await fill(peer, ANN.address);
    // One more that is not finished: it was promised to nobody.
    for (const line of [`MAIL FROM:<${ANN.address}>`, "RCPT TO:<carol@remote.test>"]) {
      expect(await peer.say(line), "250");
    }
    expect(await peer.say("DATA"), "354");
    await peer.send(letter("0123456789 0123456789 0123456789\r\n".repeat(20_000)));
    await child.kill();
    peer.close();
  } finally {
    await child.kill();
  }
  const remote = new RemoteServer({}, { hostname: REMOTE, port });
  await server.start();
  await server.emptyQueue();
  assertArrivedOnce(remote, texts);
  assert.deepEqual(await server.inbox(), []);
  await server.stop();
  await remote.close();
});
