import assert from "node:assert/strict";
import { checkHelo, type HeloFinding } from "../../src/check/helo.ts";
import { judgeHelo } from "../../src/check/verdict.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { formatReply } from "../../src/smtp/reply.ts";
import { expect } from "../support/letters.ts";
import { LocalServer } from "../support/local_server.ts";
import { withRecords } from "../support/name_servers.ts";
import { callFrom, PROXIED } from "../support/proxy_caller.ts";

const ZONE = parseZone(`
mail.remote.test.   A     192.0.2.7
                    A     192.0.2.8
                    AAAA  2001:db8::25
alias.remote.test.  CNAME mail.remote.test.
other.remote.test.  A     198.51.100.1
                    AAAA  2001:db8:99::1
many.remote.test.   A     198.51.100.1
                    A     198.51.100.2
                    A     198.51.100.3
                    A     198.51.100.4
v6only.remote.test. AAAA  2001:db8::25
text.remote.test.   TXT   "no address"
broken.remote.test. BEHAVE servfail
9.2.0.192.in-addr.arpa. PTR Other.Remote.test.
10.2.0.192.in-addr.arpa. BEHAVE servfail
$ORIGIN ${"0.".repeat(20)}8.b.d.0.1.0.0.2.ip6.arpa.
6.2.0.0             PTR   other.remote.test.
`);

const CASES: readonly (readonly [name: string, host: string, result: HeloFinding["result"], found?: RegExp])[] = [
  ["mail.remote.test", "192.0.2.7", "match"],
  ["MAIL.Remote.Test", "192.0.2.8", "match"],
  ["mail.remote.test.", "192.0.2.8", "match"],
  ["mail.remote.test", "::ffff:192.0.2.7", "match"],
  ["mail.remote.test", "64:ff9b::192.0.2.7", "match"],
  ["mail.remote.test", "2002:c000:207::1", "match"],
  ["mail.remote.test", "2001:DB8:0:0::25", "match"],
  ["alias.remote.test", "192.0.2.7", "match"],
  ["other.remote.test", "192.0.2.9", "match", /reverse zone/],
  ["OTHER.remote.test.", "192.0.2.9", "match", /reverse zone/],
  ["other.remote.test", "2001:db8::26", "match", /reverse zone/],
  [
    "other.remote.test",
    "192.0.2.7",
    "mismatch",
    /^other\.remote\.test is 198\.51\.100\.1, and 192\.0\.2\.7 is nameless$/,
  ],
  ["mail.remote.test", "192.0.2.9", "mismatch", /, and 192\.0\.2\.9 is other\.remote\.test$/],
  ["many.remote.test", "192.0.2.7", "mismatch", /is 198\.51\.100\.1, 198\.51\.100\.2, 198\.51\.100\.3, …, and/],
  ["other.remote.test", "2001:db8::25", "mismatch", /is 2001:db8:99::1/],
  // Nothing that could be compared.
  ["nowhere.remote.test", "192.0.2.7", "none", /^no such name/],
  ["text.remote.test", "192.0.2.7", "none", /^no data/],
  ["v6only.remote.test", "192.0.2.7", "none", /^no data/],
  ["localhost", "192.0.2.7", "none", /not a full name/],
  ["[999.1.1.1]", "192.0.2.7", "none"],
  ["[IPv6:::zz]", "192.0.2.7", "none"],
  ["mail.remote.test", "no address", "none"],
  // The resolver's trouble, whichever of the two questions it has.
  ["broken.remote.test", "192.0.2.7", "temperror"],
  ["other.remote.test", "192.0.2.10", "temperror"],
  // Literals.
  ["[192.0.2.7]", "192.0.2.7", "match"],
  ["[192.0.2.7]", "64:ff9b::192.0.2.7", "match"],
  ["[192.0.2.8]", "192.0.2.7", "mismatch"],
  ["[IPv6:2001:db8::25]", "2001:db8::25", "match"],
  ["[ipv6:2001:DB8:0::25]", "2001:db8::25", "match"],
  ["[IPv6:2001:db8::26]", "2001:db8::25", "mismatch"],
];

Deno.test("a name in HELO is compared with the address by what the DNS says of both", async () => {
  const records = [...ZONE.names.values()].flat();
  await withRecords(records, async (dns) => {
    for (const [name, host, result, found = /^/] of CASES) {
      const finding = await checkHelo(name, host, dns, AbortSignal.timeout(5_000));
      assert.equal(finding.result, result, `${name} from ${host}: ${JSON.stringify(finding)}`);
      assert.equal(finding.name, name);
      assert.match(finding.found, found);
    }
  }, Object.fromEntries(ZONE.behaviours));
});

Deno.test("a name server that is silent is temporary trouble, within the time that there is", async () => {
  await withRecords([], async (dns) => {
    const began = performance.now();
    assert.equal((await checkHelo("slow.test", "192.0.2.7", dns, AbortSignal.timeout(100))).result, "temperror");
    assert.ok(performance.now() - began < 1000);
  }, { "slow.test": { does: "silent" } });
});

Deno.test("only a definite mismatch is refused, and only when that is wanted", () => {
  const finding = (result: HeloFinding["result"]): HeloFinding => ({ result, name: "x".repeat(300), found: "y" });
  for (const result of ["match", "none", "temperror"] as const) {
    assert.equal(judgeHelo("reject", finding(result)), undefined);
  }
  assert.equal(judgeHelo("note", finding("mismatch")), undefined);
  assert.equal(judgeHelo("off", finding("mismatch")), undefined);
  const refused = judgeHelo("reject", finding("mismatch"));
  assert.equal(refused?.close, true);
  assert.deepEqual(refused.because, { rule: "helo", found: "y", setting: "checks.helo" });
  assert.ok(formatReply(refused).length < 512);
});

Deno.test("with checks.helo = reject a mismatch is told 550 5.7.25 and the call is over", async () => {
  const zone = "mail.remote.test. A 192.0.2.7\n";
  await using server = await LocalServer.open({ listeners: PROXIED, zone, checks: 'helo = "reject"' });
  for (const [host, begin, next] of [["192.0.2.7", "250", "250"], ["192.0.2.8", "550 5.7.25 ", "closed"]] as const) {
    const peer = await callFrom(server, host, "mx");
    expect(await peer.lastLine(), "220");
    expect(await peer.say("EHLO mail.remote.test"), begin);
    if (next === "closed") assert.equal(await peer.lastLine(), "closed");
    else expect(await peer.say("NOOP"), next);
    peer.close();
  }
});
