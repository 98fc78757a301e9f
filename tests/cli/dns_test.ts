import assert from "node:assert/strict";
import { dns } from "../../src/cli/dns.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { type Site, withSite } from "./typed.ts";

const told = ({ type }: Site, ...line: string[]) => type(["dns", ...line], { commands: [dns] });

Deno.test("dns prints the same records as a table, as a zone and as JSON", async () => {
  await withSite(async (site) => {
    const addresses = ["--address", "203.0.113.7", "--address", "2001:DB8:0::7", "--address", "203.0.113.7"];
    const table = await told(site, ...addresses);
    assert.equal(table.code, 0, table.error);
    assert.match(table.out, /^ours\.test +MX +10 mail\.ours\.test$/m);
    assert.match(table.out, /^mail\.ours\.test +AAAA +2001:db8::7$/m);
    assert.match(table.out, /whoever gave you the address:\n\nNAME +TYPE +VALUE\n7\.113\.0\.203\.in-addr\.arpa +PTR/);
    assert.match(table.error, /ours\.test has no DKIM key .*make one with maildemon dkim keygen ours\.test/);

    const zone = await told(site, ...addresses, "--format", "zone");
    assert.deepEqual([...parseZone(zone.out).names.keys()].sort(), [
      "_dmarc.ours.test",
      "mail.ours.test",
      "ours.test",
      "test",
    ]);
    const json = JSON.parse((await told(site, ...addresses, "--format", "json")).out);
    assert.equal(json.filter(({ type }: { type: string }) => type === "A").length, 1);
    for (const { name, value, purpose, where } of json) {
      assert.ok(table.out.includes(value) && zone.out.includes(name), name);
      assert.ok(purpose.length > 10 && where.startsWith("at "));
    }
  });
});

Deno.test("dns refuses domains that are not ours and addresses that are none", async () => {
  await withSite(async (site) => {
    const strange = await told(site, "else.test", "--address", "203.0.113.7");
    assert.deepEqual([strange.code, strange.error], [1, "The config has no domain else.test; it has ours.test.\n"]);
    for (
      const wrong of [["[192.0.2.1]"], ["--address", "203.0.113.700"], ["--address", "fe80::1%eth0"], ["--format", "x"]]
    ) {
      assert.equal((await told(site, ...wrong)).code, 2, wrong.join(" "));
    }
    assert.equal((await told(site, "OURS.test", "--address", "203.0.113.7")).code, 0);
  });
});
