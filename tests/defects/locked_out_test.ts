/** The old MailDemon locked out hosts that had done nothing wrong. */

import { expect, letter, plain, send } from "../support/letters.ts";
import { ANN, LocalServer, PASSWORD } from "../support/local_server.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

/** Nothing is held against us: mail is taken, and a user signs in and sends. */
async function assertWelcome(server: LocalServer, sender: string): Promise<void> {
  const peer = await server.outside();
  expect(await send(peer, sender, [ANN.address], letter("Hello.\r\n", sender)), "250 2.0.0 Queued");
  peer.close();
  const client = await server.signedIn();
  expect(await send(client, ANN.address, ["carol@remote.test"], letter()), "250 2.0.0 Queued");
  client.close();
  await server.emptyQueue();
}

Deno.test("100 unknown recipients lock nobody out: the session ends, and the next one is welcome", async () => {
  await using server = await LocalServer.open();
  for (let session = 0; session < 5; session++) {
    const peer = await server.outside();
    expect(await peer.say("MAIL FROM:<carol@remote.test>"), "250");
    for (let at = 1; at < 20; at++) expect(await peer.say(`RCPT TO:<nobody${at}@ours.test>`), "550 5.1.1");
    expect(await peer.say("RCPT TO:<nobody20@ours.test>"), "421 4.7.0");
    peer.close();
  }
  await assertWelcome(server, "carol@remote.test");
});

Deno.test("an unknown recipient beside a known one does not keep the message from the known one", async () => {
  await using server = await LocalServer.open();
  const peer = await server.outside();
  expect(await peer.say("MAIL FROM:<carol@remote.test>"), "250");
  expect(await peer.say("RCPT TO:<nobody@ours.test>"), "550 5.1.1");
  expect(await peer.say(`RCPT TO:<${ANN.address}>`), "250");
  expect(await peer.say("DATA"), "354");
  expect(await peer.say(`${letter()}.`), "250 2.0.0 Queued");
  peer.close();
});

const SENDERS = [
  ["with SPF none", "none.test. A 127.0.0.2", "carol@none.test"],
  ["with SPF neutral", 'none.test. TXT "v=spf1 ?all"', "carol@none.test"],
  ["with SPF softfail", 'none.test. TXT "v=spf1 ~all"', "carol@none.test"],
  ["with SPF permerror", 'none.test. TXT "v=spf1 nonsense"', "carol@none.test"],
  ["whose DNS fails", "none.test. BEHAVE servfail", "carol@none.test"],
  ["whose domain does not exist", "", "carol@missing.test"],
] as const;

for (const [name, zone, sender] of SENDERS) {
  Deno.test(`a sender ${name} is taken, again and again, and locks nobody out`, async () => {
    await using server = await LocalServer.open({ zone: `remote.test. A 127.0.0.2\n${zone}` });
    for (let time = 0; time < 4; time++) await assertWelcome(server, sender);
  });
}

const HOSTS = [
  ["without PTR", ""],
  ["whose PTR is another name", "1.0.0.127.in-addr.arpa. PTR elsewhere.test."],
  ["whose reverse zone fails", "1.0.0.127.in-addr.arpa. BEHAVE servfail"],
  ["whose reverse zone is silent", "1.0.0.127.in-addr.arpa. BEHAVE silent"],
] as const;

for (const [name, zone] of HOSTS) {
  Deno.test(`a host ${name} is welcome under whatever name it gives`, async () => {
    await using server = await LocalServer.open({ zone: `remote.test. A 127.0.0.2\n${zone}` });
    for (const hello of ["mx.remote.test", "nowhere.test", "localhost", "[127.0.0.1]", "WIN-4711"]) {
      const peer = await SmtpPeer.call(server.port("mx"));
      expect(await peer.lastLine(), "220");
      expect(await peer.say(`EHLO ${hello}`), "250");
      expect(await send(peer, "carol@remote.test", [ANN.address], letter()), "250 2.0.0 Queued");
      peer.close();
    }
    await assertWelcome(server, "carol@remote.test");
  });
}

Deno.test("a user who mistypes the password twice and then gets it right is never locked out, nor are others there", async () => {
  await using server = await LocalServer.open();
  for (let day = 0; day < 3; day++) {
    const client = await server.client();
    for (let time = 0; time < 2; time++) {
      expect(await client.say(`AUTH PLAIN ${plain(ANN.address, "Tulip-7 gardne")}`), "535 5.7.8");
    }
    expect(await client.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "235");
    client.close();
  }
  await assertWelcome(server, "carol@remote.test");
});

Deno.test("failed logins keep out nobody's mail, not even that of the host that failed", async () => {
  await using server = await LocalServer.open();
  const client = await server.client();
  for (let time = 0; time < 3; time++) {
    expect(await client.say(`AUTH PLAIN ${plain(ANN.address, "wrong")}`), "535 5.7.8");
  }
  client.close();
  const peer = await server.outside();
  expect(await send(peer, "carol@remote.test", [ANN.address], letter("Hello.\r\n", "carol@remote.test")), "250 2.0.0");
  peer.close();
});
