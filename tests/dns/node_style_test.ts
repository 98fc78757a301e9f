import assert from "node:assert/strict";
import { nodeStyle, type NodeStyleResolve } from "../../src/dns/node_style.ts";
import { Resolver } from "../../src/dns/resolver.ts";
import { serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";

const ZONE = `
example.test. A 192.0.2.1
example.test. AAAA 2001:db8::1
example.test. MX 10 mx.example.test.
example.test. TXT "v=spf1 " "-all"
example.test. TXT "other"
www.example.test. CNAME example.test.
1.2.0.192.in-addr.arpa. PTR example.test.
servfail.test. BEHAVE servfail
silent.test. BEHAVE silent
`;

async function withResolve(scene: (resolve: NodeStyleResolve, dns: Resolver) => Promise<void>): Promise<void> {
  const names = await serveZone(parseZone(ZONE));
  const dns = new Resolver({ servers: [names.server], patience: 50, deadline: 100 });
  try {
    await scene(nodeStyle(dns), dns);
  } finally {
    await dns.close();
    await names.close();
  }
}

Deno.test("answers have the shapes of node:dns", () =>
  withResolve(async (resolve) => {
    assert.deepEqual(await resolve("example.test", "A"), ["192.0.2.1"]);
    assert.deepEqual(await resolve("example.test", "AAAA"), ["2001:db8::1"]);
    assert.deepEqual(await resolve("example.test", "MX"), [{ exchange: "mx.example.test", priority: 10 }]);
    assert.deepEqual(await resolve("example.test", "TXT"), [["v=spf1 -all"], ["other"]]);
    assert.deepEqual(await resolve("www.example.test", "CNAME"), ["example.test"]);
    assert.deepEqual(await resolve("1.2.0.192.in-addr.arpa", "PTR"), ["example.test"]);
  }));

Deno.test("everything but an answer is an error with the code of node:dns", () =>
  withResolve(async (resolve) => {
    await assert.rejects(resolve("missing.test", "A"), { code: "ENOTFOUND" });
    await assert.rejects(resolve("a..b", "A"), { code: "ENOTFOUND" });
    await assert.rejects(resolve("www.example.test", "PTR"), { code: "ENODATA" });
    await assert.rejects(resolve("servfail.test", "TXT"), { code: "ESERVFAIL", message: /SERVFAIL/ });
    await assert.rejects(resolve("silent.test", "TXT"), { code: "ETIMEOUT" });
    await assert.rejects(resolve("example.test", "ANY"), { code: "ENOTIMP" });
  }));

Deno.test("what a caller does to its answer does not reach the next one", () =>
  withResolve(async (resolve) => {
    (await resolve("example.test", "A")).length = 0;
    assert.deepEqual(await resolve("example.test", "A"), ["192.0.2.1"]);
  }));

Deno.test("the budget of a message ends its look-ups", () =>
  withResolve(async (_, dns) => {
    const resolve = nodeStyle(dns, { signal: AbortSignal.abort() });
    await assert.rejects(resolve("example.test", "A"), { code: "ETIMEOUT" });
  }));
