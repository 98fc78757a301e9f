import assert from "node:assert/strict";
import { parseProxyHeader, type ProxyHeader } from "../../src/accept/proxy.ts";
import { parseNetwork } from "../../src/smtp/network.ts";
import { bytesOf, everyCut, joined } from "../support/every_cut.ts";
import { openFront } from "../support/front.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";

const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";

/** Version 2: version and command, family and protocol, then the addresses with the right length in front. */
function v2(command: number, family: number, rest: string, length = rest.length): string {
  return SIGNATURE + String.fromCharCode(command, family, length >> 8, length & 255) + rest;
}

const V4 = "\xc0\x00\x02\x01" + "\xc0\x00\x02\x02" + "\x10\x00" + "\x00\x19";
const V6 = "\x20\x01\x0d\xb8" + "\0".repeat(11) + "\x01" + "\0".repeat(15) + "\x02" + "\x10\x00" + "\x00\x19";
const MAPPED = "\0".repeat(10) + "\xff\xff\xc0\x00\x02\x01" + "\0".repeat(16) + "\x10\x00" + "\x00\x19";

const RIGHT: readonly [name: string, header: string, source?: { host: string; port: number }][] = [
  ["version 1, IPv4", "PROXY TCP4 192.0.2.1 192.0.2.2 4096 25\r\n", { host: "192.0.2.1", port: 4096 }],
  ["version 1, IPv6", "PROXY TCP6 2001:DB8:0::1 2001:db8::2 4096 25\r\n", { host: "2001:db8::1", port: 4096 }],
  ["version 1, IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n", { host: "192.0.2.1", port: 1 }],
  ["version 1, UNKNOWN", "PROXY UNKNOWN\r\n"],
  ["version 1, UNKNOWN with more", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"],
  ["version 2, IPv4", v2(0x21, 0x11, V4), { host: "192.0.2.1", port: 4096 }],
  ["version 2, IPv6", v2(0x21, 0x21, V6), { host: "2001:db8::1", port: 4096 }],
  ["version 2, IPv4 in IPv6", v2(0x21, 0x21, MAPPED), { host: "192.0.2.1", port: 4096 }],
  ["version 2, IPv4 with further fields", v2(0x21, 0x11, `${V4}\x04\0\x03abc`), { host: "192.0.2.1", port: 4096 }],
  ["version 2, LOCAL", v2(0x20, 0x00, "")],
  ["version 2, LOCAL with addresses", v2(0x20, 0x11, V4)],
];

for (const [name, header, source] of RIGHT) {
  Deno.test(`PROXY header: ${name}, complete with its last byte and not before`, () => {
    const bytes = bytesOf(header), behind = bytesOf("EHLO x\r\n");
    const wanted = { is: "complete", used: bytes.length, ...(source && { source }) };
    everyCut(bytes, (pieces) => {
      let fed: Uint8Array = new Uint8Array(0), found: ProxyHeader = parseProxyHeader(fed);
      for (const piece of pieces) {
        assert.deepEqual(found, { is: "unfinished" });
        fed = joined([fed, piece]);
        found = parseProxyHeader(fed);
      }
      assert.deepEqual(found, wanted);
    });
    assert.deepEqual(parseProxyHeader(joined([bytes, behind])), wanted);
  });
}

const WRONG: readonly [name: string, header: string][] = [
  ["SMTP", "EHLO client.test\r\n"],
  ["TLS", "\x16\x03\x01"],
  ["lower case", "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"],
  ["UDP", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"],
  ["an address that is none", "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"],
  ["a target that is none", "PROXY TCP4 192.0.2.1 there 1 2\r\n"],
  ["IPv6 as TCP4", "PROXY TCP4 ::1 ::1 1 2\r\n"],
  ["IPv4 as TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"],
  ["a port that is none", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"],
  ["a target port that is none", "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"],
  ["a negative port", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"],
  ["two blanks", "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"],
  ["too few words", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"],
  ["LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"],
  ["a line within a line", "PROXY UNKNOWN\r\r\n"],
  ["no end within 107 octets", `PROXY UNKNOWN ${"x".repeat(100)}`],
  ["version 3", v2(0x31, 0x11, V4)],
  ["version 1 in binary", v2(0x11, 0x11, V4)],
  ["an unknown command", v2(0x22, 0x11, V4)],
  ["addresses that are too short", v2(0x21, 0x11, V4.slice(1))],
  ["IPv6 addresses that are too short", v2(0x21, 0x21, V6.slice(1))],
  ["a datagram", v2(0x21, 0x12, V4)],
  ["a unix socket", v2(0x21, 0x31, "\0".repeat(216))],
  ["no address at all", v2(0x21, 0x00, "")],
  ["a length of 64 KiB", v2(0x21, 0x11, V4, 65535)],
];

for (const [name, header] of WRONG) {
  Deno.test(`PROXY header: ${name} is invalid`, () => {
    assert.deepEqual(parseProxyHeader(bytesOf(header)), { is: "invalid" });
  });
}

Deno.test("PROXY header: half a version 2 signature and then something else is invalid", () => {
  for (let length = 1; length < SIGNATURE.length; length++) {
    const start = SIGNATURE.slice(0, length);
    assert.deepEqual(parseProxyHeader(bytesOf(start)), { is: "unfinished" });
    assert.deepEqual(parseProxyHeader(bytesOf(`${start}x`)), { is: "invalid" }, JSON.stringify(start));
  }
});

const LOOPBACK = parseNetwork("127.0.0.0/8")!;

Deno.test("a configured proxy says where the call comes from, in any pieces", async () => {
  const front = openFront({ proxies: [LOOPBACK] });
  for (const [, header, source] of RIGHT) {
    const peer = await SmtpPeer.call(front.port);
    await peer.send(header.slice(0, 5));
    await peer.send(header.slice(5));
    assert.match(await peer.lastLine(), /^220 /);
    assert.match(await peer.say("EHLO client.test"), /^250 /);
    assert.equal(front.callers.at(-1)?.host, source?.host ?? "127.0.0.1");
    peer.close();
  }
  await front.close();
});

Deno.test("what a proxy sends in one piece with its header is the client's", async () => {
  const front = openFront({ proxies: [LOOPBACK], limits: { greetDelay: 500 } });
  const peer = await SmtpPeer.call(front.port);
  await peer.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nEHLO client.test\r\n");
  assert.match(await peer.lastLine(), /^554 5\.5\.1 /);
  assert.equal(await peer.reply(), undefined);
  peer.close();
  await front.close();
});

Deno.test("implicit TLS begins behind the PROXY header", async () => {
  const front = openFront({ kind: "submissions", proxies: [LOOPBACK] });
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: front.port });
  await conn.write(bytesOf("PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n"));
  const peer = new SmtpPeer(conn);
  await peer.startTls();
  assert.match(await peer.lastLine(), /^220 /);
  assert.equal(front.callers[0]?.host, "192.0.2.1");
  peer.close();
  await front.close();
});

Deno.test("a configured proxy that says nothing of the kind is not let in", async () => {
  const front = openFront({ proxies: [LOOPBACK] });
  const peer = await SmtpPeer.call(front.port);
  await peer.send("EHLO client.test\r\n");
  assert.equal(await peer.rest(), "");
  assert.equal(front.callers.length, 0);
  peer.close();
  await front.close();
});

Deno.test("nobody else may say where a call comes from", async () => {
  const front = openFront({ proxies: [parseNetwork("192.0.2.0/24")!] });
  for (const header of ["PROXY TCP4 192.0.2.9 192.0.2.2 1 25\r\n", v2(0x21, 0x11, V4)]) {
    const peer = await SmtpPeer.call(front.port);
    assert.match(await peer.lastLine(), /^220 /);
    await peer.send(header);
    assert.match(await peer.lastLine(), /^5/);
    assert.equal(front.callers.at(-1)?.host, "127.0.0.1");
    peer.close();
  }
  await front.close();
});
