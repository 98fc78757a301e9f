/** Another version of the configuration while the server runs: in one step, for whom it is meant, or not at all. */

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";
import tls from "node:tls";
import { loadConfig } from "../src/config.ts";
import { openLog } from "../src/log.ts";
import { Reloading } from "../src/reloading.ts";
import { selfSigned } from "../src/tls/self_signed.ts";
import { expect, letter, send, until } from "./support/letters.ts";
import { LocalServer, PASSWORD } from "./support/local_server.ts";
import { RunningServer } from "./support/running_server.ts";
import { scram } from "./support/scram_client.ts";
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

Deno.test("a version that cannot be used changes nothing, says why, and shows in the metrics", async () => {
  await using taken = Deno.listen({ hostname: "127.0.0.3", port: 0 });
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
    [
      "another store",
      (text) => text.replace('store = "store"', 'store = "elsewhere"'),
      /store cannot change while the server runs; restart it/,
    ],
    ["an address that this machine has not", listener("192.0.2.1:0"), /this machine has no such address/],
    [
      "a status page where there can be none",
      (text) => text.replace('listen = "127.0.0.1:0"', `listen = "127.0.0.3:${port}"`),
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
    await Deno.writeTextFile(server.configFile, whole);
  }
  await server.reload();
  assert.equal(await metric(), "0");
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

// ── files that change ────────────────────────────────────────────────────────────────────────────────────────────

/** Looks at the files of a server that runs in this process, as `maildemon serve` does. */
async function watching(server: LocalServer, tryAgainAfter = 60_000): Promise<Reloading & AsyncDisposable> {
  const config = await loadConfig(server.configFile);
  const reloading = await Reloading.open(config, {
    server: server.running,
    load: () => loadConfig(server.configFile),
    applied: () => {},
    log: openLog({ level: "debug", format: "text", write: (line) => server.log.push(line) }),
    interval: 50,
    tryAgainAfter,
  });
  return Object.assign(reloading, { [Symbol.asyncDispose]: () => reloading.close() });
}

/** The serial number of the certificate that a new client is shown. */
async function serialAt(port: number): Promise<string> {
  return (await certificateAt(port)).serialNumber;
}

function certificateAt(port: number): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      const raw = socket.getPeerCertificate().raw;
      socket.destroy();
      resolve(new X509Certificate(raw));
    });
    socket.once("error", reject);
  });
}

function heard(server: { readonly log: readonly string[] }, event: string): number {
  return server.log.filter((line) => new RegExp(`[ "]${event}[ "]`).test(line)).length;
}

Deno.test("fifty sessions live on while the certificate is exchanged, and the next handshake shows the new one", async () => {
  await using server = await LocalServer.open({ limits: "max_connections_per_host = 200" });
  await using _reloading = await watching(server);
  const port = server.port("submissions"), old = await certificateAt(port);
  const sessions = await Promise.all(Array.from({ length: 50 }, () => server.client()));
  const next = await selfSigned(["localhost", "127.0.0.1"]);
  await Deno.writeTextFile(join(server.folder, "fullchain.pem"), next.certificate);
  await Deno.writeTextFile(join(server.folder, "privkey.pem"), next.key);
  const written = performance.now(), serial = new X509Certificate(next.certificate).serialNumber;
  await until(async () => await serialAt(port) === serial, "the new certificate", 5_000);
  assert.ok(performance.now() - written < 5_000);
  assert.notEqual(serial, old.serialNumber);
  // What a client binds its login to is the certificate that it was shown, not the one that others are shown now.
  const endPoint = createHash("sha256").update(old.raw).digest();
  expect(await scram(sessions[0]!, "ann@ours.test", PASSWORD, endPoint), "235");
  for (const session of sessions) expect(await session.say("NOOP"), "250");
  expect(await send(sessions[0]!, "ann@ours.test", ["bob@remote.test"], letter()), "250");
});

Deno.test("a certificate whose key has not come yet is waited for, and the old one stays", async () => {
  await using server = await LocalServer.open();
  await using _reloading = await watching(server);
  const port = server.port("submissions"), old = await serialAt(port), next = await selfSigned(["localhost"]);
  await Deno.writeTextFile(join(server.folder, "fullchain.pem"), next.certificate);
  await until(() => heard(server, "certificates-refused") > 0, "the refusal");
  assert.equal(await serialAt(port), old);
  assert.match(server.log.join("\n"), /certificates-refused .*privkey\.pem does not belong to the certificate/);
  await Deno.writeTextFile(join(server.folder, "privkey.pem"), next.key);
  const serial = new X509Certificate(next.certificate).serialNumber;
  await until(async () => await serialAt(port) === serial, "the new certificate");
  assert.equal(heard(server, "certificates-refused"), 1);
});

Deno.test("a certificate that could not be used is tried again without being told so, and complained about once", async () => {
  await using server = await LocalServer.open();
  await using _reloading = await watching(server, 100);
  const port = server.port("submissions"),
    next = await selfSigned(["localhost"]),
    key = join(server.folder, "privkey.pem");
  await Deno.writeTextFile(join(server.folder, "fullchain.pem"), next.certificate);
  await until(() => heard(server, "certificates-refused") > 0, "the refusal");
  await new Promise((done) => setTimeout(done, 500));
  assert.equal(heard(server, "certificates-refused"), 1);
  // The same time, size and name, as far as anybody can see.
  await Deno.writeTextFile(key, next.key);
  const serial = new X509Certificate(next.certificate).serialNumber;
  await until(async () => await serialAt(port) === serial, "the new certificate");
});

Deno.test('with reload = "auto" what is written counts, and what is wrong is said once and changes nothing', async () => {
  await using server = await LocalServer.open({ top: 'reload = "auto"' });
  await using _reloading = await watching(server);
  const greeting = async () => await (await SmtpPeer.call(server.port("mx"))).lastLine();
  await server.edit((text) => `greeting = "after"\n${text}`);
  await until(async () => (await greeting()).endsWith(" after"), "the new greeting");
  await server.edit((text) => text.replace('greeting = "after"', 'greting = "wrong"'));
  await until(() => heard(server, "reload-refused") > 0, "the refusal");
  await new Promise((done) => setTimeout(done, 400));
  assert.match(await greeting(), / after$/);
  assert.equal(heard(server, "reload-refused"), 1);
  assert.match(server.log.join("\n"), /config\.toml:1: greting: is not a known key; did you mean \\"greeting\\"\?/);
  await server.edit((text) => text.replace('greting = "wrong"', 'greeting = "right"'));
  await until(async () => (await greeting()).endsWith(" right"), "the new greeting");
});

Deno.test("SIGHUP reloads the program, a wrong file leaves it as it was, and a session lives through both", async () => {
  const prepared = await LocalServer.prepare();
  try {
    const program = await RunningServer.start(prepared.configFile);
    try {
      const peer = await SmtpPeer.call(program.port("mx"), 20_000);
      expect(await peer.lastLine(), "220");
      const greeting = async () => await (await SmtpPeer.call(program.port("mx"))).lastLine();
      const reload = async (change: (text: string) => string, event: string) => {
        const before = heard(program, event);
        await prepared.edit(change);
        Deno.kill(program.pid, "SIGHUP");
        await until(() => heard(program, event) > before, event);
      };
      await reload((text) => `greeting = "once"\n${text}`, "reloaded");
      assert.match(await greeting(), / once$/);
      await reload(
        (text) => text.replace("once", "twice").replace("[limits]", "[limits]\nmax_hop = 3"),
        "reload-refused",
      );
      assert.match(await greeting(), / once$/);
      assert.match(program.log.join("\n"), /limits\.max_hop: is not a known key; did you mean \\"max_hops\\"\?/);
      await reload((text) => text.replace("max_hop = 3", '[log]\nformat = "json"'), "reloaded");
      assert.match(await greeting(), / twice$/);
      await until(() => program.log.some((line) => line.startsWith('{"time":')), "the log in JSON");
      expect(await peer.say("EHLO client.remote.test"), "250");
    } finally {
      assert.equal((await program.stop()).code, 0);
    }
  } finally {
    await prepared.close();
  }
});
