import assert from "node:assert/strict";
import { behaviourAt, lookIn, type Zone } from "../../src/sandbox/zone.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";

const ZONE = parseZone(`
; the names of a test
$ORIGIN Example.TEST.
$TTL 60
@            SOA ns hostmaster 1 2 3 4 5   ; on one line
             NS ns
             10 IN MX 5 mail
mail         A 192.0.2.1
             AAAA 2001:db8::1
text         TXT "semicolon; and \\"quotes\\"" " \\092 and \\065" plain
*.wild       A 192.0.2.2
host.wild    TXT "I am here"
deep.empty.wild A 192.0.2.3
alias        CNAME mail
far          CNAME elsewhere.test.
one          CNAME two
two          CNAME one
_25._tcp.mail TLSA 3 1 1 00FF
             TLSA 3 1 1 01 02
$ORIGIN .
other.test   A 192.0.2.4
late.test    BEHAVE late 2000
*.slow.test  BEHAVE silent
x.slow.test  BEHAVE servfail
`);

const data = (name: string, type: string, zone: Zone = ZONE) =>
  lookIn(zone, name, type).records.map((record) => record.data);

Deno.test("a zone file is read with its origins, TTLs, comments and lines without a name", () => {
  assert.deepEqual(lookIn(ZONE, "example.test", "MX").records, [
    { name: "example.test", ttl: 10, type: "MX", data: { preference: 5, exchange: "mail.example.test" } },
  ]);
  assert.deepEqual(data("example.test", "NS"), ["ns.example.test"]);
  assert.deepEqual(data("mail.example.test", "AAAA"), ["2001:db8::1"]);
  assert.deepEqual(lookIn(ZONE, "other.test", "A").records, [
    { name: "other.test", ttl: 60, type: "A", data: "192.0.2.4" },
  ]);
  assert.deepEqual(
    lookIn(ZONE, "_25._tcp.mail.example.test", "TLSA").records.map((record) =>
      record.type === "TLSA" && record.data.data
    ),
    [Uint8Array.of(0, 255), Uint8Array.of(1, 2)],
  );
});

Deno.test("quoted strings keep semicolons, blanks and escaped signs, and are joined", () => {
  assert.deepEqual(data("text.example.test", "TXT"), ['semicolon; and "quotes" \\ and Aplain']);
});

Deno.test("a name without the type has no data; a name between two others exists; all else does not", () => {
  const outcome = (name: string, type: string) => {
    const { exists, records, soa } = lookIn(ZONE, name, type);
    return [exists, records.length, soa?.name];
  };
  assert.deepEqual(outcome("mail.example.test", "TXT"), [true, 0, "example.test"]);
  assert.deepEqual(outcome("_tcp.mail.example.test", "A"), [true, 0, "example.test"]);
  assert.deepEqual(outcome("missing.example.test", "A"), [false, 0, "example.test"]);
  assert.deepEqual(outcome("x.mail.example.test", "A"), [false, 0, "example.test"]);
  assert.deepEqual(outcome("test", "A"), [true, 0, undefined]);
  assert.deepEqual(outcome("elsewhere.test", "A"), [false, 0, undefined]);
  assert.deepEqual(outcome("mail.example.test", "UNKNOWN_65"), [true, 0, "example.test"]);
});

Deno.test("a wildcard stands for what does not exist below the closest name that does", () => {
  assert.deepEqual(lookIn(ZONE, "any.wild.example.test", "A").records, [
    { name: "any.wild.example.test", ttl: 60, type: "A", data: "192.0.2.2" },
  ]);
  assert.deepEqual(data("a.b.wild.example.test", "A"), ["192.0.2.2"]);
  assert.deepEqual([data("any.wild.example.test", "TXT"), lookIn(ZONE, "any.wild.example.test", "TXT").exists], [
    [],
    true,
  ]);
  // Each of these exists, or has a closer name above it that does.
  assert.deepEqual(data("host.wild.example.test", "A"), []);
  assert.deepEqual(data("empty.wild.example.test", "A"), []);
  assert.equal(lookIn(ZONE, "x.empty.wild.example.test", "A").exists, false);
  assert.equal(lookIn(ZONE, "wild.example.test", "A").exists, true);
});

Deno.test("a CNAME is handed out with what it leads to", () => {
  assert.deepEqual(data("alias.example.test", "A"), ["mail.example.test", "192.0.2.1"]);
  assert.deepEqual(data("alias.example.test", "CNAME"), ["mail.example.test"]);
  const { exists, records } = lookIn(ZONE, "far.example.test", "A");
  assert.deepEqual([exists, records.length], [false, 1]);
  assert.deepEqual(data("one.example.test", "A"), ["two.example.test", "one.example.test"]);
});

Deno.test("a name behaves as its own line says, or that of a wildcard above it", () => {
  assert.deepEqual(behaviourAt(ZONE, "late.test"), { does: "late", milliseconds: 2000 });
  assert.deepEqual(behaviourAt(ZONE, "a.b.slow.test"), { does: "silent" });
  assert.deepEqual(behaviourAt(ZONE, "x.slow.test"), { does: "servfail" });
  assert.equal(behaviourAt(ZONE, "slow.test"), undefined);
});

Deno.test("a zone has no name that only JavaScript knows", () => {
  for (const name of ["__proto__", "constructor", "tostring"]) assert.equal(lookIn(ZONE, name, "A").exists, false);
});

for (
  const [line, why] of [
    ["x.test. A 300.0.0.1", /line 2.*not an address of type A/],
    ["x.test. AAAA 192.0.2.1", /not an address of type AAAA/],
    ["x.test. MX 70000 mx.test.", /not a number from 0 to 65535/],
    ["x.test. MX 10", /something is missing/],
    ['x.test. MX 10 "mx.test."', /something is missing/],
    ["x.test. SRV 1 2 3 x.test.", /"SRV" is not a type/],
    ["x.test.", /"" is not a type/],
    ["a..test. A 192.0.2.1", /"a..test." is not a name/],
    ["  A 192.0.2.1", /needs a line with a name before it/],
    ['x.test. TXT "open', /quotation mark without its partner/],
    ["x.test. TXT", /at least one string/],
    [`x.test. TXT "${"x".repeat(65_001)}"`, /at most 65000 octets/],
    ["x.test. TLSA 3 1 1 0ff", /hexadecimal/],
    ["x.test. BEHAVE oddly", /"oddly" is not a behaviour/],
    ["x.test. BEHAVE late", /something is missing/],
  ] as const
) {
  Deno.test(`a zone file is refused for ${line.slice(0, 40).trim()}`, () => {
    assert.throws(() => parseZone(`\n${line}`), why);
  });
}
