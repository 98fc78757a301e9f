import assert from "node:assert/strict";
import type { Job, Outcome, Recipient } from "../../src/queue/entry.ts";
import { type DeliverySettings, laneOf, openDelivery } from "../../src/send/deliver.ts";
import { contentOf, dnsOf, jobOf, MESSAGE, remote, text } from "../support/delivery_job.ts";
import { RemoteServer, TEST_CERTIFICATE } from "../support/remote_server.ts";
import { silent } from "../../src/log.ts";

function mailbox(server: string, name: string, spam?: number): Recipient {
  const address = `${name}@dev.test`;
  return { address, target: { to: "lmtp", server, address, ...spam !== undefined && { spam } } };
}

/** One after the other, over connections that are kept. */
async function deliver(...jobs: readonly (readonly Recipient[] | Job)[]): Promise<Outcome[][]> {
  return await deliverWith({}, ...jobs);
}

async function deliverWith(
  settings: Partial<DeliverySettings>,
  ...jobs: readonly (readonly Recipient[] | Job)[]
): Promise<Outcome[][]> {
  const delivery = openDelivery(
    { hostname: "mail.dev.test", routes: [], allowPrivate: [], relay: { timeouts: { ...FAST } }, ...settings },
    {
      dns: dnsOf({ a: { "store.internal": ["127.0.0.1"] } }),
      log: silent,
      ownAddresses: () => [],
      returnPathOf: (sender) => Promise.resolve(sender),
    },
  );
  try {
    const done: Outcome[][] = [];
    for (const job of jobs) done.push([...await delivery.deliver("envelope" in job ? job : jobOf(job))]);
    return done;
  } finally {
    await delivery.close();
  }
}

const FAST = { connect: 2000, command: 2000, data: 2000, block: 2000, final: 2000, quit: 500 };

function inWords(outcomes: readonly Outcome[] | undefined): string[] {
  return (outcomes ?? []).toSorted((a, b) => a.recipient - b.recipient)
    .map(({ result, reply, success }) => `${result} ${reply.code} ${reply.enhanced} ${success ?? "in its mailbox"}`);
}

Deno.test("LMTP: each recipient has an answer of its own", async () => {
  await using server = new RemoteServer({
    lmtp: true,
    on: {
      RCPT: (line) => line.includes("nobody") ? "550 5.1.1 unknown" : "250 2.1.5 fine",
      message: (line) =>
        line.includes("full") ? "552 5.2.2 full" : line.includes("busy") ? "452 4.2.1 busy" : "250 2.0.0 saved",
    },
  });
  const at = `127.0.0.1:${server.port}`;
  const [outcomes] = await deliver(["ann", "full", "nobody", "busy", "bob"].map((name) => mailbox(at, name)));
  assert.deepEqual(inWords(outcomes), [
    "delivered 250 2.0.0 in its mailbox",
    "failed 552 5.2.2 in its mailbox",
    "failed 550 5.1.1 in its mailbox",
    "later 452 4.2.1 in its mailbox",
    "delivered 250 2.0.0 in its mailbox",
  ]);
  assert.deepEqual(server.seen[0]?.commands[0], "LHLO mail.dev.test");
  assert.equal(new TextDecoder().decode(server.messages[0]?.bytes), MESSAGE);
  assert.equal(server.messages.length, 1);
});

Deno.test("LMTP: when all are refused nothing is sent, and the connection goes on", async () => {
  await using server = new RemoteServer({
    lmtp: true,
    on: { RCPT: (line) => line.includes("no") ? "550 5.1.1 unknown" : "250 fine" },
  });
  const at = `127.0.0.1:${server.port}`;
  const [first, second] = await deliver([mailbox(at, "no1"), mailbox(at, "no2")], [mailbox(at, "ann")]);
  assert.deepEqual(inWords(first), ["failed 550 5.1.1 in its mailbox", "failed 550 5.1.1 in its mailbox"]);
  assert.deepEqual(inWords(second), ["delivered 250 2.0.0 in its mailbox"]);
  assert.equal(server.messages.length, 1);
  assert.equal(server.seen.length, 1);
});

Deno.test("LMTP: whoever had his answer before the connection ended keeps it, the others wait", async () => {
  await using server = new RemoteServer({
    lmtp: true,
    on: { message: (_line, count) => count === 0 ? "250 2.0.0 saved" : "drop" },
  });
  const at = `127.0.0.1:${server.port}`;
  const [outcomes] = await deliver([mailbox(at, "ann"), mailbox(at, "bob")]);
  assert.deepEqual(inWords(outcomes), ["delivered 250 2.0.0 in its mailbox", "later 451 4.4.2 in its mailbox"]);
});

Deno.test("LMTP over a socket of this machine, and to a name", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/lmtp`;
    await using server = new RemoteServer({ lmtp: true }, { path });
    await using named = new RemoteServer({ lmtp: true });
    const [one, two] = await deliver([mailbox(`unix:${path}`, "ann")], [
      mailbox(`store.internal:${named.port}`, "ann"),
    ]);
    assert.deepEqual([...inWords(one), ...inWords(two)], Array(2).fill("delivered 250 2.0.0 in its mailbox"));
    assert.equal(one?.[0]?.reply.host, `unix:${path}`);
    assert.deepEqual([server.messages.length, named.messages.length], [1, 1]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("LMTP: a server that is not there is out of reach, for a while", async () => {
  const gone = new RemoteServer();
  await gone.close();
  for (const server of [`127.0.0.1:${gone.port}`, "unix:/nowhere/lmtp", "nowhere.internal:24"]) {
    const [[outcome] = []] = await deliver([mailbox(server, "ann")]);
    assert.deepEqual([outcome?.result, outcome?.unreachable], ["later", true], server);
    assert.equal(laneOf(mailbox(server, "ann").target), `lmtp:${server}`);
  }
});

Deno.test("LMTP: what is spam for one is marked for that one alone; eight bits are stored as they are", async () => {
  await using server = new RemoteServer({ lmtp: true, offers: ["PIPELINING"] });
  const at = `127.0.0.1:${server.port}`;
  const delivered = await deliver([mailbox(at, "ann"), mailbox(at, "bob", 12.5)]);
  assert.deepEqual(inWords(delivered[0]), Array(2).fill("delivered 250 2.0.0 in its mailbox"));
  const texts = server.messages.map(({ rcpt, bytes }) => [...rcpt, new TextDecoder().decode(bytes)]);
  assert.deepEqual(texts, [
    ["RCPT TO:<ann@dev.test>", MESSAGE],
    ["RCPT TO:<bob@dev.test>", `X-Spam: yes, score=12.5\r\n${MESSAGE}`],
  ]);
  const eight = text.encode("Subject: ü\r\n\r\nü\r\n");
  const [outcomes] = await deliver(jobOf([mailbox(at, "jürgen")], eight, { smtputf8: true }));
  assert.deepEqual(inWords(outcomes), ["delivered 250 2.0.0 in its mailbox"]);
  assert.deepEqual(server.messages.at(-1)?.rcpt, ["RCPT TO:<jürgen@dev.test>"]);
  assert.deepEqual(server.messages.at(-1)?.bytes, eight);
});

Deno.test("LMTP: every answer that came counts, although the connection ended with the last", async () => {
  const names = Array.from({ length: 100 }, (_, index) => `ann${index}`);
  await using server = new RemoteServer({
    lmtp: true,
    on: {
      // All in one segment, and then nothing but the end.
      message: (_line, count) =>
        count === 0
          ? { bytes: "250-2.0.0 saved\r\n250 2.0.0 really\r\n".repeat(names.length - 1) + "552 5.2.2 full\r\n" }
          : count === names.length - 1
          ? "drop"
          : { bytes: "" },
    },
  });
  const at = `127.0.0.1:${server.port}`;
  const [outcomes] = await deliver(names.map((name) => mailbox(at, name)));
  assert.deepEqual(inWords(outcomes), [
    ...Array(names.length - 1).fill("delivered 250 2.0.0 in its mailbox"),
    "failed 552 5.2.2 in its mailbox",
  ]);
});

Deno.test("LMTP: when nobody had an answer all wait, and the next message has a connection of its own", async () => {
  await using server = new RemoteServer({
    lmtp: true,
    on: { message: (line) => line.includes("bob") ? "250 2.0.0 saved" : "drop" },
  });
  const at = `127.0.0.1:${server.port}`;
  const [first, second] = await deliver([mailbox(at, "ann"), mailbox(at, "eve")], [mailbox(at, "bob")]);
  assert.deepEqual(inWords(first), Array(2).fill("later 451 4.4.2 in its mailbox"));
  assert.deepEqual(inWords(second), ["delivered 250 2.0.0 in its mailbox"]);
  assert.equal(first?.some(({ unreachable }) => unreachable), false);
  assert.equal(server.seen.length, 2);
});

Deno.test("LMTP: one answer is not an answer for all; who had none waits", async () => {
  await using server = new RemoteServer({
    lmtp: true,
    on: { message: (_line, count) => count === 0 ? "250 2.0.0 saved" : "hang" },
  });
  const at = `127.0.0.1:${server.port}`;
  const [outcomes] = await deliverWith(
    { relay: { timeouts: { ...FAST, final: 1000 } } },
    [mailbox(at, "ann"), mailbox(at, "bob"), mailbox(at, "eve")],
  );
  assert.deepEqual(inWords(outcomes), [
    "delivered 250 2.0.0 in its mailbox",
    ...Array(2).fill("later 451 4.4.2 in its mailbox"),
  ]);
});

Deno.test("LMTP: an answer too many is nobody's, in particular not of the next message", async () => {
  for (const offers of [["PIPELINING"], []]) {
    await using server = new RemoteServer({
      lmtp: true,
      offers,
      on: {
        RCPT: (line) => line.includes("nobody") ? "550 5.1.1 unknown" : "250 2.1.5 fine",
        message: (line) => ({ bytes: "250 2.0.0 saved\r\n".repeat(line.includes("ann") ? 2 : 1) }),
      },
    });
    const at = `127.0.0.1:${server.port}`;
    const [first, second] = await deliver([mailbox(at, "ann")], [mailbox(at, "nobody"), mailbox(at, "bob")]);
    assert.deepEqual(inWords(first), ["delivered 250 2.0.0 in its mailbox"]);
    assert.deepEqual(inWords(second), ["failed 550 5.1.1 in its mailbox", "delivered 250 2.0.0 in its mailbox"]);
    assert.equal(server.seen.length, 2);
  }
});

Deno.test("LMTP: a server that speaks none, or takes no mail at all, makes mail wait and never bounce", async () => {
  for (
    const [script, said] of [
      [{ on: { LHLO: "500 5.5.1 unknown command" } }, "answered 500 to LHLO: unknown command"],
      [{ greeting: "554 5.3.2 no mail here" }, "answered 554 to greeting: no mail here"],
      [{ greeting: "421 4.3.2 starting" }, "starting"],
    ] as const
  ) {
    await using server = new RemoteServer({ lmtp: true, ...script });
    const [[outcome] = []] = await deliver([mailbox(`127.0.0.1:${server.port}`, "ann")]);
    assert.deepEqual([outcome?.result, outcome?.reply.text], ["later", said]);
    assert.deepEqual(server.messages, []);
  }
});

Deno.test("LMTP: the copy that cannot be made does not make the other go out again", async () => {
  await using server = new RemoteServer({ lmtp: true });
  const at = `127.0.0.1:${server.port}`, whole = contentOf(MESSAGE);
  // Read twice for the first copy, to look at it and to send it; then the machine has no file left to open.
  let readings = 0;
  const content = {
    size: whole.size,
    pieces: () => {
      if (++readings > 2) throw new Error("too many open files");
      return whole.pieces();
    },
  };
  const [outcomes] = await deliver(jobOf([mailbox(at, "ann"), mailbox(at, "bob", 9)], content));
  assert.deepEqual(inWords(outcomes), ["delivered 250 2.0.0 in its mailbox", "later 451 4.3.0 in its mailbox"]);
  assert.equal(server.messages.length, 1);
});

Deno.test("LMTP: a connection is used again, and never for SMTP", async () => {
  await using server = new RemoteServer({ lmtp: true });
  const at = `127.0.0.1:${server.port}`, { port } = server;
  const via = { routes: [{ domain: "remote.test", via: { host: "127.0.0.1", port } }] };
  await deliverWith(via, [mailbox(at, "ann")], [remote("carol@remote.test")], [mailbox(at, "bob")]);
  const dialogs = server.seen.map(({ commands }) => commands.filter((line) => /^(EHLO|LHLO|RCPT)/.test(line)));
  assert.deepEqual(dialogs, [
    ["LHLO mail.dev.test", "RCPT TO:<ann@dev.test>", "RCPT TO:<bob@dev.test>"],
    ["EHLO mail.dev.test", "RCPT TO:<carol@remote.test>"],
  ]);
});

Deno.test("LMTP: TLS is used where it is offered, and on a socket of this machine left alone", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const script = { lmtp: true, tls: TEST_CERTIFICATE } as const, path = `${folder}/lmtp`;
    await using onPort = new RemoteServer(script);
    await using onSocket = new RemoteServer(script, { path });
    const done = await deliver([mailbox(`127.0.0.1:${onPort.port}`, "ann")], [mailbox(`unix:${path}`, "ann")]);
    assert.deepEqual(done.flatMap(inWords), Array(2).fill("delivered 250 2.0.0 in its mailbox"));
    assert.deepEqual([onPort, onSocket].map(({ seen }) => seen.map(({ secure }) => secure)), [[true], [false]]);
    // RFC 3207 §4.2: what was offered in clear is forgotten.
    assert.deepEqual(onPort.seen[0]?.commands.slice(0, 3), ["LHLO mail.dev.test", "STARTTLS", "LHLO mail.dev.test"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("LMTP: what the sender wants to hear is asked of who offers to tell it, and otherwise left to us", async () => {
  const asks = { notify: ["SUCCESS"], orcpt: "rfc822;a@dev.test" } as const;
  for (
    const [offers, rcpt, success] of [
      [["DSN"], "RCPT TO:<ann@dev.test> NOTIFY=SUCCESS ORCPT=rfc822;a@dev.test", "passed on"],
      [[], "RCPT TO:<ann@dev.test>", undefined],
    ] as const
  ) {
    await using server = new RemoteServer({ lmtp: true, offers });
    const [[outcome] = []] = await deliver([{ ...mailbox(`127.0.0.1:${server.port}`, "ann"), ...asks }]);
    assert.deepEqual([outcome?.result, outcome?.success], ["delivered", success]);
    assert.deepEqual(server.messages[0]?.rcpt, [rcpt]);
  }
});
