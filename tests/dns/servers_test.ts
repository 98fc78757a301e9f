import assert from "node:assert/strict";
import { formatServer, parseResolvConf, parseServer, systemServers } from "../../src/dns/servers.ts";

Deno.test("a name server is written as address or address and port", () => {
  assert.deepEqual(parseServer("192.0.2.53"), { address: "192.0.2.53", port: 53 });
  assert.deepEqual(parseServer("192.0.2.53:5353"), { address: "192.0.2.53", port: 5353 });
  assert.deepEqual(parseServer("2001:db8::53"), { address: "2001:db8::53", port: 53 });
  assert.deepEqual(parseServer("[2001:db8::53]:5353"), { address: "2001:db8::53", port: 5353 });
  assert.deepEqual(parseServer("fe80::1%eth0"), { address: "fe80::1%eth0", port: 53 });
  for (const text of ["", "dns.test", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2", "[::1", "::1:x", "1.2.3.4:5:6"]) {
    assert.equal(parseServer(text), undefined, text);
  }
});

Deno.test("a name server is written back as it is read", () => {
  for (const text of ["192.0.2.53:53", "[2001:db8::53]:5353"]) {
    const server = parseServer(text);
    assert.equal(server && formatServer(server), text);
  }
});

Deno.test("resolv.conf gives its name servers in order and nothing else", () => {
  const text = `# nameserver 192.0.2.1
nameserver 192.0.2.2
search example.test
\tnameserver\t2001:db8::53  # office
nameserver nonsense
options trust-ad
`;
  assert.deepEqual(parseResolvConf(text), [{ address: "192.0.2.2", port: 53 }, { address: "2001:db8::53", port: 53 }]);
});

Deno.test("without a resolv.conf, or with one that names nobody, there is a sentence that says what to do", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const sentence =
      /This machine has no name server: \S+ names none\. .* write servers = \["127\.0\.0\.1"\] into \[dns\]\./;
    await assert.rejects(systemServers(`${folder}/missing`), sentence);
    await Deno.writeTextFile(`${folder}/empty`, "search test\n");
    await assert.rejects(systemServers(`${folder}/empty`), sentence);
    await Deno.writeTextFile(`${folder}/one`, "nameserver 192.0.2.2");
    assert.deepEqual(await systemServers(`${folder}/one`), [{ address: "192.0.2.2", port: 53 }]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
