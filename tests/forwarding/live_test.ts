import assert from "node:assert/strict";
import { send, until } from "../support/letters.ts";
import { LocalServer } from "../support/local_server.ts";
import { sayHello } from "../support/proxy_caller.ts";
import { freePort, remoteAt, settingsOf, unsigned } from "./two_servers.ts";

const LIVE = "forward_live = true";
const USERS = [
  { address: "bob@ours.test", deliver: ["forward:bob@remote.test"] },
  { address: "ann@ours.test", deliver: ["maildir"] },
];

Deno.test("with forward_live what the target refuses is refused to the sender, and nobody gets a bounce", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: USERS, domain: LIVE }));
  await using others = remoteAt(port, { on: { RCPT: "550 5.2.2 <Bob@remote.test> is full" } });
  const peer = await sayHello(ours, "192.0.2.7");
  const said = await send(peer, "carol@strict.test", ["bob@ours.test"], unsigned("bob@ours.test"));
  assert.match(said, /^550 5\.2\.2 .*<bob@ours\.test> is full/);
  peer.close();
  await ours.emptyQueue();
  assert.equal(others.messages.length, 0);
  assert.equal(others.seen.flatMap(({ commands }) => commands).filter((line) => line.startsWith("MAIL")).length, 1);
});

Deno.test("with forward_live what the target takes is taken, and what it puts off waits in the queue", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, {
    users: USERS,
    domain: LIVE,
    outboundMore: 'retry = ["1s"]',
  }));
  let refuse = false;
  await using others = remoteAt(port, { on: { RCPT: () => refuse ? "451 4.2.1 later" : "250 2.1.5 fine" } });
  const peer = await sayHello(ours, "192.0.2.7");
  const text = unsigned("bob@ours.test");
  assert.match(await send(peer, "carol@strict.test", ["bob@ours.test"], text), /^250 2\.0\.0 Queued/);
  assert.equal(others.messages.length, 1);
  await ours.emptyQueue();
  refuse = true;
  assert.match(await send(peer, "carol@strict.test", ["bob@ours.test"], text), /^250 2\.0\.0 Queued/);
  refuse = false;
  await until(() => others.messages.length === 2, "the second try", 30_000);
  peer.close();
});

Deno.test("with forward_live a message that others get too is not refused, and its sender gets the bounce", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: USERS, domain: LIVE }));
  await using others = remoteAt(port, {
    on: { RCPT: (line) => line.includes("bob@") ? "550 5.1.1 nobody" : "250 2.1.5 fine" },
  });
  const peer = await sayHello(ours, "192.0.2.7");
  const to = ["bob@ours.test", "ann@ours.test"];
  assert.match(await send(peer, "carol@strict.test", to, unsigned("bob@ours.test")), /^250/);
  peer.close();
  await until(() => others.messages.length === 1, "the bounce", 90_000);
  assert.match(others.messages[0]?.rcpt[0] ?? "", /carol@strict\.test/);
  assert.equal((await ours.inbox()).length, 1);
});

Deno.test("with forward_live nobody hears where it goes to, whatever the target says of itself", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: USERS, domain: LIVE }));
  await using _others = remoteAt(port, { on: { RCPT: "550 5.1.1 mx.remote.test [127.0.0.4] knows no such person" } });
  const peer = await sayHello(ours, "192.0.2.7");
  const said = await send(peer, "carol@strict.test", ["bob@ours.test"], unsigned("bob@ours.test"));
  peer.close();
  assert.match(said, /^550 5\.1\.1 Where this is forwarded to, it was refused/);
  assert.doesNotMatch(said, /remote\.test|127\.0\.0\.4/);
});

Deno.test("with forward_live a stop leaves no sender in doubt: the message is ours, and goes out after the next start", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, { users: USERS, domain: LIVE }));
  let silent = true;
  await using others = remoteAt(port, { on: { RCPT: () => silent ? "hang" : "250 2.1.5 fine" } });
  const peer = await sayHello(ours, "192.0.2.7");
  const said = send(peer, "carol@strict.test", ["bob@ours.test"], unsigned("bob@ours.test"));
  await until(
    () => others.seen.some(({ commands }) => commands.some((line) => line.startsWith("RCPT"))),
    "the attempt",
  );
  const began = performance.now(), stopping = ours.stop();
  assert.match(await said, /^250 2\.0\.0 Queued/);
  assert.ok(performance.now() - began < 5_000, "as soon as it is known that nothing more will be");
  peer.close();
  await stopping;
  silent = false;
  await ours.start();
  await until(() => others.messages.length === 1, "the message", 30_000);
});
