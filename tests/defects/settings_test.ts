/** Settings that the old MailDemon ignored. Those of [limits] have a file of their own beside this one. */

import assert from "node:assert/strict";
import { expect, letter, plain, send, until } from "../support/letters.ts";
import { ANN, direct, LocalServer, PASSWORD, underTls } from "../support/local_server.ts";
import { RemoteServer } from "../support/remote_server.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

const CAROL = "carol@remote.test";

Deno.test("greeting: the text stands behind the host name in 220", async () => {
  await using server = await LocalServer.open({ top: 'greeting = "at your service"' });
  const peer = await SmtpPeer.call(server.port("mx"));
  assert.equal(await peer.lastLine(), "220 mail.ours.test at your service");
  peer.close();
});

Deno.test("listeners: each answers at its own address, in its own way, and at no other", async () => {
  const listeners = [["127.0.0.4:0", "mx"], ["[::1]:0", "submission"], ["127.0.0.5:0", "submissions"]].map((
    [address, kind],
  ) => `[[listeners]]\naddress = "${address}"\nkind = "${kind}"\n`);
  await using server = await LocalServer.open({ listeners: listeners.join("") });
  assert.deepEqual(server.running.listeners().map(({ host, kind }) => [host, kind]), [
    ["127.0.0.4", "mx"],
    ["::1", "submission"],
    ["127.0.0.5", "submissions"],
  ]);
  const [mx = 0, submission = 0, submissions = 0] = server.running.listeners().map(({ port }) => port);
  const inClear = async (hostname: string, port: number) => await Deno.connect({ hostname, port });
  for (
    const conn of [
      await inClear("127.0.0.4", mx),
      await inClear("::1", submission),
      await underTls(await inClear("127.0.0.5", submissions)),
    ]
  ) {
    const peer = new SmtpPeer(conn);
    expect(await peer.lastLine(), "220 mail.ours.test");
    peer.close();
  }
  for (const hostname of ["127.0.0.1", "127.0.0.6", "::1"]) {
    await assert.rejects(inClear(hostname, mx), Deno.errors.ConnectionRefused);
  }
  await assert.rejects(inClear("127.0.0.1", submission), Deno.errors.ConnectionRefused);
});

Deno.test("listeners: two of one kind are both served", async () => {
  const one = '[[listeners]]\naddress = "127.0.0.1:0"\nkind = "mx"\n';
  await using server = await LocalServer.open({ listeners: one + one });
  const ports = server.running.listeners().map(({ port }) => port);
  assert.equal(new Set(ports).size, 2);
  for (const port of ports) {
    const peer = await SmtpPeer.call(port);
    expect(await peer.lastLine(), "220");
    peer.close();
  }
});

Deno.test("proxy_protocol_from: such a peer says who calls, and others may not", async () => {
  const listener = (from: string) => `[[listeners]]\naddress = "127.0.0.1:0"\nkind = "mx"\n${from}\n`;
  await using server = await LocalServer.open({ listeners: listener('proxy_protocol_from = ["127.0.0.0/8"]') });
  const proxied = await SmtpPeer.call(server.port("mx"));
  await proxied.send("PROXY TCP4 198.51.100.7 192.0.2.1 4711 25\r\n");
  expect(await proxied.lastLine(), "220");
  expect(await proxied.say("EHLO client.remote.test"), "250");
  expect(await send(proxied, CAROL, [ANN.address], letter()), "250");
  proxied.close();
  await server.emptyQueue();
  assert.match((await server.inbox())[0] ?? "", /^Received: [^]*198\.51\.100\.7/m);
  await using other = await LocalServer.open({ listeners: listener("") });
  const peer = await SmtpPeer.call(other.port("mx"));
  expect(await peer.lastLine(), "220");
  expect(await peer.say("PROXY TCP4 198.51.100.7 192.0.2.1 4711 25"), "554");
  peer.close();
});

Deno.test("catch_all: mail to an address that does not exist goes there, and without it is refused", async () => {
  await using server = await LocalServer.open({ domain: `catch_all = "${ANN.address}"` });
  const peer = await server.outside();
  expect(await send(peer, CAROL, ["whoever@ours.test"], letter()), "250 2.0.0 Queued");
  await server.emptyQueue();
  assert.equal((await server.inbox()).length, 1);
  peer.close();
  await using other = await LocalServer.open();
  const unlucky = await other.outside();
  expect(await send(unlucky, CAROL, ["whoever@ours.test"], letter()), "550 5.1.1");
  unlucky.close();
});

Deno.test("catch_all: an address elsewhere gets it too", async () => {
  await using server = await LocalServer.open({ domain: 'catch_all = "keeper@remote.test"' });
  const peer = await server.outside();
  expect(await send(peer, CAROL, ["whoever@ours.test"], letter()), "250 2.0.0 Queued");
  await server.emptyQueue();
  assert.deepEqual((await server.outbox()).map(({ to }) => to), [["keeper@remote.test"]]);
  peer.close();
});

Deno.test("default_forward: users without delivery of their own are forwarded there, others are not", async () => {
  await using server = await LocalServer.open({
    domain: 'default_forward = "all@remote.test"',
    users: [ANN, { address: "bob@ours.test", deliver: ["maildir"] }],
  });
  const peer = await server.outside();
  expect(await send(peer, CAROL, [ANN.address, "bob@ours.test"], letter()), "250 2.0.0 Queued");
  await server.emptyQueue();
  assert.deepEqual((await server.outbox()).map(({ to }) => to), [["all@remote.test"]]);
  assert.deepEqual(await server.inbox("ann"), []);
  assert.equal((await server.inbox("bob")).length, 1);
  peer.close();
});

Deno.test("mechanisms: those of the config are offered and no others are taken", async () => {
  await using server = await LocalServer.open({ auth: 'mechanisms = ["LOGIN"]' });
  const peer = new SmtpPeer(await server.connectTls("submissions"));
  expect(await peer.lastLine(), "220");
  await peer.send("EHLO client.remote.test\r\n");
  const offers = (await peer.reply() ?? []).filter((line) => line.slice(4).startsWith("AUTH"));
  assert.deepEqual(offers.map((line) => line.slice(4)), ["AUTH LOGIN"]);
  expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "504 5.5.4");
  expect(await peer.say(`AUTH SCRAM-SHA-256 ${btoa("n,,n=ann@ours.test,r=abc")}`), "504 5.5.4");
  expect(await peer.say(`AUTH LOGIN ${btoa(ANN.address)}`), "334");
  expect(await peer.say(btoa(PASSWORD)), "235");
  peer.close();
});

Deno.test("checks.spf: reject-fail refuses at MAIL what off lets in", async () => {
  const zone = 'forged.test. TXT "v=spf1 -all"';
  for (const [spf, reply] of [["reject-fail", "550 5.7.23"], ["off", "250"]] as const) {
    await using server = await LocalServer.open({ checks: `spf = "${spf}"`, zone });
    const peer = await server.outside();
    expect(await peer.say("MAIL FROM:<boss@forged.test>"), reply);
    peer.close();
  }
});

Deno.test("outbound.command_timeout: a server that hangs is left after so long, and tried again", async () => {
  const remote = new RemoteServer({ on: { MAIL: "hang" } }, { hostname: "127.0.0.2" });
  await using server = await LocalServer.open({ outbound: direct(remote.port, 'command_timeout = "1s"') });
  const peer = await server.signedIn(), began = performance.now();
  expect(await send(peer, ANN.address, [CAROL], letter()), "250 2.0.0 Queued");
  peer.close();
  await until(async () => (await server.queue())[0]?.recipients[0]?.attempts === 1, "the first attempt");
  const took = performance.now() - began;
  assert.ok(took > 900 && took < 3_500, `${took} ms`);
  await remote.close();
});

Deno.test("outbound.routes: mail for that domain goes to that server, whatever its MX says", async () => {
  await using remote = new RemoteServer();
  const route = `[[outbound.routes]]\ndomain = "remote.test"\nvia = "127.0.0.1:${remote.port}"\n`;
  await using server = await LocalServer.open({ outbound: route, zone: "remote.test. MX 0 ." });
  const peer = await server.signedIn();
  expect(await send(peer, ANN.address, [CAROL], letter()), "250 2.0.0 Queued");
  peer.close();
  await until(() => remote.messages.length === 1, "the message");
  await server.stop();
});
