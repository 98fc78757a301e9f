import assert from "node:assert/strict";
import { publicAddresses } from "../../src/doctor/addresses.ts";
import { formatZone, type PublishedRecord, recordsOf } from "../../src/doctor/records.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { generateDkimKey } from "../../src/send/dkim_key.ts";

const PEMS = await Promise.all([generateDkimKey("rsa"), generateDkimKey("ed25519")]);
const WANTED = {
  hostname: "mail.example.com",
  addresses: ["203.0.113.7", "2001:db8::7"],
  domains: [{ name: "example.com", dkim: PEMS.map((pem, index) => ({ selector: `s${index}`, pem })) }],
};

const kindsOf = (records: readonly PublishedRecord[]) => records.map(({ name, type }) => `${name} ${type}`);

Deno.test("the records are those that mail needs, each once", () => {
  assert.deepEqual(kindsOf(recordsOf(WANTED)), [
    "mail.example.com A",
    "mail.example.com AAAA",
    "7.113.0.203.in-addr.arpa PTR",
    `${"7" + ".0".repeat(23)}.8.b.d.0.1.0.0.2.ip6.arpa PTR`,
    "mail.example.com TXT",
    "example.com MX",
    "example.com TXT",
    "s0._domainkey.example.com TXT",
    "s1._domainkey.example.com TXT",
    "_dmarc.example.com TXT",
  ]);
  // A domain that is also our name has one SPF record, not two.
  const same = recordsOf({ ...WANTED, hostname: "example.com" });
  assert.deepEqual(same.filter(({ value }) => value.startsWith("v=spf1")).map(({ value }) => value), [
    "v=spf1 mx -all",
  ]);
});

Deno.test("the zone form is read by our own reader as the records that it came from", () => {
  const records = recordsOf(WANTED).filter(({ type }) => type !== "PTR");
  const { names } = parseZone(formatZone(recordsOf(WANTED)));
  const read = [...names.values()].flat().map(({ name, type, data }) => {
    if (type === "MX") return `${name} ${type} ${data.preference} ${data.exchange}`;
    return `${name} ${type} ${String(data)}`;
  });
  assert.deepEqual(read.sort(), records.map(({ name, type, value }) => `${name} ${type} ${value}`).sort());
});

/** Programs of Debian that load a zone as name servers do: what they are called with, before the file. */
const CHECKERS: readonly (readonly [string, ...string[]])[] = [
  ["named-checkzone", "example.com"],
  ["nsd-checkzone", "example.com"],
  ["ldns-read-zone"],
];

for (const [program, ...args] of CHECKERS) {
  Deno.test(`the zone form is accepted by ${program}, when it is installed`, async () => {
    const file = await Deno.makeTempFile({ suffix: ".zone" });
    try {
      const head = "$ORIGIN example.com.\n$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ IN NS ns1\n" +
        "ns1 IN A 203.0.113.53\n";
      await Deno.writeTextFile(file, `${head}${formatZone(recordsOf(WANTED))}\n`);
      const { success, stdout, stderr } = await new Deno.Command(program, { args: [...args, file] }).output();
      const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assert.ok(success, said);
      assert.doesNotMatch(said, /warning|out.of.zone/i);
      // One that prints what it has read has read all of it.
      if (program === "ldns-read-zone") {
        for (const { name } of recordsOf(WANTED)) {
          if (!name.endsWith(".arpa")) assert.ok(said.includes(`${name}.`), name);
        }
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      console.log(`skipped: ${program} is not installed`);
    } finally {
      await Deno.remove(file);
    }
  });
}

Deno.test("public addresses are those that last and can be reached", () => {
  const mac = "02:fc:00:00:00:01";
  const faces = (...addresses: string[]) => addresses.map((address) => ({ name: "eth0", address, mac }));
  for (
    const [given, found] of [
      [
        [
          "127.0.0.1",
          "::1",
          "10.0.0.1",
          "192.168.1.2",
          "172.20.0.1",
          "100.64.0.1",
          "169.254.1.1",
          "fe80::1",
          "fd00::2",
        ],
        [],
      ],
      [["2001:db8::7", "203.0.113.7", "203.0.113.7"], ["203.0.113.7", "2001:db8::7"]],
      // Beside one that was made from the MAC address, or written by hand, the others are temporary.
      [["2001:db8::fc:ff:fe00:1", "2001:db8::8d1c:33ff:1f2e:9abc"], ["2001:db8::fc:ff:fe00:1"]],
      [["2001:db8::8d1c:33ff:1f2e:9abc", "2001:db8::25"], ["2001:db8::25"]],
      [["2001:db8::8d1c:33ff:1f2e:9abc", "2001:db8:1::25"], ["2001:db8::8d1c:33ff:1f2e:9abc", "2001:db8:1::25"]],
      [["2001:db8::8d1c:33ff:1f2e:9abc"], ["2001:db8::8d1c:33ff:1f2e:9abc"]],
    ] as const
  ) {
    assert.deepEqual(publicAddresses(faces(...given)), found);
  }
});
