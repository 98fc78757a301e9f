/**
 * The program as others meet it: started as it is in earnest, spoken to by other people's mail clients, delivering to
 * other people's servers, read by other people's verifiers. What Debian package a test wants for and does not find, it
 * says in a line, and is skipped.
 */

import assert from "node:assert/strict";
import { tryCurl } from "./interoperability/curl.ts";
import { openDelivering, tryDelivery } from "./interoperability/delivery.ts";
import { tryDkim } from "./interoperability/dkim.ts";
import { tryEnding } from "./interoperability/ending.ts";
import { tryMsmtp } from "./interoperability/msmtp.ts";
import { tryOpenssl } from "./interoperability/openssl.ts";
import { ANN, PASSWORD, PostOffice } from "./interoperability/post_office.ts";
import { tryPython } from "./interoperability/python.ts";
import { trySwaks } from "./interoperability/swaks.ts";

/** What clients submit to the first is captured; what the second takes goes to other servers. */
let clients: PostOffice | undefined, sender: PostOffice | undefined;

Deno.test.beforeAll(async () => {
  clients = await PostOffice.open({
    listeners: [
      { kind: "mx" },
      { kind: "submission" },
      { kind: "submissions" },
      { kind: "mx", more: 'proxy_protocol_from = ["127.0.0.0/8"]' },
    ],
    outbound: 'route = "capture"',
    people: ["bob@dev.test", "jürgen@dev.test"],
    zone: 'proxied.test. TXT "v=spf1 ip4:192.0.2.77 -all"',
    dkim: true,
  });
  sender = await openDelivering();
});

Deno.test.afterAll(async () => {
  await Promise.all([clients?.close(), sender?.close()]);
});

function there(office: PostOffice | undefined): PostOffice {
  if (office === undefined) throw new Error("the server did not start");
  return office;
}

const office = () => there(clients);

trySwaks(office);
tryCurl(office);
tryMsmtp(office);
tryOpenssl(office);
tryPython(office);
tryDkim(office);
tryDelivery(() => there(sender));
tryEnding();

Deno.test("after all this no password stands in the log, and nothing in it is an error", () => {
  for (const { server } of [there(clients), there(sender)]) {
    const secrets = [PASSWORD, btoa(PASSWORD), btoa(`\0${ANN}\0${PASSWORD}`)];
    assert.deepEqual(server.log.filter((line) => secrets.some((secret) => line.includes(secret))), []);
    assert.deepEqual(server.log.filter((line) => !/^\S+ (debug|info|warning) /.test(line)), []);
    assert.ok(server.log.length > 10);
  }
});
