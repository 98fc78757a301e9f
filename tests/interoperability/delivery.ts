/** What our users submit goes to other people's servers, found by MX, and what cannot go there comes back. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { bytesOf, seeded } from "../support/every_cut.ts";
import { below, DOTS, letter, newTag, sameBytes } from "./message_text.ts";
import { ANN, PASSWORD, PostOffice } from "./post_office.ts";
import { interop, run } from "./programs.ts";
import { Remote, type Taken } from "./remote.ts";

/** Each domain below has its servers on addresses of its own; nobody listens on DEAD. */
const DEAD = "127.0.0.11", SINK = "127.0.0.12", SPARE = "127.0.0.13", LATE = "127.0.0.14", SECURE = "127.0.0.15";

const ZONE = `
order.test.          MX   20 spare.order.test.
order.test.          MX   10 best.order.test.
best.order.test.     A    ${SINK}
spare.order.test.    A    ${SPARE}
deadfirst.test.      MX   10 dead.deadfirst.test.
deadfirst.test.      MX   20 alive.deadfirst.test.
dead.deadfirst.test. A    ${DEAD}
alive.deadfirst.test. A   ${SINK}
implicit.test.       A    ${SINK}
nomail.test.         MX   0 .
nohost.test.         TXT  "neither mail nor an address"
late.test.           MX   10 mx.late.test.
mx.late.test.        A    ${LATE}
secure.test.         MX   10 mx.secure.test.
mx.secure.test.      A    ${SECURE}
`;

let port = 0;

/** The server that delivers. It tries again only when it is told to. */
export async function openDelivering(): Promise<PostOffice> {
  const listener = Deno.listen({ hostname: SINK, port: 0 });
  port = listener.addr.port;
  listener.close();
  return await PostOffice.open({
    listeners: [{ kind: "submissions" }],
    outbound: `port = ${port}\nallow_private = ["127.0.0.0/8"]\nretry = ["1h"]\nconnect_timeout = "5s"`,
    zone: ZONE,
  });
}

export function tryDelivery(office: () => PostOffice): void {
  async function submit(to: readonly string[], message: string): Promise<void> {
    const { authority, server } = office();
    const { code, error } = await run("curl", [
      ...["--silent", "--show-error", "--cacert", authority, `smtps://localhost:${server.port("submissions")}`],
      ...["--user", `${ANN}:${PASSWORD}`, "--mail-from", ANN, "--upload-file", "-"],
      ...to.flatMap((address) => ["--mail-rcpt", address]),
    ], { input: bytesOf(message) });
    assert.equal(code, 0, error);
  }
  const became = (state: "delivered" | "deferred" | "failed", to: string) =>
    office().logged(new RegExp(` recipient-${state} .*\\bto="?${to.replaceAll(".", "\\.")}`));

  /** Submits one and gives what a server took. */
  async function delivered(remote: Remote, to: string, message = letter(ANN, to, "Hello")): Promise<Taken> {
    await submit([to], message);
    await became("delivered", to);
    const found = (await remote.taken()).filter(({ recipients }) => recipients.includes(to));
    assert.equal(found.length, 1);
    return found[0]!;
  }

  interop("smtp-sink gets the bytes that were submitted, below our trace line", ["curl", "smtp-sink"], async () => {
    await using sink = await Remote.sink(SINK, port);
    const to = `${newTag()}@implicit.test`, random = seeded(3);
    const long = Array.from(
      { length: 300 },
      () => "x".repeat(random() * 998).replace(/^x/, () => random() < 0.3 ? "." : "x"),
    );
    const high = String.fromCharCode(...Array.from({ length: 128 }, (_, at) => 128 + at));
    const message = letter(ANN, to, ...DOTS, ...long, high, " ", ...DOTS);
    const taken = await delivered(sink, to, message);
    sameBytes(below(taken.bytes), message.replaceAll("\r\n", "\n"));
    assert.equal(taken.sender, ANN);
    assert.equal(taken.hello, "mail.dev.test");
    assert.match(taken.options, /\bBODY=8BITMIME\b/);
  });

  interop("the best MX gets the mail, and several recipients of a domain in one transaction", [
    "curl",
    "smtp-sink",
  ], async () => {
    await using best = await Remote.sink(SINK, port);
    await using spare = await Remote.sink(SPARE, port);
    const to = Array.from({ length: 7 }, () => `${newTag()}@order.test`);
    await submit(to, letter(ANN, "all@order.test", "Hello"));
    for (const address of to) await became("delivered", address);
    const taken = await best.taken();
    assert.deepEqual(taken.map(({ recipients }) => [...recipients].sort()), [to.toSorted()]);
    assert.doesNotMatch(new TextDecoder().decode(taken[0]?.bytes), / for </);
    assert.deepEqual(await spare.taken(), []);
  });

  interop("where the best MX is dead, the next one gets the mail", ["curl", "smtp-sink"], async () => {
    await using sink = await Remote.sink(SINK, port);
    await delivered(sink, `${newTag()}@deadfirst.test`);
  });

  interop("a domain without MX gets its mail at its own address", ["curl", "smtp-sink"], async () => {
    await using sink = await Remote.sink(SINK, port);
    await delivered(sink, `${newTag()}@implicit.test`);
  });

  for (
    const [domain, status, why] of [
      ["nomail.test", "5.1.10", "null MX"],
      ["nohost.test", "5.4.4", "neither MX nor address"],
      ["missing.test", "5.1.2", "no such domain"],
    ] as const
  ) {
    interop(`mail for a domain with ${why} comes back at once with ${status}`, ["curl"], async () => {
      const to = `${newTag()}@${domain}`;
      await submit([to], letter(ANN, to, "Hello"));
      const bounce = await office().letterWith(to, "message/delivery-status");
      assert.match(bounce, /^Return-Path: <>\r\n/);
      assert.match(bounce, new RegExp(`\r\nFinal-Recipient: rfc822; ?${to.replaceAll(".", "\\.")}\r\n`));
      assert.match(bounce, /\r\nAction: failed\r\n/);
      assert.match(bounce, new RegExp(`\r\nStatus: ${status.replaceAll(".", "\\.")}\r\n`));
      assert.equal(await queued(to), undefined);
    });
  }

  /** The recipient's row in `maildemon queue list --json`. */
  async function queued(to: string) {
    const rows: { recipients: Record<string, unknown>[] }[] = JSON.parse(
      await office().command("queue", "list", "--to", to, "--json"),
    );
    return rows.flatMap(({ recipients }) => recipients).find(({ address }) => address === to);
  }

  interop(
    "mail for a server that is down waits, and goes out after queue retry --all",
    ["curl", "smtp-sink"],
    async () => {
      const to = Array.from({ length: 3 }, () => `${newTag()}@late.test`);
      for (const address of to) await submit([address], letter(ANN, address, "Hello"));
      await became("deferred", to[0]!);
      const row = await queued(to[0]!);
      assert.equal(row?.state, "waiting");
      assert.match(JSON.stringify(row?.reply), /4\.4\.1.*refused/i);
      await using sink = await Remote.sink(LATE, port);
      await office().command("queue", "retry", "--all");
      for (const address of to) await became("delivered", address);
      assert.deepEqual((await sink.taken()).flatMap(({ recipients }) => recipients).toSorted(), to.toSorted());
      assert.equal(await queued(to[0]!), undefined);
    },
  );

  interop("mail that a server does not take now waits, whatever the step, and goes out once", [
    "curl",
    "smtp-sink",
  ], async () => {
    const waiting: string[] = [];
    // Soft refusal, 421, and hanging up without a word.
    const moods = [["-r", "MAIL"], ["-r", "RCPT"], ["-r", "DATA"], ["-r", "."], ["-Q", "RCPT"], ["-Q", "."], [
      "-q",
      "MAIL",
    ]];
    for (const mood of moods) {
      await using _sink = await Remote.sink(LATE, port, ...mood);
      const to = `${newTag()}@late.test`;
      await submit([to], letter(ANN, to, "Hello"));
      await became("deferred", to);
      waiting.push(to);
    }
    await using sink = await Remote.sink(LATE, port);
    await office().command("queue", "retry", "--all");
    for (const to of waiting) await became("delivered", to);
    assert.deepEqual((await sink.taken()).flatMap(({ recipients }) => recipients).toSorted(), waiting.toSorted());
  });

  interop("mail that a server refuses for good comes back with its words, whatever the step", [
    "curl",
    "smtp-sink",
  ], async () => {
    for (const step of ["MAIL", "RCPT", "DATA", "."]) {
      await using _sink = await Remote.sink(LATE, port, "-B", `554 5.7.99 not ${step} today`, "-f", step);
      const to = `${newTag()}@late.test`;
      await submit([to], letter(ANN, to, "Hello"));
      const bounce = await office().letterWith(to, "message/delivery-status");
      assert.match(bounce, /\r\nStatus: 5\.7\.99\r\n/);
      assert.ok(bounce.includes(`Diagnostic-Code: smtp; 554 5.7.99 not ${step} today`), bounce);
      assert.match(bounce, /\r\nRemote-MTA: dns; ?mx\.late\.test/);
    }
  });

  interop("what a server cannot take unchanged comes back and is not changed", ["curl", "smtp-sink"], async () => {
    await using sink = await Remote.sink(LATE, port, "-8");
    const to = `${newTag()}@late.test`;
    await submit([to], letter(ANN, to, "Gr\xc3\xbc\xc3\x9fe"));
    assert.match(await office().letterWith(to, "message/delivery-status"), /\r\nStatus: 5\.6\.3\r\n/);
    assert.deepEqual(await sink.taken(), []);
  });

  async function secure(): Promise<Remote> {
    const { folder } = office();
    return await Remote.aiosmtpd(SECURE, port, {
      certificate: join(folder, "named.pem"),
      key: join(folder, "named.key"),
    });
  }

  interop("aiosmtpd offers STARTTLS, is spoken to under it, and gets the bytes that were submitted", [
    "curl",
    "aiosmtpd",
  ], async () => {
    await using server = await secure();
    const to = `${newTag()}@secure.test`, message = letter(ANN, to, ...DOTS, "Gr\xc3\xbc\xc3\x9fe");
    const taken = await delivered(server, to, message);
    sameBytes(below(taken.bytes), message);
    assert.match(taken.tls ?? "in clear", /^TLSv1\.3$/);
    assert.equal(taken.hello, "mail.dev.test");
  });

  interop("of several recipients one gets it, one is refused, one has to wait: each is told its own", [
    "curl",
    "aiosmtpd",
  ], async () => {
    await using server = await secure();
    const tag = newTag();
    const [there, unknown, full] = [`there${tag}@secure.test`, `unknown${tag}@secure.test`, `full${tag}@secure.test`];
    await submit([there, unknown, full], letter(ANN, there, "Hello"));
    await became("delivered", there);
    await became("deferred", full);
    // Failures are gathered as long as others are tried, for a minute at most.
    await office().command("queue", "retry", "--to", full);
    await became("delivered", full);
    const bounce = await office().letterWith(unknown, "message/delivery-status");
    assert.match(bounce, /\r\nDiagnostic-Code: smtp; ?550 5\.1\.1 nobody of that name\r\n/);
    assert.ok(!bounce.includes(full) && !/Final-Recipient: rfc822; ?there/.test(bounce), bounce);
    assert.deepEqual((await server.taken()).map(({ recipients }) => recipients).toSorted(), [[full], [there]]);
  });

  interop("an address in UTF-8 goes to a server that takes it, and comes back from one that does not", [
    "curl",
    "smtp-sink",
    "aiosmtpd",
  ], async () => {
    await using server = await secure();
    await using sink = await Remote.sink(SINK, port);
    const [takes, refuses] = [`jürgen${newTag()}@secure.test`, `jürgen${newTag()}@implicit.test`];
    await submit([takes, refuses], letter(ANN, "undisclosed@secure.test", "Hello"));
    await became("delivered", takes);
    const [taken] = await server.taken();
    assert.deepEqual(taken?.recipients, [takes]);
    assert.match(taken?.options ?? "", /SMTPUTF8/);
    await became("failed", refuses);
    assert.deepEqual(await sink.taken(), []);
  });
}
