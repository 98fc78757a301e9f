import assert from "node:assert/strict";
import type { Outcome, Recipient } from "../../src/queue/entry.ts";
import { laneOf, openDelivery } from "../../src/send/deliver.ts";
import { dnsOf, jobOf, MESSAGE, text } from "../support/delivery_job.ts";
import { RemoteServer } from "../support/remote_server.ts";
import { silent } from "../../src/log.ts";

function mailbox(server: string, name: string, spam?: number): Recipient {
  const address = `${name}@dev.test`;
  return { address, target: { to: "lmtp", server, address, ...spam !== undefined && { spam } } };
}

async function deliver(...jobs: readonly (readonly Recipient[])[]): Promise<Outcome[][]> {
  const delivery = openDelivery(
    { hostname: "mail.dev.test", routes: [], allowPrivate: [], relay: { timeouts: { ...FAST } } },
    {
      dns: dnsOf({ a: { "store.internal": ["127.0.0.1"] } }),
      log: silent,
      ownAddresses: () => [],
      returnPathOf: (sender) => Promise.resolve(sender),
    },
  );
  try {
    const done: Outcome[][] = [];
    for (const recipients of jobs) done.push([...await delivery.deliver(jobOf(recipients))]);
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
  const delivery = openDelivery({ hostname: "mail.dev.test", routes: [], allowPrivate: [] }, {
    dns: dnsOf({}),
    log: silent,
    ownAddresses: () => [],
    returnPathOf: (sender) => Promise.resolve(sender),
  });
  const eight = text.encode("Subject: ü\r\n\r\nü\r\n");
  const outcomes = await delivery.deliver(jobOf([mailbox(at, "ann")], eight, { smtputf8: true }));
  await delivery.close();
  assert.deepEqual(inWords(outcomes), ["delivered 250 2.0.0 in its mailbox"]);
  assert.deepEqual(server.messages.at(-1)?.bytes, eight);
});
