/** When files change: certificates are shown at once, the rest when somebody asks for it or `reload = "auto"` says so. */

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";
import tls from "node:tls";
import { loadConfig } from "../../src/config.ts";
import { openLog } from "../../src/log.ts";
import { Reloading, type Stamps, stampsOf } from "../../src/server/reloading.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { expect, letter, pause, send, until } from "../support/letters.ts";
import { LocalServer, PASSWORD } from "../support/local_server.ts";
import { RunningServer } from "../support/running_server.ts";
import { scram } from "../support/scram_client.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

/** Looks at the files of a server that runs in this process, as `maildemon serve` does. */
async function watching(
  server: LocalServer,
  tryAgainAfter = 60_000,
  stamps?: Stamps,
  interval = 50,
): Promise<Reloading & AsyncDisposable> {
  const config = await loadConfig(server.configFile);
  const reloading = new Reloading(config, {
    server: server.running,
    stamps: stamps ?? await stampsOf(config),
    load: () => loadConfig(server.configFile),
    applied: () => {},
    log: openLog({ level: "debug", format: "text", write: (line) => server.log.push(line) }),
    interval,
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
  // The same time, size and number, as far as anybody can see.
  const { mtime, size } = await Deno.stat(key);
  await Deno.writeTextFile(key, next.key);
  await Deno.utime(key, mtime!, mtime!);
  assert.equal((await Deno.stat(key)).size, size);
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

Deno.test("what kept a version from being used may go away by itself: it is tried again, and complained about once", async () => {
  await using server = await LocalServer.open({ top: 'reload = "auto"' });
  await using _reloading = await watching(server, 200);
  const taken = Deno.listen({ hostname: "127.0.0.3", port: 0 }), before = server.running.listeners().length;
  await server.edit((text) =>
    text.replace(
      "[[listeners]]",
      `[[listeners]]\naddress = "127.0.0.3:${taken.addr.port}"\nkind = "mx"\n\n[[listeners]]`,
    )
  );
  await until(() => heard(server, "reload-refused") > 0, "the refusal");
  taken.close();
  await until(() => server.running.listeners().length === before + 1, "the new listener");
  assert.equal(heard(server, "reload-refused"), 1);
});

Deno.test("a file that is still being written is not read", async () => {
  await using server = await LocalServer.open({ top: 'reload = "auto"' });
  await using _reloading = await watching(server, 60_000, undefined, 300);
  const whole = `greeting = "whole"\n${await Deno.readTextFile(server.configFile)}`;
  // Over four looks at least; no two of them find the same.
  using file = await Deno.open(server.configFile, { write: true, truncate: true });
  for (const piece of whole.match(new RegExp(`[^]{1,${Math.ceil(whole.length / 60)}}`, "g")) ?? []) {
    await file.write(new TextEncoder().encode(piece));
    await pause(25);
  }
  await until(() => heard(server, "reloaded") > 0, "the whole of it");
  assert.equal(heard(server, "reload-refused"), 0);
});

Deno.test("a certificate is exchanged although the configuration is wrong meanwhile", async () => {
  await using server = await LocalServer.open({ top: 'reload = "auto"' });
  await using _reloading = await watching(server);
  const port = server.port("submissions"), next = await selfSigned(["localhost"]);
  await server.edit((text) => `greting = "wrong"\n${text}`);
  await until(() => heard(server, "reload-refused") > 0, "the refusal");
  await Deno.writeTextFile(join(server.folder, "fullchain.pem"), next.certificate);
  await Deno.writeTextFile(join(server.folder, "privkey.pem"), next.key);
  const serial = new X509Certificate(next.certificate).serialNumber;
  await until(async () => await serialAt(port) === serial, "the new certificate", 5_000);
  await server.edit((text) => text.replace('greting = "wrong"', 'greeting = "right"'));
  const greeting = async () => await (await SmtpPeer.call(server.port("mx"))).lastLine();
  await until(async () => (await greeting()).endsWith(" right"), "the new greeting");
});

Deno.test("a refused reload does not keep a certificate that came with it from being shown", async () => {
  await using server = await LocalServer.open();
  await using reloading = await watching(server);
  const port = server.port("submissions"), next = await selfSigned(["localhost"]);
  await server.edit((text) => `greting = "wrong"\n${text}`);
  await Deno.writeTextFile(join(server.folder, "fullchain.pem"), next.certificate);
  await Deno.writeTextFile(join(server.folder, "privkey.pem"), next.key);
  reloading.ask();
  const serial = new X509Certificate(next.certificate).serialNumber;
  await until(async () => await serialAt(port) === serial, "the new certificate", 5_000);
  assert.equal(heard(server, "reload-refused"), 1);
});

for (
  const [how, exchange] of [
    ["renamed over the old ones", (from: string, to: string) => Deno.rename(from, to)],
    ["the target of links, as certbot does it", async (from: string, to: string) => {
      await Deno.remove(to);
      await Deno.symlink(from, to);
    }],
    ["written anew after the old ones were deleted", async (from: string, to: string) => {
      await Deno.remove(to);
      await new Promise((done) => setTimeout(done, 200));
      await Deno.copyFile(from, to);
    }],
  ] as const
) {
  Deno.test(`a new certificate is shown when its files are ${how}`, async () => {
    await using server = await LocalServer.open();
    await using _reloading = await watching(server);
    const port = server.port("submissions"), next = await selfSigned(["localhost"]);
    await Deno.writeTextFile(join(server.folder, "fullchain2.pem"), next.certificate);
    await Deno.writeTextFile(join(server.folder, "privkey2.pem"), next.key, { mode: 0o600 });
    for (const name of ["fullchain", "privkey"]) {
      await exchange(join(server.folder, `${name}2.pem`), join(server.folder, `${name}.pem`));
    }
    const serial = new X509Certificate(next.certificate).serialNumber;
    await until(async () => await serialAt(port) === serial, "the new certificate", 5_000);
  });
}

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

Deno.test("SIGHUP during the start ends nothing, and counts when the start is over", async () => {
  await using prepared = await LocalServer.prepare();
  const program = RunningServer.begin(prepared.configFile);
  try {
    // The spool is opened behind the configuration and before the last port.
    const isThere = () => Deno.stat(join(prepared.store, "queue")).then(() => true, () => false);
    await until(isThere, "the spool", 20_000);
    Deno.kill(program.pid, "SIGHUP");
    await program.started();
    await until(() => heard(program, "reloaded") > 0, "the reload");
  } finally {
    assert.equal((await program.stop()).code, 0);
  }
});

Deno.test("a certificate that changes between the first reading and the first look is shown", async () => {
  await using server = await LocalServer.open();
  const config = await loadConfig(server.configFile), stamps = await stampsOf(config);
  const next = await selfSigned(["localhost"]);
  await Deno.writeTextFile(join(server.folder, "fullchain.pem"), next.certificate);
  await Deno.writeTextFile(join(server.folder, "privkey.pem"), next.key);
  await using _reloading = await watching(server, 60_000, stamps);
  const serial = new X509Certificate(next.certificate).serialNumber;
  await until(async () => await serialAt(server.port("submissions")) === serial, "the new certificate", 5_000);
});
