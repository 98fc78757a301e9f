/**
 * A backup is made while mail comes in and goes out. A server on the restored copy sends what was queued at that moment:
 *
 * | what became of it on the old server              | on the new one                              |
 * | ------------------------------------------------ | ------------------------------------------- |
 * | done before the backup began                     | never again                                 |
 * | promised before it began, and not done           | once                                        |
 * | promised before it began, done while it was made | once or not at all: it was in flight        |
 * | promised while it was made                       | the same, and if not done here then no loss |
 * | promised after it was made                       | unknown to it                               |
 */

import assert from "node:assert/strict";
import { textOf } from "../support/every_cut.ts";
import { expect, letter, plain, send, until } from "../support/letters.ts";
import { ANN, direct, LocalServer, PASSWORD } from "../support/local_server.ts";
import { RemoteServer } from "../support/remote_server.ts";
import { maildemon } from "../support/running_server.ts";
import { serveApart, type ServingProcess } from "../support/serving_process.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

const REMOTE = "127.0.0.2", FIRST = 12, SESSIONS = 4;

interface Sent {
  readonly text: string;
  readonly to: "ann@ours.test" | "fast@remote.test" | "slow@remote.test";
  /** Milliseconds, when 250 came. */
  readonly promised: number;
}

async function signedIn(server: LocalServer, child: ServingProcess): Promise<SmtpPeer> {
  const peer = new SmtpPeer(await server.connectTls(child.port("submissions")));
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO client.remote.test"), "250");
  expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "235");
  return peer;
}

async function sendOne(peer: SmtpPeer, to: Sent["to"], sent: Sent[]): Promise<void> {
  const text = letter(sent.length % 20 === 19 ? "0123456789 0123456789 0123456789\r\n".repeat(9_000) : "Hello.\r\n");
  expect(await send(peer, ANN.address, [to], text), "250");
  sent.push({ text, to, promised: performance.now() });
}

/** The last line of the header and the body are those of one letter alone. */
function marked(text: string): string {
  return /Message-ID: <(.*)>/.exec(text)?.[1] ?? text;
}

Deno.test("a backup under load, restored: verify is clean, what was queued is sent once, and what was done is not", async () => {
  const old = remoteServer("451 4.2.1 later");
  const outbound = direct(old.port, 'retry = ["1s"]\nconcurrency_per_domain = 2');
  const users = [{ ...ANN, sendLimit: 1_000_000 }];
  await using server = await LocalServer.prepare({ outbound, users, limits: "max_messages_per_session = 10000" });
  await using heir = await LocalServer.prepare({ outbound });
  const child = await serveApart(server), sent: Sent[] = [], file = `${heir.folder}/backup.tar.gz`;
  let began = 0, ended = 0;
  try {
    const peer = await signedIn(server, child);
    for (let count = 0; count < FIRST; count++) {
      for (const to of ["ann@ours.test", "fast@remote.test", "slow@remote.test"] as const) {
        await sendOne(peer, to, sent);
      }
    }
    peer.close();
    await until(async () => {
      const { out } = await maildemon(server.configFile, ["queue", "list", "--json"]);
      return JSON.parse(out).length === FIRST;
    }, "what can be done to be done");

    let goesOn = true;
    const load = Promise.all(Array.from({ length: SESSIONS }, async () => {
      const peer = await signedIn(server, child);
      while (goesOn) {
        for (const to of ["ann@ours.test", "fast@remote.test", "slow@remote.test"] as const) {
          await sendOne(peer, to, sent);
        }
      }
      peer.close();
    }));
    load.catch(() => goesOn = false);
    await until(() => sent.length > FIRST * 3 + 3 * SESSIONS, "the load");
    began = performance.now();
    const made = await maildemon(server.configFile, ["backup", file]);
    ended = performance.now();
    assert.equal(made.code, 0, made.error);
    await Promise.race([until(() => sent.some(({ promised }) => promised > ended), "mail behind the backup"), load]);
    goesOn = false;
    await load;
  } finally {
    await child.kill();
  }
  assert.ok(sent.some(({ promised }) => promised > ended) && sent.some(({ promised }) => promised > began));
  await old.close();
  const fast = takenBy(old), oldInbox = (await server.inbox()).map(marked);

  await Deno.remove(heir.store, { recursive: true });
  const restored = await maildemon(heir.configFile, ["restore", file]);
  assert.equal(restored.code, 0, restored.error);
  assert.match(restored.out, /^Restored \d+ files, /);
  const verified = await maildemon(heir.configFile, ["verify", "--json"]);
  assert.deepEqual([verified.code, JSON.parse(verified.out).problems], [0, []]);
  const { queued } = JSON.parse(verified.out);

  const young = remoteServer("250 2.1.5 fine", old.port);
  await heir.start();
  assert.ok(queued > FIRST);
  await heir.ask({ do: "queue.retry", selection: { all: true } });
  await heir.emptyQueue(20_000);
  await heir.stop();
  await young.close();
  const again = takenBy(young);
  const inbox = (await heir.inbox()).map(marked), known = new Set(sent.map(({ text }) => marked(text)));
  for (const id of [...again.keys(), ...inbox]) assert.ok(known.has(id), `${id} was never sent`);
  assert.equal(new Set(inbox).size, inbox.length, "somebody has a message twice");
  assert.deepEqual([...again.values()].filter((count) => count !== 1), []);
  let inFlight = 0;
  for (const [index, { text, to, promised }] of sent.entries()) {
    const id = marked(text), isHere = to === "ann@ours.test" ? inbox.includes(id) : again.has(id);
    const wasDone = to === "ann@ours.test" ? oldInbox.includes(id) : fast.has(id);
    if (index < 3 * FIRST) assert.equal(isHere, to !== "fast@remote.test", `${to} of before the load`);
    else if (promised < began) assert.ok(isHere || wasDone && to === "fast@remote.test", `${to} is lost: ${id}`);
    else if (promised > ended) assert.ok(!isHere, `${to} comes from the future`);
    if (isHere && wasDone && to === "fast@remote.test") inFlight++;
  }
  assert.ok(inFlight <= sent.length - 3 * FIRST);
  console.log(`  ${sent.length} messages, ${queued} in the backup, ${inFlight} were in flight and are sent twice`);
});

function remoteServer(slow: string, port = 0): RemoteServer {
  const on = { RCPT: (line: string) => line.includes("slow@") ? slow : "250 2.1.5 fine" };
  return new RemoteServer({ on }, { hostname: REMOTE, port });
}

/** The marks of what it has taken, and how often. */
function takenBy(remote: RemoteServer): Map<string, number> {
  const taken = new Map<string, number>();
  for (const { bytes } of remote.messages) {
    const id = marked(textOf(bytes));
    taken.set(id, (taken.get(id) ?? 0) + 1);
  }
  return taken;
}
