import assert from "node:assert/strict";
import { send, until } from "../support/letters.ts";
import { LocalServer } from "../support/local_server.ts";
import { sayHello } from "../support/proxy_caller.ts";
import type { RemoteServer } from "../support/remote_server.ts";
import { freePort, remoteAt, settingsOf, signed, textOfMessages } from "./two_servers.ts";

/** One server for each way to behave, all at one port. */
const ZONE = `
down.test.        MX 10 mx.down.test.
mx.down.test.     A  127.0.0.9
grey.test.        MX 10 mx.grey.test.
mx.grey.test.     A  127.0.0.5
refuse.test.      MX 10 mx.refuse.test.
mx.refuse.test.   A  127.0.0.6
`;

function recipientsOf(remote: RemoteServer): string[] {
  return remote.messages.flatMap(({ rcpt }) => rcpt.map((line) => /<(.*)>/.exec(line)?.[1] ?? "")).sort();
}

Deno.test("3 local recipients, 2 forwards and an alias with 3 targets get one copy each, and one bounce names who refused", async () => {
  const port = freePort();
  const users = [
    ...["ann", "eve", "zoe"].map((local) => ({ address: `${local}@ours.test`, deliver: ["maildir"] })),
    { address: "bob@ours.test", deliver: ["forward:bob@remote.test"] },
    { address: "dan@ours.test", deliver: ["forward:dan@remote.test"] },
  ];
  const targets = ["down@down.test", "grey@grey.test", "no@refuse.test"];
  await using ours = await LocalServer.open(settingsOf("ours.test", port, {
    users,
    aliases: [{ address: "team@ours.test", targets }],
    zone: ZONE,
    outboundMore: 'retry = ["1s"]\ngive_up_after = "1d"',
  }));
  // Carol's own server, and where Bob and Dan read.
  await using others = remoteAt(port);
  await using grey = remoteAt(port, {
    on: {
      RCPT: (_line, count) => count === 0 && grey.seen.length === 1 ? "451 4.7.1 come back later" : "250 2.1.5 fine",
    },
  }, "127.0.0.5");
  await using refuse = remoteAt(port, { on: { RCPT: "550 5.1.1 <NO@refuse.test>: nobody of that name" } }, "127.0.0.6");

  const to = ["ann", "bob", "dan", "eve", "team", "zoe", "ann+again", "ANN"].map((local) => `${local}@ours.test`);
  const peer = await sayHello(ours, "192.0.2.7");
  const text = signed("everybody@ours.test").replaceAll("\r\n.", "\r\n..");
  assert.match(await send(peer, "carol@strict.test", to, text), /^250/);
  peer.close();

  const isBounce = (text: string) => /^Content-Type: multipart\/report/m.test(text);
  await until(
    () => textOfMessages(others).some(isBounce) && grey.messages.length === 1,
    "bounce and second try",
    90_000,
  );
  for (const local of ["ann", "eve", "zoe"]) assert.equal((await ours.inbox(local)).length, 1, local);
  assert.deepEqual(recipientsOf(others), ["bob@remote.test", "carol@strict.test", "dan@remote.test"]);
  assert.deepEqual(recipientsOf(grey), ["grey@grey.test"]);
  assert.deepEqual(recipientsOf(refuse), []);

  const bounces = textOfMessages(others).filter(isBounce);
  assert.equal(bounces.length, 1);
  const [bounce = ""] = bounces;
  assert.deepEqual(bounce.match(/^Final-Recipient: .*$/gm), ["Final-Recipient: rfc822; no@refuse.test"]);
  assert.match(bounce, /^Original-Recipient: rfc822; ?team@ours\.test$/m);
  assert.doesNotMatch(bounce, /grey@|down@|bob@|dan@/);
  // Who is down is still tried, and nobody else.
  const [row, ...more] = await ours.queue();
  assert.equal(more.length, 0);
  const waiting = row?.recipients.filter(({ state }) => state === "waiting");
  assert.deepEqual(waiting?.map(({ target }) => "address" in target && target.address), ["down@down.test"]);
});

Deno.test("a bounce for a user who forwards does not tell where to", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, {
    users: [{ address: "bob@ours.test", deliver: ["forward:Secret.Bob@refuse.test"] }],
    zone: ZONE,
  }));
  await using strict = remoteAt(port);
  const said = "550 5.1.1 <secret.bob@REFUSE.test>: Recipient address rejected";
  await using _refuse = remoteAt(port, { on: { RCPT: said } }, "127.0.0.6");
  const peer = await sayHello(ours, "192.0.2.7");
  const text = signed("bob@ours.test").replaceAll("\r\n.", "\r\n..");
  assert.match(await send(peer, "carol@strict.test", ["bob@ours.test"], text), /^250/);
  peer.close();
  await until(() => strict.messages.length === 1, "the bounce", 90_000);
  const [bounce = ""] = textOfMessages(strict);
  assert.doesNotMatch(bounce, /secret\.bob/i);
  assert.match(bounce, /^Final-Recipient: rfc822; bob@ours\.test$/m);
  assert.match(bounce, /550 5\.1\.1 <bob@ours\.test>: Recipient address rejected/);
});

Deno.test("NOTIFY=SUCCESS for an alias of several brings one note that says so, and the copies ask for no more", async () => {
  const port = freePort();
  await using ours = await LocalServer.open(settingsOf("ours.test", port, {
    users: [{ address: "ann@ours.test", deliver: ["maildir"] }],
    aliases: [{ address: "team@ours.test", targets: ["ann@ours.test", "dan@remote.test"] }],
  }));
  await using others = remoteAt(port, { offers: ["PIPELINING", "SIZE 1000000", "8BITMIME", "DSN"] });
  const peer = await sayHello(ours, "192.0.2.7");
  for (
    const line of [
      "MAIL FROM:<carol@strict.test> RET=HDRS ENVID=QQ314159",
      "RCPT TO:<team@ours.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Team@ours.test",
    ]
  ) assert.match(await peer.say(line), /^250/);
  assert.match(await peer.say("DATA"), /^354/);
  assert.match(await peer.say(`${signed("team@ours.test").replaceAll("\r\n.", "\r\n..")}.`), /^250/);
  peer.close();
  await until(() => others.messages.length === 2, "the copy and the note", 90_000);
  await ours.emptyQueue();
  const copy = others.messages.find(({ rcpt }) => rcpt[0]?.includes("dan@remote.test"));
  assert.match(copy?.mail ?? "", / RET=HDRS ENVID=QQ314159$/);
  assert.deepEqual(copy?.rcpt, ["RCPT TO:<dan@remote.test> NOTIFY=FAILURE ORCPT=rfc822;Team@ours.test"]);
  const [note = ""] = textOfMessages(others).filter((text) => /report-type=delivery-status/.test(text));
  assert.match(note, /^Original-Envelope-Id: QQ314159\r$/m);
  assert.match(note, /^Action: expanded\r$/m);
  assert.equal(others.messages.length, 2);
});
