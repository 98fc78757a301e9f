import assert from "node:assert/strict";
import { isLoopback, parseAddress, parseEndpoint, parseNetwork } from "../../src/config/network.ts";

Deno.test("addresses are brought to their shortest form", () => {
  assert.equal(parseAddress("192.0.2.1"), "192.0.2.1");
  assert.equal(parseAddress("2001:DB8:0:0:0:0:0:1"), "2001:db8::1");
  assert.equal(parseAddress("::"), "::");
  assert.equal(parseAddress("::ffff:192.0.2.1"), "192.0.2.1");
  for (
    const text of [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "01.2.3.4",
      "1.2.3.4 ",
      "0x7f.0.0.1",
      "2130706433",
      ":::",
      "1::2::3",
      "12345::",
      "fe80::1%eth0",
      "[::1]",
      "g::1",
    ]
  ) assert.equal(parseAddress(text), undefined, text);
});

Deno.test("networks end where their prefix ends", () => {
  assert.deepEqual(parseNetwork("10.0.0.0/8"), { network: "10.0.0.0/8", exact: true });
  assert.deepEqual(parseNetwork("10.1.0.0/8"), { network: "10.0.0.0/8", exact: false });
  assert.deepEqual(parseNetwork("192.0.2.255/31"), { network: "192.0.2.254/31", exact: false });
  assert.deepEqual(parseNetwork("0.0.0.0/0"), { network: "0.0.0.0/0", exact: true });
  assert.deepEqual(parseNetwork("192.0.2.1/32"), { network: "192.0.2.1/32", exact: true });
  assert.deepEqual(parseNetwork("2001:db8:ff00::/33"), { network: "2001:db8:8000::/33", exact: false });
  assert.deepEqual(parseNetwork("::/0"), { network: "::/0", exact: true });
  for (const text of ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "/8", "10.0.0.0/8/8", "a/8"]) {
    assert.equal(parseNetwork(text), undefined, text);
  }
});

Deno.test("endpoints are a host and a port", () => {
  assert.deepEqual(parseEndpoint("[::]:25"), { hostname: "::", port: 25 });
  assert.deepEqual(parseEndpoint("127.0.0.1:0"), { hostname: "127.0.0.1", port: 0 });
  assert.deepEqual(parseEndpoint("MX.example.com:65535"), { hostname: "mx.example.com", port: 65535 });
  for (
    const text of [
      "",
      ":25",
      "25",
      "::1:25",
      "[127.0.0.1]:25",
      "[::1]",
      "[::1]25",
      "a:b",
      "a:65536",
      "a b:25",
      "1.2.3:25",
    ]
  ) {
    assert.equal(parseEndpoint(text), undefined, text);
  }
});

Deno.test("loopback is this machine only", () => {
  for (const host of ["127.0.0.1", "127.255.0.1", "::1", "localhost"]) assert.ok(isLoopback(host), host);
  for (const host of ["::", "0.0.0.0", "128.0.0.1", "127.example.com", "localhost.example.com"]) {
    assert.ok(!isLoopback(host), host);
  }
});
