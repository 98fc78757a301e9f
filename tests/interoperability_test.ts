/**
 * The program as others meet it: started as it is in earnest, spoken to by other people's mail clients, delivering to
 * other people's servers, read by other people's verifiers. What Debian package a test wants for and does not find, it
 * says in a line, and is skipped.
 */

import { tryCurl } from "./interoperability/curl.ts";
import { PostOffice } from "./interoperability/post_office.ts";
import { openDelivering, tryDelivery } from "./interoperability/delivery.ts";
import { tryDkim } from "./interoperability/dkim.ts";
import { tryEnding } from "./interoperability/ending.ts";
import { tryMsmtp } from "./interoperability/msmtp.ts";
import { tryOpenssl } from "./interoperability/openssl.ts";
import { tryPython } from "./interoperability/python.ts";
import { trySwaks } from "./interoperability/swaks.ts";

let clients: PostOffice | undefined, sender: PostOffice | undefined;

Deno.test.beforeAll(async () => {
  // What clients submit is captured; what is to reach other servers goes by way of a second one.
  [clients, sender] = await Promise.all([
    PostOffice.open({
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
    }),
    openDelivering(),
  ]);
});

Deno.test.afterAll(async () => {
  await clients?.close();
  await sender?.close();
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
