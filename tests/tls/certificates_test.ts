/** Several certificates at one port: who is shown which, and what a login binds to. */

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { Certificates, type KeyPair } from "../../src/tls/certificates.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { interop, run } from "../interoperability/programs.ts";
import { expect, until } from "../support/letters.ts";
import { LocalServer, PASSWORD } from "../support/local_server.ts";
import { scram } from "../support/scram_client.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

const SECOND = await selfSigned(["mail.second.test", "*.hosted.test"]);

/** A server that has this certificate beside its own, which is for localhost. */
async function withSecond(pair: KeyPair): Promise<LocalServer> {
  const server = await LocalServer.prepare({
    files: { "second.pem": pair.certificate, "second.key": pair.key },
  });
  await server.edit((text) =>
    text.replace(
      "[limits]",
      '[[tls.certificates]]\ncertificate = "second.pem"\nkey = "second.key"\n[limits]',
    )
  );
  await server.start();
  return server;
}

function endPointOf({ certificate }: KeyPair, hash = "sha256"): Uint8Array {
  return createHash(hash).update(new X509Certificate(certificate).raw).digest();
}

Deno.test("a certificate is chosen by the name that the client asks for; the first one is for all others", async () => {
  const first = await selfSigned(["mail.first.test"]), certificates = new Certificates([first, SECOND]);
  const wanted = [
    [undefined, first],
    ["unknown.test", first],
    ["mail.first.test", first],
    ["mail.second.test", SECOND],
    ["MAIL.Second.test", SECOND],
    ["any.hosted.test", SECOND],
    ["hosted.test", first],
    [".hosted.test", first],
    ["two.labels.hosted.test", first],
    ["__proto__", first],
    ["", first],
  ] as const;
  for (const [name, pair] of wanted) {
    assert.deepEqual(new Uint8Array(certificates.shownTo(name).endPoint), new Uint8Array(endPointOf(pair)), name);
  }
});

Deno.test("a login binds to the certificate that this client was shown, among several", async () => {
  await using server = await withSecond(SECOND);
  const [{ chain = "" } = {}] = (await loadConfig(server.configFile)).certificates;
  const sessionWith = async (hostname: string) => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port("submissions") });
    const authority = hostname === "localhost" ? authorityOf(chain) : SECOND.authority;
    const peer = new SmtpPeer(await Deno.startTls(conn, { hostname, caCerts: [authority] }));
    expect(await peer.lastLine(), "220");
    expect(await peer.say("EHLO client.remote.test"), "250");
    return peer;
  };
  const own = endPointOf({ certificate: chain, key: "" }), second = endPointOf(SECOND);
  expect(await scram(await sessionWith("localhost"), "ann@ours.test", PASSWORD, own), "235");
  expect(await scram(await sessionWith("mail.second.test"), "ann@ours.test", PASSWORD, second), "235");
  expect(await scram(await sessionWith("mail.second.test"), "ann@ours.test", PASSWORD, own), "535");
});

/** What stands behind the leaf. */
function authorityOf(chain: string): string {
  return chain.slice(chain.lastIndexOf("-----BEGIN CERTIFICATE-----"));
}

interop("a certificate signed with SHA-384 is bound to by SHA-384", ["openssl"], async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = (name: string) => join(folder, name);
    const options =
      "req -x509 -nodes -days 3 -sha384 -subj /CN=mail.second.test -newkey ec -pkeyopt ec_paramgen_curve:P-384";
    await run("openssl", [...options.split(" "), "-keyout", file("key"), "-out", file("pem")]);
    const [certificate, key] = await Promise.all(["pem", "key"].map((name) => Deno.readTextFile(file(name))));
    const pair = { certificate: certificate!, key: key! };
    const { endPoint } = new Certificates([pair]).shownTo(undefined);
    assert.deepEqual(new Uint8Array(endPoint), new Uint8Array(endPointOf(pair, "sha384")));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

interop("who comes back with a ticket is shown the certificate of now", ["openssl"], async () => {
  await using server = await withSecond(SECOND);
  const ticket = join(server.folder, "ticket"), next = await selfSigned(["mail.second.test"]);
  const call = async (...options: string[]) => {
    const target = ["-connect", `127.0.0.1:${server.port("submissions")}`, "-servername", "mail.second.test"];
    return (await run("openssl", ["s_client", ...target, ...options], { input: "QUIT\r\n" })).out;
  };
  for (const version of ["-tls1_3", "-tls1_2"]) {
    assert.match(await call(version, "-sess_out", ticket), /CN = mail\.second\.test/);
  }
  await Deno.writeTextFile(join(server.folder, "second.pem"), next.certificate);
  await Deno.writeTextFile(join(server.folder, "second.key"), next.key);
  server.running.renew(await (await loadConfig(server.configFile)).certificatesNow());
  await until(async () => {
    const said = await call("-sess_in", ticket, "-showcerts");
    return said.includes(new X509Certificate(next.certificate).toString().trim());
  }, "the new certificate");
});
