/** The old MailDemon served the first recipient, and some twice. */

import assert from "node:assert/strict";
import { expect, letter, send, until } from "../support/letters.ts";
import { ANN, LocalServer } from "../support/local_server.ts";

const CAROL = "carol@remote.test";
const BOB = { address: "bob@ours.test" };

/** How many of the texts hold this letter. */
function copies(texts: readonly string[], text: string): number {
  return texts.filter((found) => found.endsWith(text)).length;
}

/** Who has the letter of what has left: all addresses of all conversations. */
async function left(server: LocalServer): Promise<string[]> {
  return (await server.outbox()).flatMap(({ to }) => to).sort();
}

Deno.test("all recipients of a message from outside are served: mailboxes, forwards, aliases and the catch-all", async () => {
  await using server = await LocalServer.open({
    domain: 'catch_all = "dora@ours.test"',
    users: [
      { address: ANN.address },
      BOB,
      { address: "dora@ours.test" },
      { address: "fred@ours.test", deliver: ["forward:fred@remote.test", "maildir"] },
    ],
    aliases: [{ address: "team@ours.test", targets: ["gina@remote.test", "hugo@other.test"] }],
    zone: "remote.test. A 127.0.0.2\nother.test. A 127.0.0.3",
  });
  const peer = await server.outside(), text = letter();
  const all = ["ann", "bob", "fred", "team", "whoever"].map((name) => `${name}@ours.test`);
  expect(await send(peer, CAROL, all, text), "250 2.0.0 Queued");
  await server.emptyQueue();
  for (const name of ["ann", "bob", "dora", "fred"]) assert.equal(copies(await server.inbox(name), text), 1, name);
  assert.deepEqual(await left(server), ["fred@remote.test", "gina@remote.test", "hugo@other.test"]);
  peer.close();
});

Deno.test("all recipients of a submitted message are served, although one of them cannot be", async () => {
  await using server = await LocalServer.open({
    users: [ANN, BOB],
    zone: "remote.test. A 127.0.0.2\nother.test. A 127.0.0.3\nbroken.test. BEHAVE servfail",
  });
  const peer = await server.signedIn(), text = letter();
  const all = ["eve@missing.test", "eve@broken.test", BOB.address, "a@remote.test", "b@remote.test", "c@other.test"];
  expect(await send(peer, ANN.address, all, text), "250 2.0.0 Queued");
  peer.close();
  // Both mailboxes: Bob's has the letter, Ann's the bounce about missing.test; broken.test waits.
  await untilCopies(server, "bob", text);
  const [waiting] = await waitingOnly(server);
  assert.deepEqual(waiting?.recipients.map(({ state }) => state), [
    "failed",
    "waiting",
    "delivered",
    "delivered",
    "delivered",
    "delivered",
  ]);
  assert.deepEqual(await left(server), ["a@remote.test", "b@remote.test", "c@other.test"]);
});

Deno.test("100 recipients of one domain are served, each once, by one message", async () => {
  await using server = await LocalServer.open();
  const peer = await server.signedIn(), text = letter();
  const all = Array.from({ length: 100 }, (_, index) => `user${index}@remote.test`);
  expect(await send(peer, ANN.address, all, text), "250 2.0.0 Queued");
  await server.emptyQueue();
  assert.deepEqual(await left(server), all.toSorted());
  assert.equal((await server.outbox()).length, 1);
  peer.close();
});

Deno.test("however many of its names a message is sent to, a mailbox gets one copy", async () => {
  await using server = await LocalServer.open({
    users: [{ address: ANN.address, addresses: ["a.smith@ours.test", "info@ours.test"] }, BOB],
    aliases: [
      { address: "office@ours.test", targets: [ANN.address, BOB.address] },
      { address: "all@ours.test", targets: ["office@ours.test", "a.smith@ours.test"] },
    ],
  });
  const cases: readonly (readonly [recipients: readonly string[], ann: number, bob: number])[] = [
    [["ann@ours.test", "ann@ours.test"], 1, 0],
    [["ann@ours.test", "ANN@OURS.TEST", "ann+news@ours.test"], 1, 0],
    [["ann@ours.test", "a.smith@ours.test", "info@ours.test"], 1, 0],
    [["office@ours.test", "ann@ours.test"], 1, 1],
    [["bob@ours.test", "office@ours.test", "all@ours.test"], 1, 1],
    [["all@ours.test"], 1, 1],
    [["bob@ours.test", "ann@ours.test"], 1, 1],
  ];
  const peer = await server.outside();
  for (const [recipients, ann, bob] of cases) {
    const text = letter();
    expect(await send(peer, CAROL, recipients, text), "250 2.0.0 Queued");
    await server.emptyQueue();
    assert.equal(copies(await server.inbox("ann"), text), ann, recipients.join());
    assert.equal(copies(await server.inbox("bob"), text), bob, recipients.join());
  }
  peer.close();
});

Deno.test("an address elsewhere that several of ours lead to gets one copy", async () => {
  await using server = await LocalServer.open({
    users: [{ address: "fred@ours.test", deliver: ["forward:fred@remote.test"] }],
    aliases: [{ address: "team@ours.test", targets: ["fred@ours.test", "fred@remote.test", "gina@remote.test"] }],
  });
  const peer = await server.outside();
  expect(await send(peer, CAROL, ["team@ours.test", "fred@ours.test"], letter()), "250 2.0.0 Queued");
  await server.emptyQueue();
  assert.deepEqual(await left(server), ["fred@remote.test", "gina@remote.test"]);
  peer.close();
});

async function untilCopies(server: LocalServer, local: string, text: string): Promise<void> {
  await until(async () => copies(await server.inbox(local), text) === 1, `the letter to ${local}`);
}

/** The queue, when nothing in it is new any more. */
async function waitingOnly(server: LocalServer) {
  await until(
    async () => (await server.queue()).every(({ recipients }) => recipients.every(({ attempts }) => attempts > 0)),
    "all to be tried",
  );
  return await server.queue();
}
