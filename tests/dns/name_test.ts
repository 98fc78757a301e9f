import assert from "node:assert/strict";
import { isHostName, isSameAddress, parseName, reverseLabels, reverseName } from "../../src/dns/name.ts";

Deno.test("a name is asked for in lower case and without its final dot", () => {
  assert.equal(parseName("Mail.Example.TEST."), "mail.example.test");
  assert.equal(parseName("_25._tcp.mx"), "_25._tcp.mx");
  assert.equal(parseName("a b+c=d!.test"), "a b+c=d!.test");
});

Deno.test("a name may have labels of 63 and 253 characters in all, and no more", () => {
  const label = "x".repeat(63), longest = `${label}.${label}.${label}.${"x".repeat(61)}`;
  assert.equal(parseName(longest), longest);
  assert.equal(parseName(`${longest}.`), longest);
  for (
    const name of [`${longest}x`, `x${label}`, "", ".", "..", "a..b", ".a", "a..", "ä.test", "a\0.test", "a\n.test"]
  ) {
    assert.equal(parseName(name), undefined, JSON.stringify(name));
  }
});

Deno.test("a host name has nothing that could break a header", () => {
  for (const name of ["mx.test", "_dmarc.test", "xn--4ca.test", "192.0.2.1"]) assert.ok(isHostName(name), name);
  for (const name of ["", "MX.test", "a b.test", "a\r\n.test", "(a).test", "a;b", "mx.test."]) {
    assert.ok(!isHostName(name), JSON.stringify(name));
  }
});

Deno.test("an address is reversed as RFC 1035 §3.5 and RFC 3596 §2.5 say", () => {
  assert.equal(reverseName("192.0.2.1"), "1.2.0.192.in-addr.arpa");
  assert.equal(
    reverseName("2001:db8::567:89AB"),
    "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
  );
  assert.equal(reverseName("::1"), `1.${"0.".repeat(31)}ip6.arpa`);
  assert.equal(reverseName("::"), `${"0.".repeat(32)}ip6.arpa`);
  assert.equal(reverseName("1:2:3:4:5:6:7:8")?.slice(0, 16), "8.0.0.0.7.0.0.0.");
});

Deno.test("an IPv4-mapped address is the IPv4 address inside", () => {
  assert.equal(reverseLabels("::ffff:192.0.2.1"), "1.2.0.192");
  assert.equal(reverseLabels("::FFFF:c000:201"), "1.2.0.192");
});

Deno.test("what is not an address has no reverse name", () => {
  for (
    const text of ["", "1.2.3", "1.2.3.256", "1.2.3.4.5", "0x7f.0.0.1", "::1::", "fe80::1%eth0", "1:2:3", "]", "a"]
  ) {
    assert.equal(reverseName(text), undefined, text);
  }
});

Deno.test("two notations of one address are the same", () => {
  assert.ok(isSameAddress("2001:DB8:0:0::1", "2001:db8::1"));
  assert.ok(isSameAddress("fe80::1%eth0", "fe80::1"));
  assert.ok(!isSameAddress("192.0.2.1", "192.0.2.10"));
  assert.ok(!isSameAddress("", ""));
});
