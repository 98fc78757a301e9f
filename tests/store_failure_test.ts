/** A full disk: what does not fit is refused for now, and nothing else is harmed. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { textOf } from "./support/every_cut.ts";
import { expect, letter, send, until } from "./support/letters.ts";
import { ANN, direct, LocalServer } from "./support/local_server.ts";
import { RemoteServer } from "./support/remote_server.ts";

const LINE = "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\r\n";
const CAROL = "carol@remote.test";

/** True when the folder is a disk of its own of this many bytes from now on. */
async function mountSmall(folder: string, size: number): Promise<boolean> {
  await Deno.mkdir(folder, { recursive: true });
  return await mounting("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder);
}

async function mounting(command: string, ...args: readonly string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: [...args], stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false; // There is no such program here.
  }
}

/** A server whose queue lies on a disk of 1 MiB; it has a remote server that is down. */
async function onSmallDisk(work: (server: LocalServer, queue: string, port: number) => Promise<void>): Promise<void> {
  const down = new RemoteServer({}, { hostname: "127.0.0.2" });
  await down.close();
  await using server = await LocalServer.prepare({
    outbound: direct(down.port, 'retry = ["1s"]'),
    status: 'listen = "127.0.0.1:0"',
  });
  const queue = join(server.store, "queue");
  if (!await mountSmall(queue, 1024 * 1024)) {
    console.log("  SKIPPED: a full disk cannot be made here, mounting a tmpfs needs root");
    return;
  }
  try {
    await server.start();
    await work(server, queue, down.port);
  } finally {
    await server.stop();
    assert.ok(await mounting("umount", queue), `cannot unmount ${queue}`);
  }
}

Deno.test("a full disk: 452 4.3.1, what was taken before is kept, and with space again mail is taken again", async () => {
  await onSmallDisk(async (server, queue, port) => {
    const peer = await server.signedIn(), other = await server.outside();
    const kept: string[] = [];
    const ready = async () => {
      const answer = await fetch(`http://127.0.0.1:${server.running.statusPort()}/readyz`);
      return `${answer.status} ${await answer.text()}`;
    };
    const submit = async (lines: number) => {
      const text = letter(LINE.repeat(lines)), said = await send(peer, ANN.address, [CAROL], text);
      if (said.startsWith("250")) kept.push(text);
      return said;
    };
    // In one piece, and in parts that go to the disk while they come.
    expect(await submit(3_000), "250 2.0.0 Queued");
    expect(await submit(5_000), "250 2.0.0 Queued");
    expect(await other.say("MAIL FROM:<dora@remote.test>"), "250");
    expect(await other.say(`RCPT TO:<${ANN.address}>`), "250");
    assert.equal(await ready(), "200 ready\n");
    const ballast = await fillUp(queue);
    expect(await submit(3_000), "452 4.3.1");
    expect(await submit(5_000), "452 4.3.1");
    expect(await submit(1), "452 4.3.1");
    assert.equal(await ready(), "503 not ready\n");

    // The session that was refused goes on, its transaction is gone, and others notice nothing.
    expect(await peer.say("DATA"), "503");
    expect(await peer.say("NOOP"), "250");
    expect(await other.say("NOOP"), "250");
    assert.equal((await server.queue()).length, 2);
    (await server.outside()).close();

    await Deno.remove(ballast);
    // The transaction that was open all the time.
    const text = letter();
    expect(await other.say("DATA"), "354");
    expect(await other.say(`${text}.`), "250 2.0.0 Queued");
    expect(await submit(1), "250 2.0.0 Queued");
    await until(async () => (await server.inbox()).some((found) => found.endsWith(text)), "the letter to Ann");
    for (const one of [peer, other]) one.close();

    // After a restart, all that was promised arrives, once and whole; what was refused does not.
    await server.stop();
    const remote = new RemoteServer({}, { hostname: "127.0.0.2", port });
    await server.start();
    await server.emptyQueue();
    assert.equal(remote.messages.length, 3);
    for (const text of kept) assert.ok(remote.messages.some(({ bytes }) => textOf(bytes).endsWith(text)));
    assert.equal((await server.inbox()).length, 1);
    await server.stop();
    await remote.close();
  });
});

Deno.test("a full disk: ten sessions at once hear 452 each, and none of them waits or loses its place", async () => {
  await onSmallDisk(async (server, queue) => {
    const peers = await Promise.all(Array.from({ length: 10 }, () => server.outside()));
    const ballast = await fillUp(queue);
    const said = await Promise.all(
      peers.map((peer, index) => send(peer, "dora@remote.test", [ANN.address], letter(LINE.repeat(index * 700)))),
    );
    for (const reply of said) expect(reply, "452 4.3.1");
    await Deno.remove(ballast);
    const texts = peers.map(() => letter());
    const again = await Promise.all(
      peers.map((peer, index) => send(peer, "dora@remote.test", [ANN.address], texts[index] ?? "")),
    );
    for (const reply of again) expect(reply, "250 2.0.0 Queued");
    await server.emptyQueue();
    const inbox = await server.inbox();
    assert.equal(inbox.length, 10);
    for (const text of texts) assert.ok(inbox.some((found) => found.endsWith(text)));
    for (const peer of peers) peer.close();
  });
});

/** A file that takes all the space there is. */
async function fillUp(folder: string): Promise<string> {
  const path = join(folder, "ballast");
  using file = await Deno.open(path, { write: true, create: true });
  const piece = new Uint8Array(4096);
  try {
    while (true) await file.write(piece);
  } catch (error) {
    assert.match(String(error), /no space left/i);
  }
  return path;
}
