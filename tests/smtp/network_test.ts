import assert from "node:assert/strict";
import { asSeen, formatIp, isIn, parseIp, parseNetwork, plainIp } from "../../src/smtp/network.ts";

const SAME: readonly [text: string, plain: string][] = [
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::ffff:c000:201", "192.0.2.1"],
  ["::", "::"],
  ["::1", "::1"],
  ["1::", "1::"],
  ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["2001:db8::1:0:0:1", "2001:db8::1:0:0:1"],
  ["fe80::1%eth0", "fe80::1"],
  ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
  ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
  ["0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"],
];

Deno.test("an address has one plain form", () => {
  for (const [text, plain] of SAME) {
    assert.equal(plainIp(text), plain, text);
    assert.deepEqual(parseIp(plain), parseIp(text), text);
  }
});

Deno.test("what is no address is none", () => {
  for (
    const text of [
      "",
      "1.2.3",
      "1.2.3.256",
      "1.2.3.4.5",
      ":",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7:8:9",
      "g::",
      "1:2:3:4:5:6:7",
      "12345::",
      "::1.2.3",
      "localhost",
    ]
  ) {
    assert.equal(parseIp(text), undefined, text);
  }
});

Deno.test("networks hold their addresses, and families never mix", () => {
  const inside = (ip: string, network: string) => isIn(parseIp(ip)!, parseNetwork(network)!);
  assert.equal(inside("10.1.2.3", "10.0.0.0/8"), true);
  assert.equal(inside("11.1.2.3", "10.0.0.0/8"), false);
  assert.equal(inside("::ffff:10.1.2.3", "10.0.0.0/8"), true);
  assert.equal(inside("2001:db8:ffff::1", "2001:db8::/32"), true);
  assert.equal(inside("2001:db9::1", "2001:db8::/32"), false);
  assert.equal(inside("::1", "0.0.0.0/0"), false);
  assert.equal(inside("192.0.2.1", "192.0.2.1"), true);
  assert.equal(parseNetwork("10.0.0.0/33"), undefined);
  assert.equal(parseNetwork("10.0.0.0/8/8"), undefined);
  assert.equal(formatIp(parseNetwork("10.1.2.3/8")!), "10.0.0.0");
});

Deno.test("an IPv4 address inside an IPv6 one is the one that counts", () => {
  const seen = (text: string) => formatIp(asSeen(parseIp(text)!));
  assert.equal(seen("::ffff:192.0.2.7"), "192.0.2.7");
  assert.equal(seen("64:ff9b::192.0.2.7"), "192.0.2.7");
  assert.equal(seen("64:ff9b::c000:207"), "192.0.2.7");
  assert.equal(seen("2002:c000:207::1"), "192.0.2.7");
  assert.equal(seen("2002:c000:207:ffff:1:2:3:4"), "192.0.2.7");
  for (const plain of ["192.0.2.7", "2001:db8::1", "64:ff9b:1::c000:207", "2003:c000:207::1"]) {
    assert.equal(seen(plain), plain);
  }
});
