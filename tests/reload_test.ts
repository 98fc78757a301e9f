/** Another version of the configuration while the server runs: in one step, for whom it is meant, or not at all. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { type Config, loadConfig } from "../src/config.ts";
import { askServer } from "../src/status/control.ts";
import { expect, letter, send, until } from "./support/letters.ts";
import { ANN, direct, LocalServer } from "./support/local_server.ts";
import { greetingFor, sayHello } from "./support/proxy_caller.ts";
import { RemoteServer } from "./support/remote_server.ts";
import { maildemon } from "./support/running_server.ts";
import { SmtpPeer } from "./support/smtp_peer.ts";

Deno.test("a session keeps the settings with which it began, and the next one has the new ones", async () => {
  await using server = await LocalServer.open();
  const before = await server.outside();
  await server.edit((text) =>
    `greeting = "after"\n${text.replace("[limits]", '[limits]\nmax_message_size = "64KiB"')}`
  );
  await server.reload();
  const after = await SmtpPeer.call(server.port("mx"));
  expect(await after.lastLine(), "220 mail.ours.test after");
  await after.send("EHLO client.remote.test\r\n");
  assert.match((await after.reply() ?? []).join(), /SIZE 65536/);
  const long = letter("x".repeat(78).concat("\r\n").repeat(1000), "carol@remote.test");
  expect(await send(before, "carol@remote.test", ["ann@ours.test"], long), "250");
  expect(await send(after, "carol@remote.test", ["ann@ours.test"], long), "552 5.3.4");
  await server.emptyQueue();
  assert.equal((await server.inbox()).length, 1);
});

Deno.test("a listener that is new listens, one that is gone ends, and who is in stays in", async () => {
  await using server = await LocalServer.open();
  const kept = server.port("mx"), gone = server.port("submission"), inside = await server.afterStartTls();
  await server.edit((text) =>
    text.replace(
      /\[\[listeners\]\]\naddress = "127.0.0.1:0"\nkind = "submission"\n/,
      '[[listeners]]\naddress = "127.0.0.2:0"\nkind = "mx"\n',
    )
  );
  await server.reload();
  const [mx, other] = server.running.listeners().filter(({ kind }) => kind === "mx");
  assert.deepEqual([mx?.port, mx?.host, other?.host], [kept, "127.0.0.1", "127.0.0.2"]);
  const peer = new SmtpPeer(await Deno.connect({ hostname: "127.0.0.2", port: other!.port }));
  expect(await peer.lastLine(), "220");
  await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port: gone }), Deno.errors.ConnectionRefused);
  expect(await inside.say("NOOP"), "250");
});

Deno.test("what lasts longer than a version takes over the new one: doors, queue, stories, control socket", async () => {
  const remote = new RemoteServer({ on: { RCPT: "451 4.2.1 later" } }, { hostname: "127.0.0.2", port: 0 });
  await using server = await LocalServer.open({ outbound: direct(remote.port, 'retry = ["1h"]') });
  const peer = await server.signedIn();
  /** Milliseconds that the message waits after its first attempt. */
  const waitOf = async (body: string) => {
    const [id = ""] = /[0-9a-z]{12}/.exec(await send(peer, "ann@ours.test", ["bob@remote.test"], letter(body))) ??
      [];
    const found = async () => (await server.queue()).find((row) => row.id === id)?.recipients[0];
    await until(async () => (await found())?.lastAttempt !== undefined, "the first attempt");
    const { due = 0, lastAttempt = 0 } = await found() ?? {};
    return due - lastAttempt;
  };
  assert.ok(await waitOf("before\r\n") > 1_000_000);
  await server.edit((text) =>
    text.replace('retry = ["1h"]', 'retry = ["9s"]').replace("[checks]", '[checks]\nspf = "note"')
      .replace("[limits]", '[limits]\nmax_connections_per_host = 2\nmax_message_size = "64KiB"')
      .replace('kind = "mx"', 'kind = "mx"\nproxy_protocol_from = ["127.0.0.0/8"]')
  );
  await server.reload();
  assert.ok(await waitOf("after\r\n") < 10_000);

  const [one] = [await sayHello(server, "203.0.113.9"), await sayHello(server, "203.0.113.9")];
  expect(await greetingFor(server, "203.0.113.9", "mx"), "421 4.7.0");
  expect(await send(one, "carol@remote.test", ["ann@ours.test"], letter("Hello.\r\n", "carol@remote.test")), "250");
  const stories = async () => (await maildemon(server.configFile, ["why", "carol@remote.test"])).out;
  await until(async () => /checks\.spf = "note"/.test(await stories()), "the setting in the story");

  const bytes = new Uint8Array(65_537), request = { do: "send", size: bytes.length, recipients: [ANN.address] };
  const answer = await askServer(server.store, request, ReadableStream.from([bytes]));
  assert.match(JSON.stringify(answer), /The message has 65537 bytes; at most 65536 are allowed/);
  await remote.close();
});

Deno.test("a version that cannot be used changes nothing, says why, and shows in the metrics", async () => {
  await using taken = Deno.listen({ hostname: "127.0.0.3", port: 0 });
  const free = Deno.listen({ hostname: "127.0.0.4", port: 0 }), { port: freePort } = free.addr;
  free.close();
  await using server = await LocalServer.open({ status: 'listen = "127.0.0.1:0"' });
  const whole = await Deno.readTextFile(server.configFile), before = server.running.listeners();
  const metric = async () => {
    const answer = await fetch(`http://127.0.0.1:${server.running.statusPort()}/metrics`);
    return /^maildemon_reload_refused (\d)$/m.exec(await answer.text())?.[1];
  };
  const listener = (address: string) => (text: string) =>
    text.replace("[[listeners]]", `[[listeners]]\naddress = "${address}"\nkind = "mx"\n\n[[listeners]]`);
  const port = taken.addr.port;
  const refused: readonly (readonly [string, (text: string) => string, RegExp])[] = [
    [
      "a port that another program has, behind one that is free",
      (text) => listener("127.0.0.4:0")(listener(`127.0.0.3:${port}`)(text)),
      /Cannot listen on 127\.0\.0\.3 port \d+: another program listens there/,
    ],
    ["a mistyped key", (text) => text.replace("[limits]", "[limits]\nmax_hop = 3"), /did you mean "max_hops"\?/],
    [
      "another store",
      (text) => text.replace('store = "store"', 'store = "elsewhere"'),
      /store cannot change while the server runs; restart it/,
    ],
    ["an address that this machine has not", listener("192.0.2.1:0"), /this machine has no such address/],
    [
      "a status page where there can be none",
      (text) =>
        listener(`127.0.0.4:${freePort}`)(text).replace('listen = "127.0.0.1:0"', `listen = "127.0.0.3:${port}"`),
      /Cannot show the status page on 127\.0\.0\.3/,
    ],
  ];
  for (const [what, change, reason] of refused) {
    await server.edit((text) => `greeting = "never"\n${change(text)}`);
    await assert.rejects(server.reload(), reason, what);
    assert.deepEqual(server.running.listeners(), before, what);
    const peer = await SmtpPeer.call(server.port("mx"));
    expect(await peer.lastLine(), "220 mail.ours.test ESMTP");
    assert.equal(await metric(), "1", what);
    Deno.listen({ hostname: "127.0.0.4", port: freePort }).close();
    await Deno.writeTextFile(server.configFile, whole);
  }
  await server.reload();
  assert.equal(await metric(), "0");
});

Deno.test("a port of our own that is to move to another address needs a restart, and only then it says so", async () => {
  await using server = await LocalServer.open({ status: 'listen = "127.0.0.1:0"' });
  const fixed = server.port("mx"), page = server.running.statusPort();
  const listeners = (address: string) => (text: string) =>
    text.replace("[[listeners]]", `[[listeners]]\naddress = "${address}"\nkind = "mx"\n\n[[listeners]]`);
  const whole = await Deno.readTextFile(server.configFile);
  for (
    const [change, reason] of [
      [
        listeners(`0.0.0.0:${fixed}`),
        /^Error: Cannot listen on 0\.0\.0\.0 port \d+: this server itself has that port at/,
      ],
      [
        listeners(`192.0.2.1:${fixed}`),
        /^Error: Cannot listen on 192\.0\.2\.1 port \d+: this machine has no such address\.$/,
      ],
      [
        (text: string) => text.replace('listen = "127.0.0.1:0"', `listen = "0.0.0.0:${page}"\ntoken_file = "token"`),
        /^Error: Cannot show the status page on 0\.0\.0\.0 port \d+: the port is taken\..* restart it\.$/,
      ],
    ] as const
  ) {
    await Deno.writeTextFile(join(server.folder, "token"), "sesame", { mode: 0o600 });
    await server.edit(change);
    await assert.rejects(server.reload(), reason);
    await Deno.writeTextFile(server.configFile, whole);
  }
});

Deno.test("the status page moves, and has its new token at once", async () => {
  await using server = await LocalServer.open({ status: 'listen = "127.0.0.1:0"' });
  const first = server.running.statusPort();
  await Deno.writeTextFile(join(server.folder, "token"), "sesame", { mode: 0o600 });
  await server.edit((text) => text.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:0"\ntoken_file = "token"'));
  await server.reload();
  assert.equal(server.running.statusPort(), first);
  const ask = async (port: number | undefined) => {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
    await answer.body?.cancel();
    return answer.status;
  };
  assert.equal(await ask(first), 401);
  await server.edit((text) => text.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.2:0"'));
  await server.reload();
  const moved = await fetch(`http://127.0.0.2:${server.running.statusPort()}/healthz`);
  assert.equal(await moved.text(), "ok\n");
  await until(() => ask(first).then(() => false, () => true), "the page to be gone from where it was");
  await server.edit((text) => text.replace('listen = "127.0.0.2:0"', 'listen = ""'));
  await server.reload();
  assert.equal(server.running.statusPort(), undefined);
});

Deno.test("mail that flows while the configuration changes again and again arrives, each once", async () => {
  await using server = await LocalServer.open({ limits: "max_messages_per_session = 1000" });
  let isOver = false, reloads = 0;
  const reloading = (async () => {
    while (!isOver) {
      await server.edit((text) => `${text.replace(/^greeting.*\n/, "")}`.replace(/^/, `greeting = "${++reloads}"\n`));
      await server.reload();
    }
  })();
  await Promise.all(Array.from({ length: 8 }, async () => {
    const peer = await server.outside(30_000);
    for (let number = 0; number < 25; number++) {
      expect(
        await send(peer, "carol@remote.test", ["ann@ours.test"], letter("Hello.\r\n", "carol@remote.test")),
        "250",
      );
    }
    expect(await peer.say("QUIT"), "221");
  }));
  isOver = true;
  await reloading;
  await server.emptyQueue(30_000);
  const subjects = (await server.inbox()).map((text) => /^Subject: (.*)\r?$/m.exec(text)?.[1]);
  assert.equal(subjects.length, 200);
  assert.equal(new Set(subjects).size, 200);
  assert.ok(reloads > 3, `${reloads} versions`);
});

Deno.test("a reload that comes to its end after the stop opens nothing and is refused", async () => {
  await using server = await LocalServer.open({ status: 'listen = "127.0.0.1:0"' });
  const { running } = server, late = Promise.withResolvers<Config>();
  await server.edit((text) => text.replace("127.0.0.1:0", "127.0.0.2:0"));
  const reloading = assert.rejects(
    running.reload(() => late.promise),
    /^Error: The server stops; the next start reads /,
  );
  await server.stop();
  late.resolve(await loadConfig(server.configFile));
  await reloading;
  assert.deepEqual(running.listeners(), []);
});
