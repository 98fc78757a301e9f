/** The whole program and a real authority: from the first start without a certificate to a failing renewal. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { join } from "node:path";
import tls from "node:tls";
import { loadConfig } from "../src/config.ts";
import { silent } from "../src/log.ts";
import { Presenting } from "../src/server/presenting.ts";
import { expect, letter, send, until } from "./support/letters.ts";
import { LocalServer, PASSWORD } from "./support/local_server.ts";
import { type Pebble, withPebble } from "./support/pebble.ts";
import { maildemon, RunningServer } from "./support/running_server.ts";
import { plain } from "./support/letters.ts";
import { SmtpPeer } from "./support/smtp_peer.ts";

type Challenge = "http-01" | "tls-alpn-01";

/** A server whose certificate this authority has to give. */
async function prepare(pebble: Pebble, challenge: Challenge): Promise<LocalServer> {
  const port = challenge === "http-01" ? pebble.httpPort : pebble.tlsPort;
  const acme = `[tls.acme]\nagree_to_terms = true\ndirectory = "${pebble.directory}"\ndirectory_ca = "ca.pem"\n` +
    `challenge = "${challenge}"\nlisten = "127.0.0.1:${port}"\n`;
  const server = await LocalServer.prepare({
    files: { "ca.pem": pebble.authority },
    limits: "max_connections_per_host = 200",
    status: 'listen = "127.0.0.1:0"',
  });
  await server.edit((text) => text.replace('[tls]\ncertificate = "fullchain.pem"\nkey = "privkey.pem"\n', acme));
  return server;
}

function leafAt(port: number): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      { port, host: "127.0.0.1", servername: "mail.ours.test", rejectUnauthorized: false },
      () => {
        const { raw } = socket.getPeerCertificate();
        socket.destroy();
        resolve(new X509Certificate(raw));
      },
    );
    socket.once("error", reject);
  });
}

async function metricsOf(server: LocalServer): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${server.running.statusPort()}/metrics`);
  return await answer.text();
}

/** A session under TLS that trusts what it is shown, because it is not about trust here. */
async function session(port: number): Promise<SmtpPeer> {
  const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  await new Promise<void>((done, failed) => socket.once("secureConnect", done).once("error", failed));
  const conn = {
    read: (buffer: Uint8Array) =>
      new Promise<number | null>((done) => {
        const look = () => {
          const piece: Uint8Array | null = socket.read();
          if (piece === null) return socket.readableEnded ? done(null) : void socket.once("readable", look);
          buffer.set(piece.subarray(0, buffer.length));
          if (piece.length > buffer.length) socket.unshift(piece.subarray(buffer.length));
          done(Math.min(piece.length, buffer.length));
        };
        look();
      }),
    write: (bytes: Uint8Array) => new Promise<number>((done) => socket.write(bytes.slice(), () => done(bytes.length))),
    close: () => socket.destroy(),
  } as unknown as Deno.Conn;
  const peer = new SmtpPeer(conn);
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO client.remote.test"), "250");
  return peer;
}

for (const challenge of ["http-01", "tls-alpn-01"] as const) {
  withPebble(`the first certificate comes while fifty sessions are open, by ${challenge}`, async (pebble) => {
    const server = await prepare(pebble, challenge);
    try {
      // Nobody has published our name yet.
      await server.start();
      const port = server.port("submissions"), own = await leafAt(port);
      assert.match(own.issuer, /maildemon trial authority/);
      await until(() => server.log.some((line) => line.includes("certificate-not-renewed")), "the failure");
      assert.match(await metricsOf(server), /^maildemon_certificate_expires_seconds -?\d+$/m);
      assert.match(await metricsOf(server), /^maildemon_certificate_orders_failed 1$/m);
      const sessions = await Promise.all(Array.from({ length: 50 }, () => session(port)));

      // Now somebody has, and says so: nobody has to wait until it is tried again by itself.
      pebble.publish({ "mail.ours.test": "127.0.0.1" });
      await server.reload();
      await until(async () => /Pebble/.test((await leafAt(port)).issuer), "the certificate of the authority", 20_000);
      assert.equal((await leafAt(port)).checkHost("mail.ours.test"), "mail.ours.test");
      await until(async () => /_orders_failed 0$/m.test(await metricsOf(server)), "the metrics to say so");
      for (const peer of sessions) expect(await peer.say("NOOP"), "250");
      expect(await sessions[0]!.say(`AUTH PLAIN ${plain("ann@ours.test", PASSWORD)}`), "235");
      expect(await send(sessions[0]!, "ann@ours.test", ["bob@remote.test"], letter()), "250");
      for (const peer of sessions) peer.close();
    } finally {
      await server.close();
    }
  });
}

withPebble(
  "an authority that fails leaves the old certificate, and the log, the metrics and doctor say so",
  async (pebble) => {
    pebble.publish({ "mail.ours.test": "127.0.0.1" });
    const server = await prepare(pebble, "http-01");
    try {
      await server.start();
      const port = server.port("submissions");
      await until(async () => /Pebble/.test((await leafAt(port)).issuer), "the certificate of the authority", 20_000);
      const { serialNumber } = await leafAt(port);
      await server.stop();
      await pebble.stop();
      // As if it came from an authority that we have left: the next start orders another.
      const file = join(server.store, "acme", "mail.ours.test.pem"), text = await Deno.readTextFile(file);
      await Deno.writeTextFile(file, text.replace(/From: \S+/, "From: https://elsewhere.test/directory"));
      // Two orders are a minute apart, over restarts too.
      await Deno.remove(join(server.store, "acme", "mail.ours.test.json"));
      await server.start();
      const again = server.port("submissions");
      await until(
        () => server.log.some((line) => / error certificate-not-renewed| warning certificate-not-renewed/.test(line)),
        "the failure",
        20_000,
      );
      assert.equal((await leafAt(again)).serialNumber, serialNumber);
      assert.match(await metricsOf(server), /^maildemon_certificate_orders_failed 1$/m);
      const { out } = await maildemon(server.configFile, ["doctor", "--json"]);
      const findings: { result: string; found: string; about: string }[] = JSON.parse(out);
      const said = findings.filter(({ found }) =>
        /certificate|order/i.test(found) && /127\.0\.0\.1|reach|refused/i.test(found)
      );
      assert.notDeepEqual(said.filter(({ result }) => result !== "ok"), [], out);
    } finally {
      await server.close();
    }
  },
);

withPebble("the program by itself gets its certificate, as deno task start lets it", async (pebble) => {
  pebble.publish({ "mail.ours.test": "127.0.0.1" });
  const prepared = await prepare(pebble, "tls-alpn-01");
  try {
    const program = await RunningServer.start(prepared.configFile);
    try {
      await until(() => program.log.some((line) => line.includes(" certificate-renewed ")), "the certificate", 20_000);
      assert.match((await leafAt(program.port("submissions"))).issuer, /Pebble/);
    } finally {
      assert.equal((await program.stop()).code, 0);
    }
  } finally {
    await prepared.close();
  }
});

/** What is shown by this configuration, without the rest of the server. */
async function present(server: LocalServer) {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const accountKey = () => Promise.resolve(privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  const [presenting, first] = await Presenting.open(await loadConfig(server.configFile), { accountKey, log: silent });
  const endPoint = () => Buffer.from(presenting.shownTo("mail.ours.test").endPoint).toString("hex");
  return { presenting, first, endPoint };
}

withPebble(
  "a certificate that comes while another configuration is prepared is shown by that one, too",
  async (pebble) => {
    pebble.publish({ "mail.ours.test": "127.0.0.1" });
    await using server = await prepare(pebble, "http-01");
    const { presenting, first, endPoint } = await present(server);
    try {
      first.use();
      const own = endPoint(), next = await presenting.prepare(await loadConfig(server.configFile));
      await until(() => endPoint() !== own, "the certificate", 20_000);
      const issued = endPoint();
      next.use();
      assert.equal(endPoint(), issued);
      assert.ok(presenting.endsAt()! > Date.now());
    } finally {
      await presenting.close();
    }
  },
);

withPebble("a certificate is shown until the one for other names is there", async (pebble) => {
  pebble.publish({ "mail.ours.test": "127.0.0.1" });
  await using server = await prepare(pebble, "http-01");
  const { presenting, first, endPoint } = await present(server);
  try {
    first.use();
    const own = endPoint();
    await until(() => endPoint() !== own, "the certificate", 20_000);
    const issued = endPoint();
    await server.edit((text) => text.replace("[tls.acme]", '[tls.acme]\nnames = ["mx.ours.test", "mail.ours.test"]'));
    (await presenting.prepare(await loadConfig(server.configFile))).use();
    assert.equal(endPoint(), issued);
    await until(() => (presenting.ordered()?.failures ?? 0) > 0, "the failure", 20_000);
    assert.equal(endPoint(), issued);
    assert.ok(presenting.endsAt()! > Date.now());
  } finally {
    await presenting.close();
  }
});
