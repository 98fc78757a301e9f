import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Job, Outcome } from "../../src/queue/entry.ts";
import { Relay, type RelaySettings } from "../../src/send/relay.ts";
import type { Server } from "../../src/send/route.ts";
import { TIMEOUTS } from "../../src/send/steps.ts";
import { contentOf, jobOf, MESSAGE, remote, text } from "../support/delivery_job.ts";
import { type Answer, RemoteServer, TEST_CERTIFICATE } from "../support/remote_server.ts";

const FAST = { connect: 2000, command: 300, data: 300, block: 300, final: 300, quit: 300 };

function relayOf(settings: Partial<RelaySettings> = {}): Relay {
  return new Relay({ hostname: "mail.dev.test", timeouts: TIMEOUTS, idle: 5000, messagesEach: 100, ...settings });
}

function at(server: RemoteServer | number, more: Partial<Server> = {}): Server {
  const port = typeof server === "number" ? server : server.port;
  return { name: "mx.remote.test", port, preference: 10, addresses: ["127.0.0.1"], ...more };
}

async function deliver(
  job: Job,
  servers: readonly Server[],
  settings: Partial<RelaySettings> = {},
): Promise<Outcome[]> {
  const relay = relayOf(settings);
  try {
    return await relay.deliver(job, job.recipients, servers);
  } finally {
    await relay.close();
  }
}

const results = (outcomes: readonly Outcome[]) => outcomes.map(({ result }) => result);
const bob = () => jobOf([remote("bob@remote.test")]);

Deno.test("relay sends a message byte for byte, with lines of dots and our name", async () => {
  await using server = new RemoteServer();
  const message = `${MESSAGE}.\r\n..\r\n.x\r\n\r\n.\r\n`;
  const [outcome] = await deliver(jobOf([remote("bob@remote.test")], contentOf(message, 7)), [at(server)]);
  assert.equal(outcome?.result, "delivered");
  assert.deepEqual(outcome.reply, { code: 250, enhanced: "2.0.0", text: "taken", host: "mx.remote.test [127.0.0.1]" });
  assert.equal(Buffer.from(server.messages[0]?.bytes ?? []).toString(), message);
  assert.equal(server.seen[0]?.commands[0], "EHLO mail.dev.test");
  assert.equal(server.messages[0]?.mail, `MAIL FROM:<ann@dev.test> SIZE=${message.length}`);
});

Deno.test("relay sends 20 MiB unchanged", async () => {
  await using server = new RemoteServer();
  const line = `.${"x".repeat(76)}\r\n`;
  const message = text.encode(MESSAGE + line.repeat(Math.ceil(20 * 1024 * 1024 / line.length)));
  assert.deepEqual(results(await deliver(jobOf([remote("bob@remote.test")], message), [at(server)])), ["delivered"]);
  assert.ok(Buffer.from(message).equals(server.messages[0]?.bytes ?? new Uint8Array()));
});

Deno.test("relay ends a message whose last line has no end with CRLF", async () => {
  await using server = new RemoteServer();
  await deliver(jobOf([remote("bob@remote.test")], "Subject: x\r\n\r\nend"), [at(server)]);
  assert.equal(Buffer.from(server.messages[0]?.bytes ?? []).toString(), "Subject: x\r\n\r\nend\r\n");
});

for (
  const [flaw, bytes] of [["bare CR", "a\rb\r\n"], ["bare LF", "a\nb\r\n"], ["NUL", "a\0b\r\n"], [
    "CR at the end",
    "a\r",
  ]]
) {
  Deno.test(`relay never sends a message with ${flaw}`, async () => {
    await using server = new RemoteServer();
    const [outcome] = await deliver(jobOf([remote("bob@remote.test")], `Subject: x\r\n\r\n${bytes}`), [at(server)]);
    assert.equal(outcome?.result, "failed");
    assert.equal(outcome.reply.enhanced, "5.6.1");
    assert.equal(server.seen.length, 0);
  });
}

Deno.test("relay honours what is said about each recipient", async () => {
  for (const offers of [["PIPELINING"], []]) {
    const rcpt = (line: string): Answer =>
      line.includes("<b@")
        ? "550-5.1.1 no such\r\n550 5.1.1 user"
        : line.includes("<c@")
        ? "452 4.5.3 too many"
        : "250 ok";
    await using server = new RemoteServer({ offers, on: { RCPT: rcpt } });
    const job = jobOf(["a", "b", "c", "d"].map((name) => remote(`${name}@remote.test`)));
    const outcomes = await deliver(job, [at(server)]);
    assert.deepEqual(results(outcomes), ["delivered", "failed", "later", "delivered"]);
    assert.deepEqual(outcomes[1]?.reply, {
      code: 550,
      enhanced: "5.1.1",
      text: "no such user",
      host: "mx.remote.test [127.0.0.1]",
    });
    assert.deepEqual(server.messages[0]?.rcpt, ["RCPT TO:<a@remote.test>", "RCPT TO:<d@remote.test>"]);
  }
});

Deno.test("relay takes the refusal of all recipients and uses the connection again after RSET", async () => {
  await using server = new RemoteServer({ on: { RCPT: (line) => line.includes("<b@") ? "550 no" : "250 ok" } });
  const relay = relayOf();
  const refused = jobOf([remote("b@remote.test")]);
  assert.deepEqual(results(await relay.deliver(refused, [0], [at(server)])), ["failed"]);
  assert.deepEqual(results(await relay.deliver(bob(), [0], [at(server)])), ["delivered"]);
  await relay.close();
  assert.equal(server.seen.length, 1);
  assert.ok(server.seen[0]?.commands.includes("RSET"));
  assert.equal(server.seen[0]?.commands.at(-1), "QUIT");
});

// What a code means at each step. 2yz that do not fit are no success, and no verdict either: the mail waits.
const ODD = ["220", "221", "354", "421", "454", "500", "502", "554"];
const EXPECTED: Readonly<Record<string, (code: string) => Outcome["result"]>> = {
  greeting: (code) => code === "220" ? "delivered" : code[0] === "5" ? "failed" : "later",
  // Any 2yz will do; a refusal of EHLO leads to HELO.
  EHLO: (code) => code === "421" ? "later" : "delivered",
  MAIL: (code) => code[0] === "5" ? "failed" : "later",
  RCPT: (code) => code[0] === "5" ? "failed" : "later",
  DATA: (code) => code === "354" ? "delivered" : code[0] === "5" ? "failed" : "later",
  message: (code) => code[0] === "5" ? "failed" : "later",
};
for (const [step, expected] of Object.entries(EXPECTED)) {
  Deno.test(`relay knows what each odd code means at ${step}`, async () => {
    for (const offers of [["PIPELINING"], ["8BITMIME"]]) {
      for (const code of ODD) {
        const answer = `${code} odd`;
        await using server = new RemoteServer({
          offers,
          ...step === "greeting" ? { greeting: answer } : { on: { [step]: answer } },
        });
        const outcomes = await deliver(bob(), [at(server)], { timeouts: FAST });
        assert.deepEqual(
          results(outcomes),
          [expected(code)],
          `${code} at ${step}, ${offers}: ${JSON.stringify(outcomes)}`,
        );
        const [outcome] = outcomes;
        if (outcome?.result === "later") assert.ok(outcome.reply.code >= 400 && outcome.reply.code < 500);
        assert.match(outcome?.reply.host ?? "", /^mx\.remote\.test \[127\.0\.0\.1\]$/);
      }
    }
  });
}

for (const step of ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "message"]) {
  for (const fate of ["hang", "drop"] as const) {
    Deno.test(`relay waits for later when the server does ${fate} at ${step}`, async () => {
      await using server = new RemoteServer(step === "greeting" ? { greeting: fate } : { on: { [step]: fate } });
      const [outcome] = await deliver(bob(), [at(server)], { timeouts: FAST });
      assert.equal(outcome?.result, "later");
      assert.equal(outcome.reply.enhanced, "4.4.2");
      assert.equal(outcome.unreachable ?? false, step === "greeting");
      if (fate === "hang") assert.match(outcome.reply.text, /no progress within 300 ms/);
    });
  }
}

Deno.test("relay waits for later when the connection breaks in the middle of the message", async () => {
  await using server = new RemoteServer({ midMessage: { after: 100_000, answer: "drop" } });
  const message = MESSAGE + "x\r\n".repeat(1_000_000);
  assert.deepEqual(results(await deliver(jobOf([remote("bob@remote.test")], message), [at(server)])), ["later"]);
});

Deno.test("relay believes no success before the end of the message", async () => {
  for (
    const [answer, result] of [["250 thanks", "later"], ["552 5.3.4 too big", "failed"], ["451 busy", "later"]] as const
  ) {
    await using server = new RemoteServer({ midMessage: { after: 100_000, answer } });
    const message = MESSAGE + "x\r\n".repeat(8_000_000);
    const outcomes = await deliver(jobOf([remote("bob@remote.test")], message), [at(server)]);
    assert.deepEqual(results(outcomes), [result]);
    assert.equal(server.messages.length, 0);
  }
});

Deno.test("relay gives up on a server that stops reading the message", async () => {
  await using server = new RemoteServer({ midMessage: { after: 10_000, answer: "hang" } });
  // The system takes a few MiB off our hands before it says stop.
  const message = MESSAGE + "x".repeat(70).concat("\r\n").repeat(100_000);
  const job = jobOf([remote("bob@remote.test")], message);
  const outcomes = await deliver(job, [at(server)], { timeouts: FAST });
  assert.deepEqual(results(outcomes), ["later"]);
});

Deno.test("relay ends a server that talks without end", async () => {
  const floods: Answer[] = [
    { bytes: "250-" + "x".repeat(70_000) + "\r\n" },
    { bytes: "250-x\r\n".repeat(20_000) },
    { bytes: "\r\n".repeat(400_000) },
    { bytes: "250 ok\r\n".repeat(1000) },
    { bytes: "x".repeat(100_000) },
  ];
  for (const flood of floods) {
    await using server = new RemoteServer({ on: { MAIL: flood } });
    const outcomes = await deliver(bob(), [at(server)], { timeouts: FAST });
    assert.deepEqual(results(outcomes), ["later"], JSON.stringify(flood).slice(0, 20));
  }
});

Deno.test("relay keeps a forged reply on one clean line", async () => {
  const cases = [
    { bytes: "550-x\r\n550-action: delivered\r\n550 \n" },
    { bytes: "550 a\0b\x1b[2J\r\n" },
    { bytes: `550 ${"x".repeat(5000)}\r\n` },
  ];
  for (const answer of cases) {
    await using server = new RemoteServer({ on: { RCPT: answer } });
    const [outcome] = await deliver(bob(), [at(server)], { timeouts: FAST });
    assert.equal(outcome?.result, "failed");
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(outcome.reply.text, /[\x00-\x1f\x7f]/);
    assert.ok(outcome.reply.text.length <= 500);
  }
  await using server = new RemoteServer({ on: { RCPT: { bytes: "250-fine\r\n550 no\r\n" } } });
  assert.deepEqual(results(await deliver(bob(), [at(server)], { timeouts: FAST })), ["later"]);
});

Deno.test("relay carries ten messages over one connection and says goodbye", async () => {
  await using server = new RemoteServer();
  const relay = relayOf();
  for (let count = 0; count < 10; count++) {
    assert.deepEqual(results(await relay.deliver(bob(), [0], [at(server)])), ["delivered"]);
  }
  assert.equal(server.seen.length, 1);
  await relay.close();
  assert.equal(server.messages.length, 10);
  assert.equal(server.seen[0]?.commands.at(-1), "QUIT");
});

Deno.test("relay gives a connection up after its share of messages, and when it was idle", async () => {
  await using server = new RemoteServer();
  const relay = relayOf({ messagesEach: 3, idle: 30 });
  for (let count = 0; count < 6; count++) await relay.deliver(bob(), [0], [at(server)]);
  assert.equal(server.seen.length, 2);
  await relay.deliver(bob(), [0], [at(server)]);
  await new Promise((done) => setTimeout(done, 100));
  assert.equal(server.seen[2]?.commands.at(-1), "QUIT");
  await relay.close();
});

Deno.test("relay connects anew when an idle connection has died", async () => {
  // The second message on each connection finds it dead: closed at MAIL, or with 421.
  for (const answer of ["drop", "421 4.4.2 idle too long"] as const) {
    await using server = new RemoteServer({ on: { MAIL: (_, count) => count === 0 ? "250 ok" : answer } });
    const relay = relayOf();
    for (let count = 0; count < 3; count++) {
      assert.deepEqual(results(await relay.deliver(bob(), [0], [at(server)])), ["delivered"]);
    }
    assert.equal(server.seen.length, 3);
    await relay.close();
  }
});

Deno.test("relay sends at most 100 recipients at a time", async () => {
  await using server = new RemoteServer();
  const job = jobOf(Array.from({ length: 250 }, (_, index) => remote(`u${index}@remote.test`)));
  const outcomes = await deliver(job, [at(server)]);
  assert.equal(outcomes.filter(({ result }) => result === "delivered").length, 250);
  assert.deepEqual(server.messages.map(({ rcpt }) => rcpt.length), [100, 100, 50]);
  assert.equal(server.seen.length, 1);
});

Deno.test("relay goes to the next server when one cannot be reached or refuses to talk", async () => {
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = closed.addr;
  closed.close();
  for (const greeting of ["421 busy", "554 no", "drop"] as const) {
    await using busy = new RemoteServer({ greeting });
    await using good = new RemoteServer();
    const outcomes = await deliver(bob(), [at(port), at(busy), at(good)]);
    assert.deepEqual(results(outcomes), ["delivered"]);
  }
  const [outcome] = await deliver(bob(), [at(port)]);
  assert.equal(outcome?.result, "later");
  assert.equal(outcome.unreachable, true);
  assert.equal(outcome.reply.enhanced, "4.4.1");
});

Deno.test("relay fails only when all servers refuse for good", async () => {
  await using never = new RemoteServer({ greeting: "554 5.3.2 no mail here" });
  await using busy = new RemoteServer({ greeting: "421 4.3.2 come back" });
  assert.deepEqual(results(await deliver(bob(), [at(never), at(never)])), ["failed"]);
  const [outcome] = await deliver(bob(), [at(never), at(busy)]);
  assert.equal(outcome?.result, "later");
  assert.equal(outcome.reply.text, "come back");
});

Deno.test("relay does not ask another server once one has refused the message", async () => {
  await using refusing = new RemoteServer({ on: { RCPT: "450 greylisted" } });
  await using other = new RemoteServer();
  assert.deepEqual(results(await deliver(bob(), [at(refusing), at(other)])), ["later"]);
  assert.equal(other.seen.length, 0);
});

Deno.test("relay uses STARTTLS when it is offered and forgets what was offered before", async () => {
  await using server = new RemoteServer({ tls: TEST_CERTIFICATE });
  const relay = relayOf();
  for (let count = 0; count < 3; count++) {
    const [outcome] = await relay.deliver(bob(), [0], [at(server)]);
    assert.equal(outcome?.result, "delivered", outcome?.reply.text);
  }
  await relay.close();
  assert.equal(server.seen.length, 1);
  assert.equal(server.seen[0]?.secure, true);
  assert.deepEqual(server.seen[0].commands.slice(0, 3), ["EHLO mail.dev.test", "STARTTLS", "EHLO mail.dev.test"]);
  assert.equal(Buffer.from(server.messages[2]?.bytes ?? []).toString(), MESSAGE);
});

Deno.test("relay throws away what is sent in clear behind the answer to STARTTLS", async () => {
  const injected = { bytes: "220 go\r\n250-mx.remote.test\r\n250-SIZE 10\r\n250 X-EVIL\r\n" };
  await using server = new RemoteServer({ tls: TEST_CERTIFICATE, on: { STARTTLS: injected } });
  const [outcome] = await deliver(bob(), [at(server)]);
  // Had it believed the limit of 10 bytes, the message would have failed.
  assert.equal(outcome?.result, "delivered", outcome?.reply.text);
  assert.equal(server.seen[0]?.secure, true);
});

Deno.test("relay goes on in clear when TLS is refused, and tries once more when the handshake fails", async () => {
  await using refusing = new RemoteServer({ tls: TEST_CERTIFICATE, on: { STARTTLS: "454 4.7.0 not now" } });
  assert.deepEqual(results(await deliver(bob(), [at(refusing)])), ["delivered"]);
  assert.equal(refusing.seen.length, 1);

  await using broken = new RemoteServer({ tls: "broken" });
  const [outcome] = await deliver(bob(), [at(broken)], { timeouts: { ...FAST, command: 2000 } });
  assert.equal(outcome?.result, "delivered", outcome?.reply.text);
  assert.match(outcome.reply.text, /in clear, since TLS failed/);
  assert.equal(broken.seen.length, 2);
});

Deno.test("relay survives every odd answer to STARTTLS", async () => {
  for (const answer of [...ODD.map((code) => `${code} odd`), "hang", "drop"] as const) {
    await using server = new RemoteServer({ tls: TEST_CERTIFICATE, on: { STARTTLS: answer } });
    const outcomes = await deliver(bob(), [at(server)], { timeouts: FAST });
    // Only 220 begins the handshake; what refuses leaves the connection in clear.
    const silent = ["hang", "drop", "421 odd"].includes(answer);
    assert.deepEqual(results(outcomes), [silent ? "later" : "delivered"], `${answer} ${JSON.stringify(outcomes)}`);
  }
});

Deno.test("relay signs in, and calls a refused password no fault of the mail", async () => {
  await using server = new RemoteServer({ offers: ["AUTH PLAIN"], on: { AUTH: "235 2.7.0 welcome" } });
  const credentials = { user: "ann", password: "secret" };
  assert.deepEqual(results(await deliver(bob(), [at(server, { credentials })])), ["delivered"]);
  assert.ok(server.seen[0]?.commands.includes(`AUTH PLAIN ${btoa("\0ann\0secret")}`));

  await using strict = new RemoteServer({ offers: ["AUTH PLAIN"], on: { AUTH: "535 5.7.8 wrong" } });
  const [outcome] = await deliver(bob(), [at(strict, { credentials })]);
  assert.equal(outcome?.result, "later");
  assert.equal(outcome.reply.enhanced, "4.7.0");
});

Deno.test("relay sends 8-bit content and UTF-8 only where it is taken", async () => {
  const eight = "Subject: x\r\n\r\ncaf\u00e9\r\n", header = "Subject: caf\u00e9\r\n\r\nx\r\n";
  const utf8 = { smtputf8: true };
  await using old = new RemoteServer({ offers: [] });
  await using able = new RemoteServer({ offers: ["8BITMIME", "SMTPUTF8"] });
  const to = [remote("bob@remote.test")];

  assert.equal((await deliver(jobOf(to, eight), [at(old)]))[0]?.reply.enhanced, "5.6.3");
  await using only8 = new RemoteServer({ offers: ["8BITMIME"] });
  assert.equal((await deliver(jobOf(to, header, utf8), [at(only8)]))[0]?.reply.enhanced, "5.6.7");
  assert.equal((await deliver(jobOf([remote("b\u00f6b@remote.test")]), [at(only8)]))[0]?.reply.enhanced, "5.6.7");
  assert.deepEqual(results(await deliver(jobOf(to, MESSAGE, utf8), [at(old)])), ["delivered"]);

  await deliver(jobOf(to, eight), [at(able)]);
  await deliver(jobOf(to, header, utf8), [at(able)]);
  await deliver(jobOf([remote("b\u00f6b@remote.test")], MESSAGE, utf8), [at(able)]);
  assert.deepEqual(able.messages.map(({ mail }) => mail), [
    "MAIL FROM:<ann@dev.test> BODY=8BITMIME",
    "MAIL FROM:<ann@dev.test> BODY=8BITMIME SMTPUTF8",
    "MAIL FROM:<ann@dev.test> SMTPUTF8",
  ]);
});

Deno.test("relay passes DSN parameters on where they are understood", async () => {
  const job = () =>
    jobOf(
      [
        remote("bob@remote.test", { notify: ["SUCCESS", "DELAY"], orcpt: "rfc822;bob+2Bx@remote.test" }),
        remote("eve@remote.test", { notify: ["NEVER"] }),
      ],
      MESSAGE,
      { ret: "HDRS", envid: "a+2Bb" },
    );
  await using server = new RemoteServer({ offers: ["DSN"] });
  await deliver(job(), [at(server)]);
  assert.equal(server.messages[0]?.mail, "MAIL FROM:<ann@dev.test> RET=HDRS ENVID=a+2Bb");
  assert.deepEqual(server.messages[0]?.rcpt, [
    "RCPT TO:<bob@remote.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob+2Bx@remote.test",
    "RCPT TO:<eve@remote.test> NOTIFY=NEVER",
  ]);
  await using old = new RemoteServer({ offers: [] });
  await deliver(job(), [at(old)]);
  assert.deepEqual(old.messages[0]?.rcpt, ["RCPT TO:<bob@remote.test>", "RCPT TO:<eve@remote.test>"]);
});

Deno.test("relay does not send what a server says is too big", async () => {
  await using server = new RemoteServer({ offers: ["SIZE 20"] });
  const [outcome] = await deliver(bob(), [at(server)]);
  assert.equal(outcome?.result, "failed");
  assert.equal(outcome.reply.enhanced, "5.3.4");
});

Deno.test("relay lets no address break out of its command", async () => {
  await using server = new RemoteServer();
  const job = jobOf([remote('"a> SIZE=1"@remote.test'), remote('"a\r\nRSET"@remote.test'), remote("bob@remote.test")]);
  assert.deepEqual(results(await deliver(job, [at(server)])).sort(), ["delivered", "failed", "failed"]);
  assert.deepEqual(server.messages[0]?.rcpt, ["RCPT TO:<bob@remote.test>"]);
});

Deno.test("relay drops the connection when the content cannot be read to its end", async () => {
  await using server = new RemoteServer();
  const whole = contentOf(MESSAGE + "x\r\n".repeat(100_000), 64 * 1024);
  let reads = 0;
  const content = {
    size: whole.size,
    async *pieces() {
      const broken = ++reads > 1;
      for await (const piece of whole.pieces()) {
        yield piece;
        if (broken) throw new Error("checksum");
      }
    },
  };
  const [outcome] = await deliver(jobOf([remote("bob@remote.test")], content), [at(server)]);
  assert.equal(outcome?.result, "later");
  assert.match(outcome.reply.text, /checksum/);
  assert.equal(server.messages.length, 0);
});

Deno.test("relay leaves nothing behind when connections are cut at any moment", async () => {
  const steps = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "message", "QUIT"];
  for (let round = 0; round < 40; round++) {
    for (const step of steps) {
      const script = step === "greeting" ? { greeting: "drop" as const } : { on: { [step]: "drop" as const } };
      await using server = new RemoteServer(round % 2 === 0 ? script : { ...script, tls: TEST_CERTIFICATE });
      const expected = step === "QUIT" ? "delivered" : "later";
      assert.deepEqual(results(await deliver(bob(), [at(server)], { timeouts: FAST })), [expected]);
    }
  }
});

function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

/** Needs two families; a machine without IPv6 says that it was skipped. */
function withBothFamilies(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: hasIpv6() ? name : `${name} (skipped: this machine has no IPv6)`, ignore: !hasIpv6(), fn });
}

for (
  const [when, script] of [
    ["greeting", { greeting: "554 5.7.25 no PTR record for your address" }],
    ["MAIL", { on: { MAIL: "550 5.7.25 reverse DNS validation failed" } }],
    ["RCPT", { on: { RCPT: "450 4.7.1 cannot find your reverse hostname, [::1]" } }],
    ["message", {
      on: { message: "550-5.7.1 this message does not meet the IPv6 guidelines\r\n550 5.7.1 regarding PTR" },
    }],
  ] as const
) {
  withBothFamilies(
    `relay takes the other family when the first has no name at ${when}, and avoids it for an hour`,
    async () => {
      await using six = new RemoteServer(script, { hostname: "::1" });
      await using four = new RemoteServer({}, { hostname: "127.0.0.1", port: six.port });
      const relay = relayOf({ idle: 0 }), both = at(four, { addresses: ["::1", "127.0.0.1"] });
      try {
        assert.deepEqual(results(await relay.deliver(bob(), [0], [both])), ["delivered"]);
        assert.deepEqual([six.seen.length, four.messages.length], [1, 1]);
        // From now on the other one first, also to others.
        const another = { ...both, name: "mx2.remote.test" };
        assert.deepEqual(results(await relay.deliver(bob(), [0], [another])), ["delivered"]);
        assert.deepEqual([six.seen.length, four.messages.length], [1, 2]);
        // Who can be reached by it alone is still called, and his word counts.
        const alone = at(six, { addresses: ["::1"], name: "mx6.remote.test" });
        const [outcome] = await relay.deliver(bob(), [0], [alone]);
        assert.notEqual(outcome?.result, "delivered");
        assert.match(outcome?.reply.text ?? "", /PTR|reverse/i);
      } finally {
        await relay.close();
      }
    },
  );
}

withBothFamilies("relay offers nothing more over a connection from an address without a name", async () => {
  await using six = new RemoteServer({ on: { RCPT: "550 5.7.25 no PTR" } }, { hostname: "::1" });
  await using four = new RemoteServer({}, { hostname: "127.0.0.1", port: six.port });
  const relay = relayOf({ idle: 60_000 }), both = at(four, { addresses: ["::1", "127.0.0.1"] });
  try {
    assert.deepEqual(results(await relay.deliver(bob(), [0], [both])), ["delivered"]);
    // More at once than there are connections that wait.
    await Promise.all([1, 2, 3].map(() => relay.deliver(bob(), [0], [both])));
    assert.deepEqual([six.seen.length, four.messages.length], [1, 4]);
    assert.equal(six.seen[0]?.commands.filter((line) => line.startsWith("MAIL")).length, 1);
  } finally {
    await relay.close();
  }
});

withBothFamilies("relay does not take a refusal of the recipient for one of our address", async () => {
  await using six = new RemoteServer({ on: { RCPT: "550 5.1.1 no such user" } }, { hostname: "::1" });
  await using four = new RemoteServer({}, { hostname: "127.0.0.1", port: six.port });
  const [outcome] = await deliver(bob(), [at(four, { addresses: ["::1", "127.0.0.1"] })]);
  assert.deepEqual([outcome?.result, outcome?.reply.enhanced, four.seen.length], ["failed", "5.1.1", 0]);
});
