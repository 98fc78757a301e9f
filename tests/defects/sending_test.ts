/** Where the old MailDemon did not find the server, gave up in silence, or sent again what had arrived. */

import assert from "node:assert/strict";
import { textOf } from "../support/every_cut.ts";
import { expect, letter, send, until } from "../support/letters.ts";
import { ANN, direct, LocalServer } from "../support/local_server.ts";
import { type RemoteScript, RemoteServer } from "../support/remote_server.ts";

const QUICK = 'retry = ["1s"]\ngive_up_after = "1s"\nmin_attempts = 3';

/** Servers at 127.0.0.2, 127.0.0.3 and so on, all on one port, as MX servers are. */
function openRemotes(...scripts: readonly RemoteScript[]): RemoteServer[] {
  const remotes: RemoteServer[] = [];
  for (const [index, script] of scripts.entries()) {
    remotes.push(new RemoteServer(script, { hostname: `127.0.0.${index + 2}`, port: remotes[0]?.port ?? 0 }));
  }
  return remotes;
}

async function closeAll(remotes: readonly RemoteServer[]): Promise<void> {
  await Promise.all(remotes.map((remote) => remote.close()));
}

/** Submitted by Ann. */
async function submit(server: LocalServer, ...recipients: readonly string[]): Promise<string> {
  const peer = await server.signedIn(), text = letter();
  expect(await send(peer, ANN.address, recipients, text), "250 2.0.0 Queued");
  peer.close();
  return text;
}

function got(remote: RemoteServer, text: string): boolean {
  return remote.messages.some(({ bytes }) => textOf(bytes).endsWith(text));
}

/** The one bounce in Ann's Maildir. */
async function bounce(server: LocalServer, patience?: number): Promise<string> {
  await until(async () => (await server.inbox()).length > 0, "the bounce", patience);
  await server.emptyQueue();
  const inbox = await server.inbox();
  assert.equal(inbox.length, 1);
  assert.match(inbox[0] ?? "", /^Return-Path: <>\r\n[^]*^Content-Type: multipart\/report/m);
  assert.match(inbox[0] ?? "", /^Action: failed\r$/m);
  return inbox[0] ?? "";
}

Deno.test("MX: the server with the lowest number gets the mail, whatever the order of the records", async () => {
  const remotes = openRemotes({}, {}, {}), [first, second, third] = remotes;
  await using server = await LocalServer.open({
    outbound: direct(first?.port ?? 0),
    zone: `
remote.test.  MX 30 c.remote.test.
remote.test.  MX 5  a.remote.test.
remote.test.  MX 10 b.remote.test.
a.remote.test. A 127.0.0.3
b.remote.test. A 127.0.0.2
c.remote.test. A 127.0.0.4
`,
  });
  const text = await submit(server, "carol@remote.test");
  await server.emptyQueue();
  assert.ok(second && got(second, text));
  assert.equal((first?.seen.length ?? 0) + (third?.seen.length ?? 0), 0);
  await server.stop();
  await closeAll(remotes);
});

Deno.test("MX: when the best server cannot be reached or says 4xx, the next ones are tried in their order", async () => {
  const remotes = openRemotes({ greeting: "421 4.3.2 not today" }, {}, {}), [busy, good, worst] = remotes;
  await using server = await LocalServer.open({
    outbound: direct(busy?.port ?? 0),
    zone: `
remote.test.  MX 1  gone.remote.test.
remote.test.  MX 2  busy.remote.test.
remote.test.  MX 3  good.remote.test.
remote.test.  MX 4  worst.remote.test.
gone.remote.test.  A 127.0.0.99
busy.remote.test.  A 127.0.0.2
good.remote.test.  A 127.0.0.3
worst.remote.test. A 127.0.0.4
`,
  });
  const text = await submit(server, "carol@remote.test");
  await server.emptyQueue();
  assert.ok(good && got(good, text));
  assert.equal(busy?.seen.length, 1);
  assert.equal(worst?.seen.length, 0);
  await server.stop();
  await closeAll(remotes);
});

Deno.test("MX: a domain without MX records is served by its own address", async () => {
  const [remote] = openRemotes({});
  await using server = await LocalServer.open({
    outbound: direct(remote?.port ?? 0),
    zone: "remote.test. A 127.0.0.2\nremote.test. TXT something",
  });
  const text = await submit(server, "carol@remote.test");
  await server.emptyQueue();
  assert.ok(remote && got(remote, text));
  await server.stop();
  await remote.close();
});

Deno.test("MX: a null MX means that nobody connects, and the sender is told at once with 5.1.10", async () => {
  const [remote] = openRemotes({});
  await using server = await LocalServer.open({
    outbound: direct(remote?.port ?? 0),
    zone: "remote.test. MX 0 .\nremote.test. A 127.0.0.2",
  });
  await submit(server, "carol@remote.test");
  assert.match(await bounce(server), /^Status: 5\.1\.10\r$/m);
  assert.equal(remote?.seen.length, 0);
  await server.stop();
  await remote?.close();
});

Deno.test("a domain that does not exist ends in a bounce at once", async () => {
  await using server = await LocalServer.open({ outbound: direct(2) });
  await submit(server, "carol@missing.test");
  const text = await bounce(server, 3_000);
  assert.match(text, /^Status: 5\.1\.2\r$/m);
  assert.match(text, /^Final-Recipient: rfc822; ?carol@missing\.test\r$/m);
});

Deno.test("MX records whose servers have no address end in a bounce at once", async () => {
  await using server = await LocalServer.open({ outbound: direct(2), zone: "remote.test. MX 10 nowhere.remote.test." });
  await submit(server, "carol@remote.test");
  assert.match(await bounce(server, 3_000), /^Status: 5\.4\.4\r$/m);
});

Deno.test("servers that nobody can connect to end in a bounce when the time of the queue is over", async () => {
  const [remote] = openRemotes({});
  await remote?.close();
  await using server = await LocalServer.open({ outbound: direct(remote?.port ?? 0, QUICK) });
  await submit(server, "carol@remote.test");
  assert.match(await bounce(server, 6_000), /^Status: 4\.4\.7\r$/m);
});

Deno.test("a server that always says 4xx ends in a bounce when the time of the queue is over", async () => {
  const [remote] = openRemotes({ on: { RCPT: "451 4.7.1 try later" } });
  await using server = await LocalServer.open({ outbound: direct(remote?.port ?? 0, QUICK) });
  await submit(server, "carol@remote.test");
  const text = await bounce(server, 8_000);
  assert.match(text, /^Status: 4\.4\.7\r$/m);
  assert.match(text, /try later/);
  assert.equal(remote?.seen.flatMap(({ commands }) => commands).filter((line) => line.startsWith("RCPT")).length, 3);
  await server.stop();
  await remote?.close();
});

Deno.test("a refusal with 5xx ends in a bounce at once, with the words of the server", async () => {
  const [remote] = openRemotes({ on: { RCPT: "550 5.1.1 nobody of that name" } });
  await using server = await LocalServer.open({ outbound: direct(remote?.port ?? 0) });
  await submit(server, "carol@remote.test");
  const text = await bounce(server, 3_000);
  assert.match(text, /^Status: 5\.1\.1\r$/m);
  assert.match(text, /nobody of that name/);
  await server.stop();
  await remote?.close();
});

Deno.test("4xx after MAIL, RCPT, DATA or the message itself is tried again, and the message arrives once", async () => {
  const steps = ["MAIL", "RCPT", "DATA", "message"];
  const remotes = openRemotes(...steps.map((step) => ({ on: { [step]: onceLater(step) } })));
  await using server = await LocalServer.open({
    outbound: direct(remotes[0]?.port ?? 0, 'retry = ["1s"]'),
    zone: steps.map((step, index) => `${step}.test. A 127.0.0.${index + 2}`).join("\n"),
  });
  const text = await submit(server, ...steps.map((step) => `carol@${step}.test`));
  await server.emptyQueue();
  for (const [index, step] of steps.entries()) {
    const taken = remotes[index]?.messages.filter(({ bytes }) => textOf(bytes).endsWith(text)) ?? [];
    // What was refused after the final dot has been sent once more, and nothing else.
    assert.equal(taken.length, step === "message" ? 2 : 1, step);
  }
  assert.deepEqual(await server.inbox(), []);
  await server.stop();
  await closeAll(remotes);
});

/** 451 for the first time, then what a server says. */
function onceLater(step: string): (line: string) => string {
  let asked = 0;
  return () => asked++ === 0 ? "451 4.3.0 later" : step === "DATA" ? "354 go on" : "250 2.0.0 fine";
}

Deno.test("a retry goes to those alone who have not got the message yet", async () => {
  const [remote, other] = openRemotes({ on: { RCPT: laterFor("dave@remote.test") } }, {});
  await using server = await LocalServer.open({
    outbound: direct(remote?.port ?? 0, 'retry = ["1s"]'),
    users: [ANN, { address: "bob@ours.test" }],
    zone: "remote.test. A 127.0.0.2\nother.test. A 127.0.0.3",
  });
  const text = await submit(server, "carol@remote.test", "dave@remote.test", "eve@other.test", "bob@ours.test");
  await server.emptyQueue();
  const letters = remote?.messages.filter(({ bytes }) => textOf(bytes).endsWith(text)).map(({ rcpt }) => rcpt) ?? [];
  const named = letters.map((lines) => lines.map((line) => /<(.*?)>/.exec(line)?.[1]));
  assert.deepEqual(named, [["carol@remote.test"], ["dave@remote.test"]]);
  assert.equal(other?.messages.length, 1);
  assert.equal((await server.inbox("bob")).length, 1);
  assert.deepEqual(await server.inbox("ann"), []);
  await server.stop();
  await closeAll([remote, other].filter((one) => one !== undefined));
});

function laterFor(address: string): (line: string) => string {
  let asked = 0;
  return (line) => line.includes(`<${address}>`) && asked++ === 0 ? "450 4.2.1 busy" : "250 2.1.5 fine";
}

Deno.test("what has arrived is not sent again after a restart, while the rest of the message still waits", async () => {
  const [remote] = openRemotes({ on: { RCPT: laterFor("dave@remote.test") } });
  await using server = await LocalServer.open({
    outbound: direct(remote?.port ?? 0, 'retry = ["2s"]'),
    users: [ANN, { address: "bob@ours.test" }],
  });
  const text = await submit(server, "carol@remote.test", "dave@remote.test", "bob@ours.test");
  await until(
    async () => (await server.queue()).flatMap(({ recipients }) => recipients).every((one) => one.attempts > 0),
    "an attempt",
  );
  await server.stop();
  await server.start();
  await server.emptyQueue();
  const named = remote?.messages.filter(({ bytes }) => textOf(bytes).endsWith(text)).flatMap(({ rcpt }) => rcpt) ?? [];
  assert.deepEqual(named.map((line) => /<(.*?)>/.exec(line)?.[1]), ["carol@remote.test", "dave@remote.test"]);
  assert.equal((await server.inbox("bob")).length, 1);
  await server.stop();
  await remote?.close();
});
