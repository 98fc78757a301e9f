/** The old MailDemon went on without signing when its DKIM key could not be loaded. */

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { LocalServer } from "../support/local_server.ts";

const rsa = (bits: number) =>
  generateKeyPairSync("rsa", {
    modulusLength: bits,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });

/** What stands in the key file; undefined: there is none. */
const KEYS: readonly (readonly [name: string, text: string | undefined])[] = [
  ["is missing", undefined],
  ["is empty", ""],
  ["is no PEM", "not a key at all\n"],
  ["is cut off", rsa(2048).privateKey.slice(0, 700)],
  ["is a public key", rsa(2048).publicKey],
  ["is too short to be accepted by anybody", rsa(512).privateKey],
];

for (const [name, text] of KEYS) {
  Deno.test(`a DKIM key that ${name} stops the start with exit code 1, and the file and line of the setting`, async () => {
    const server = await LocalServer.prepare({ domain: "# no key yet" });
    try {
      const config = (await Deno.readTextFile(server.configFile)).replace(
        "# no key yet",
        '\ndkim = [{ selector = "s1", key = "dkim.pem" }]',
      );
      await Deno.writeTextFile(server.configFile, config);
      if (text !== undefined) await Deno.writeTextFile(join(server.folder, "dkim.pem"), text, { mode: 0o600 });
      const line = config.split("\n").findIndex((line) => line.startsWith("dkim =")) + 1;
      const { code, stderr, stdout } = await serve(server.configFile);
      assert.equal(code, 1, stderr);
      assert.ok(stderr.includes(`${server.configFile}:${line}: `), stderr);
      assert.match(stderr, /dkim\[0\]\.key/);
      assert.doesNotMatch(stderr + stdout, /listening|started/);
    } finally {
      await server.close();
    }
  });
}

/** The program itself; it is ended when it has not ended by itself. */
async function serve(
  file: string,
): Promise<{ readonly code: number; readonly stderr: string; readonly stdout: string }> {
  const main = new URL("../../src/main.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-all", main, "--config", file, "serve"],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  const { code, stderr, stdout } = await child.output();
  clearTimeout(timer);
  const text = new TextDecoder();
  return { code, stderr: text.decode(stderr), stdout: text.decode(stdout) };
}
