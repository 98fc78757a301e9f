/** The old MailDemon compared passwords without regard to case, kept them in clear and wrote them to its log. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { expect, plain } from "../support/letters.ts";
import { ANN, LocalServer, PASSWORD } from "../support/local_server.ts";
import { scram } from "../support/scram_client.ts";
import type { SmtpPeer } from "../support/smtp_peer.ts";

const MISSPELLED = [PASSWORD.toLowerCase(), PASSWORD.toUpperCase(), `${PASSWORD} `, PASSWORD.slice(0, -1), ""];

/** So many failures lock nobody out. */
const PATIENT = "max_failures = 1000";

type SignIn = (peer: SmtpPeer, password: string) => Promise<string>;

const WAYS: readonly (readonly [name: string, signIn: SignIn])[] = [
  ["PLAIN", (peer, password) => peer.say(`AUTH PLAIN ${plain(ANN.address, password)}`)],
  ["PLAIN in two lines", async (peer, password) => {
    expect(await peer.say("AUTH PLAIN"), "334");
    return await peer.say(plain(ANN.address, password));
  }],
  ["LOGIN", async (peer, password) => {
    expect(await peer.say("AUTH LOGIN"), "334");
    expect(await peer.say(btoa(ANN.address)), "334");
    return await peer.say(btoa(password));
  }],
  ["SCRAM-SHA-256", (peer, password) => scram(peer, ANN.address, password)],
];

for (const [name, signIn] of WAYS) {
  Deno.test(`${name}: the password signs in, and the same in other case or length does not`, async () => {
    await using server = await LocalServer.open({ auth: PATIENT });
    for (const wrong of MISSPELLED) {
      const peer = await server.client();
      // RFC 4616 §2 has no empty password: that is malformed.
      assert.match(await signIn(peer, wrong), wrong === "" ? /^(535 5\.7\.8|501 5\.5\.2) / : /^535 5\.7\.8 /, wrong);
      expect(await peer.say(`MAIL FROM:<${ANN.address}>`), "530 5.7.0");
      peer.close();
    }
    const peer = await server.client();
    expect(await signIn(peer, PASSWORD), "235 2.7.0");
    expect(await peer.say(`MAIL FROM:<${ANN.address}>`), "250");
    peer.close();
  });
}

Deno.test("the login itself is matched without regard to case", async () => {
  await using server = await LocalServer.open();
  (await server.signedIn("ANN@Ours.Test")).close();
});

Deno.test("no password stands in any file of the store, neither in clear nor as a plain hash of it", async () => {
  await using server = await LocalServer.open();
  const peer = await server.signedIn();
  expect(await peer.say("QUIT"), "221");
  peer.close();
  await assertNowhere(server);
  await server.stop();
  await assertNowhere(server);
});

async function assertNowhere(server: LocalServer): Promise<void> {
  let all = Buffer.alloc(0);
  for await (const path of filesBelow(server.store)) all = Buffer.concat([all, await Deno.readFile(path)]);
  // What is looked for can be found at all: the user is in there.
  assert.ok(all.includes("ann@ours.test"));
  assert.ok(all.includes("scrypt"));
  const clear = all.toString("latin1").toLowerCase();
  for (const trace of traces(PASSWORD)) assert.ok(!clear.includes(trace.toLowerCase()), trace);
  assert.ok(!all.includes(Buffer.from(PASSWORD, "utf16le")));
  for (const name of ["md5", "sha1", "sha256", "sha512"]) {
    assert.ok(!all.includes(createHash(name).update(PASSWORD).digest()), name);
  }
}

Deno.test("no password stands in the log, at level debug, whether it was right, wrong or in the wrong place", async () => {
  await using server = await LocalServer.open({ auth: PATIENT });
  const wrong = "Crocus-8 meadow", placed = "Violet-9 balcony";
  for (const [, signIn] of WAYS) {
    for (const password of [PASSWORD, wrong]) {
      const peer = await server.client();
      await signIn(peer, password);
      expect(await peer.say("QUIT"), "221");
      peer.close();
    }
  }
  const peer = await server.client();
  // Malformed, cancelled, in clear where base64 belongs, to nobody's name, and where a command belongs.
  expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, placed)} more`), "501");
  expect(await peer.say(`AUTH CRAM-MD5 ${plain(ANN.address, placed)}`), "504");
  expect(await peer.say(`AUTH PLAIN ${plain("nobody@ours.test", placed)}`), "535");
  expect(await peer.say("AUTH LOGIN"), "334");
  expect(await peer.say(btoa(ANN.address)), "334");
  expect(await peer.say(placed), "501");
  expect(await peer.say(btoa(placed)), "500");
  expect(await peer.say(placed), "500");
  expect(await peer.say(`AUTH LOGIN ${btoa(ANN.address)}`), "334");
  await peer.send(`${btoa(placed)}`);
  await peer.closeWrite();
  await peer.rest();
  peer.close();
  const clear = await server.afterStartTls();
  expect(await clear.say(`AUTH PLAIN ${plain(ANN.address, placed)}`), "535");
  clear.close();
  await server.stop();

  const log = server.log.join("\n");
  assert.match(log, /login-failed/);
  assert.match(log, /session-ended/);
  for (const password of [PASSWORD, wrong, placed]) {
    for (const trace of traces(password)) assert.ok(!log.toLowerCase().includes(trace.toLowerCase()), trace);
  }
});

/** In clear and in base64 by itself and behind a login, whatever stands before it. */
function traces(password: string): readonly string[] {
  return [
    password,
    ...[ANN.address, "nobody@ours.test"].map((login) => plain(login, password).slice(-16)),
    // Of three ways in which the bytes fall, with the characters cut off that their neighbours have a part in.
    ...[0, 1, 2].map((shift) => btoa(" ".repeat(shift) + password).slice(4, -4)),
  ];
}

async function* filesBelow(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory, isFile } of Deno.readDir(folder)) {
    if (isDirectory) yield* filesBelow(join(folder, name));
    else if (isFile) yield join(folder, name);
  }
}
