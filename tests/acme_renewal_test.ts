/** The program, an authority, and a certificate whose time runs out while fifty sessions are open. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import tls from "node:tls";
import { selfSigned } from "../src/tls/self_signed.ts";
import { expect, letter, plain, send, until } from "./support/letters.ts";
import { LocalServer, PASSWORD } from "./support/local_server.ts";
import { withPebble } from "./support/pebble.ts";
import { RunningServer } from "./support/running_server.ts";
import { SmtpPeer } from "./support/smtp_peer.ts";

const NAME = "mail.ours.test";

/** The certificate that a new client is shown. */
function shownAt(port: number): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: "127.0.0.1", servername: NAME, rejectUnauthorized: false }, () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      resolve(new X509Certificate(raw));
    });
    socket.once("error", reject);
  });
}

withPebble("a certificate is renewed before it ends, and fifty sessions never notice", async (pebble) => {
  pebble.publish({ [NAME]: "127.0.0.1" });
  const server = await LocalServer.prepare({
    files: { "ca.pem": pebble.authority },
    limits: "max_connections_per_host = 200",
  });
  try {
    await server.edit((text) =>
      text.replace(
        'certificate = "fullchain.pem"\nkey = "privkey.pem"\n',
        `[tls.acme]\nagree_to_terms = true\ndirectory = "${pebble.directory}"\ndirectory_ca = "ca.pem"\n` +
          `listen = "127.0.0.1:${pebble.httpPort}"\n`,
      )
    );
    // Two thirds of its life will be over in five seconds.
    const now = Date.now(), times = { notBefore: new Date(now - 595_000), notAfter: new Date(now + 305_000) };
    const old = await selfSigned([NAME, "localhost"], times), folder = join(server.store, "acme");
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
    const intro = `Certificate of maildemon, which renews it by itself. From: ${pebble.directory}\n`;
    await Deno.writeTextFile(join(folder, `${NAME}.pem`), intro + old.key + old.certificate, { mode: 0o600 });

    const program = await RunningServer.start(server.configFile);
    try {
      const port = program.port("submissions"), { serialNumber } = new X509Certificate(old.certificate);
      assert.equal((await shownAt(port)).serialNumber, serialNumber);
      const sessions = await Promise.all(Array.from({ length: 50 }, async () => {
        const conn = await Deno.connectTls({ hostname: "localhost", port, caCerts: [old.authority] });
        const peer = new SmtpPeer(conn);
        expect(await peer.lastLine(), "220");
        expect(await peer.say("EHLO client.remote.test"), "250");
        return peer;
      }));
      assert.equal((await shownAt(port)).serialNumber, serialNumber, "it is not renewed before its time");
      await until(() => program.log.some((line) => line.includes(" certificate-renewed ")), "the renewal", 30_000);
      const renewed = performance.now();
      await until(async () => (await shownAt(port)).serialNumber !== serialNumber, "the new serial number", 5_000);
      assert.ok(performance.now() - renewed < 5_000);
      assert.match((await shownAt(port)).issuer, /Pebble/);
      for (const peer of sessions) expect(await peer.say("NOOP"), "250");
      expect(await sessions[49]!.say(`AUTH PLAIN ${plain("ann@ours.test", PASSWORD)}`), "235");
      expect(await send(sessions[49]!, "ann@ours.test", ["bob@remote.test"], letter()), "250");
      for (const peer of sessions) peer.close();
    } finally {
      assert.equal((await program.stop()).code, 0);
    }
  } finally {
    await server.close();
  }
});
