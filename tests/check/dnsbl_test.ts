import assert from "node:assert/strict";
import { checkDnsbl, type Listing } from "../../src/check/dnsbl.ts";
import { addressRecord } from "../support/dns_scripted.ts";
import { withRecords } from "../support/name_servers.ts";

const LIST = { zone: "bl.test", weight: 4 }, IPV6 = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";

function a(labels: string, ...data: readonly string[]) {
  return data.map((one) => addressRecord(`${labels}.bl.test`, one));
}

const RECORDS = [
  ...a("7.2.0.192", "127.0.0.2"),
  ...a("8.2.0.192", "127.255.255.254"),
  ...a("9.2.0.192", "127.0.0.4", "127.255.255.255"),
  // Lists that are gone are parked: what they answer with is no listing.
  ...a("10.2.0.192", "203.0.113.1"),
  ...a(IPV6, "127.0.0.10", "127.0.0.3"),
];

Deno.test("a list says listed, not listed, or nothing that counts", async () => {
  const cases: readonly (readonly [host: string, result: Listing["result"], found: RegExp])[] = [
    ["192.0.2.7", "listed", /^127\.0\.0\.2$/],
    ["::ffff:192.0.2.7", "listed", /./],
    ["64:ff9b::c000:207", "listed", /./],
    ["2002:c000:207::1", "listed", /./],
    ["2001:db8::7", "listed", /127\.0\.0\.10.*127\.0\.0\.3|127\.0\.0\.3.*127\.0\.0\.10/],
    ["192.0.2.1", "clean", /not listed/],
    ["2001:db8::8", "clean", /not listed/],
    ["192.0.2.10", "clean", /203\.0\.113\.1/],
    ["192.0.2.8", "temperror", /refuses to answer us: 127\.255\.255\.254/],
    ["192.0.2.9", "temperror", /refuses/],
    ["192.0.2.11", "temperror", /./],
  ];
  await withRecords(RECORDS, async (dns) => {
    for (const [host, result, found] of cases) {
      const [listing, ...more] = await checkDnsbl(host, [LIST], dns, AbortSignal.timeout(5_000));
      assert.deepEqual(more, []);
      assert.deepEqual([listing?.zone, listing?.weight, listing?.result], ["bl.test", 4, result], host);
      assert.match(listing?.found ?? "", found);
    }
    assert.deepEqual(await checkDnsbl("no address", [LIST], dns, AbortSignal.timeout(100)), []);
    assert.deepEqual(await checkDnsbl("192.0.2.7", [], dns, AbortSignal.timeout(100)), []);
  }, { "11.2.0.192.bl.test": { does: "servfail" } });
});

Deno.test("lists are asked at once, and a silent one hides nothing that another says", async () => {
  await withRecords(RECORDS, async (dns) => {
    const lists = [{ zone: "slow.test", weight: 1 }, LIST, { zone: "none.test", weight: 2 }], began = performance.now();
    const said = await checkDnsbl("192.0.2.7", lists, dns, AbortSignal.timeout(200));
    assert.deepEqual(said.map(({ zone, result }) => `${zone} ${result}`), [
      "slow.test temperror",
      "bl.test listed",
      "none.test clean",
    ]);
    assert.ok(performance.now() - began < 1000);
  }, { "7.2.0.192.slow.test": { does: "silent" } });
});
