import assert from "node:assert/strict";
import { openNetworks } from "../../src/send/network.ts";
import { findRoute, type RouteSettings } from "../../src/send/route.ts";
import { dnsOf, type ZoneOfNames } from "../support/delivery_job.ts";

const SETTINGS: RouteSettings = { hostname: "mail.dev.test", routes: [], port: 25 };

function route(
  domain: string,
  zone: ZoneOfNames,
  { random = () => 0.5, own = ["198.51.100.9"], allowPrivate = [], ...settings }:
    & Partial<RouteSettings>
    & { random?: () => number; own?: string[]; allowPrivate?: string[] } = {},
) {
  const judge = openNetworks({ allowPrivate, own: () => own });
  return findRoute(domain, { ...SETTINGS, ...settings }, { dns: dnsOf(zone), judge, random });
}

async function names(...args: Parameters<typeof route>): Promise<string[]> {
  const found = await route(...args);
  assert.equal(found.to, "servers", JSON.stringify(found));
  return found.to === "servers" ? found.servers.map(({ name }) => name) : [];
}

async function refused(...args: Parameters<typeof route>): Promise<string> {
  const found = await route(...args);
  return found.to === "nowhere" ? `${found.reply.code} ${found.reply.enhanced}` : JSON.stringify(found);
}

const hosts = { "mx1.r.test": ["192.0.2.1"], "mx2.r.test": ["192.0.2.2"], "mx3.r.test": ["192.0.2.3"] };

Deno.test("route goes by preference and shuffles equals", async () => {
  const zone = { mx: { "r.test": ["20 mx3.r.test", "10 mx1.r.test", "10 mx2.r.test"] }, a: hosts };
  const seen = new Set<string>();
  for (let lot = 0; lot < 2; lot++) {
    let turn = lot;
    seen.add((await names("r.test", zone, { random: () => turn++ % 2 })).join(" "));
  }
  assert.deepEqual([...seen].sort(), ["mx1.r.test mx2.r.test mx3.r.test", "mx2.r.test mx1.r.test mx3.r.test"]);
});

Deno.test("route takes the domain itself when it has no MX", async () => {
  assert.deepEqual(await names("R.test", { a: { "r.test": ["192.0.2.1"] } }), ["r.test"]);
  assert.deepEqual(await names("r.test", { aaaa: { "r.test": ["2001:db8::1"] } }), ["r.test"]);
});

Deno.test("route tries both families by turns", async () => {
  const found = await route("r.test", {
    a: { "r.test": ["192.0.2.1", "192.0.2.2"] },
    aaaa: { "r.test": ["2001:db8::1", "2001:db8::2", "2001:db8::3"] },
  });
  assert.deepEqual(
    found.to === "servers" && found.servers[0].addresses,
    ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"],
  );
});

Deno.test("route refuses for good only what the DNS says for certain", async () => {
  assert.equal(await refused("r.test", { mx: { "r.test": ["0 "] } }), "556 5.1.10");
  assert.equal(await refused("r.test", {}), "550 5.1.2");
  assert.equal(await refused("r.test", { failing: ["r.test"] }), "451 4.4.3");
  assert.equal(await refused("r.test", { mx: { "r.test": ["10 mx1.r.test"] } }), "550 5.4.4");
  assert.equal(await refused("r.test", { mx: { "r.test": ["10 mx1.r.test"] }, failing: ["mx1.r.test"] }), "451 4.4.3");
  assert.equal(await refused("[192.0.2.1]", {}), "550 5.1.2");
  assert.equal(await refused("r..test", {}), "550 5.1.2");
  assert.deepEqual(
    await names("r.test", { mx: { "r.test": ["10 mx1.r.test", "20 mx2.r.test"] }, a: hosts, failing: ["mx1.r.test"] }),
    ["mx2.r.test"],
  );
});

Deno.test("route refuses addresses that are not public, in every notation", async () => {
  const shut = [
    "127.0.0.1",
    "10.1.2.3",
    "169.254.1.1",
    "192.168.0.1",
    "172.31.0.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
  ];
  const shut6 = [
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "fe80::1",
    "fd00::1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
  ];
  for (const a of shut) assert.equal(await refused("r.test", { a: { "r.test": [a] } }), "550 5.4.4", a);
  for (const a of shut6) assert.equal(await refused("r.test", { aaaa: { "r.test": [a] } }), "550 5.4.4", a);
  const zone = { a: { "r.test": ["10.1.2.3", "192.0.2.1"] } };
  const found = await route("r.test", zone);
  assert.deepEqual(found.to === "servers" && found.servers[0].addresses, ["192.0.2.1"]);
  assert.deepEqual(await names("r.test", { a: { "r.test": ["127.0.0.1"] } }, { allowPrivate: ["127.0.0.0/8"] }), [
    "r.test",
  ]);
});

Deno.test("route drops itself and all that are no better", async () => {
  const mx = { "r.test": ["10 mx1.r.test", "20 mail.dev.test", "20 mx2.r.test", "30 mx3.r.test"] };
  const a = { ...hosts, "mail.dev.test": ["198.51.100.9"] };
  assert.deepEqual(await names("r.test", { mx, a }), ["mx1.r.test"]);
  const byAddress = { "r.test": ["10 mx2.r.test", "20 other.test"] };
  assert.deepEqual(await names("r.test", { mx: byAddress, a: { ...a, "other.test": ["198.51.100.9"] } }), [
    "mx2.r.test",
  ]);
  assert.equal(await refused("r.test", { mx: { "r.test": ["10 mail.dev.test"] }, a }), "554 5.4.6");
  assert.equal(await refused("r.test", { a: { "r.test": ["198.51.100.9"] } }), "554 5.4.6");
  const mapped = { aaaa: { "r.test": ["::ffff:198.51.100.9"] } };
  assert.equal(await refused("r.test", mapped), "554 5.4.6");
});

Deno.test("route looks at no more than ten servers and ten addresses", async () => {
  const many = Array.from({ length: 200 }, (_, index) => `h${index}.test`);
  const zone = {
    mx: { "r.test": many.map((name, index) => `${index} ${name}`) },
    a: Object.fromEntries(many.map((name) => [name, Array.from({ length: 50 }, (_, index) => `192.0.2.${index}`)])),
  };
  const found = await route("r.test", zone);
  assert.equal(found.to, "servers");
  if (found.to !== "servers") return;
  assert.equal(found.servers.length, 10);
  assert.equal(found.servers[0].addresses.length, 10);
});

Deno.test("route prefers what the settings name, private addresses included", async () => {
  const via = { host: "127.0.0.1", port: 2525, credentials: { user: "u", password: "p" } };
  const routes = [{ domain: "r.test", via }];
  const found = await route("r.test", {}, { routes });
  assert.deepEqual(found.to === "servers" && found.servers, [
    {
      name: "127.0.0.1",
      port: 2525,
      preference: 0,
      addresses: ["127.0.0.1"],
      credentials: { user: "u", password: "p" },
    },
  ]);
  const smarthost = { host: "hub.test", port: 587 };
  assert.deepEqual(await names("x.test", { a: { "hub.test": ["10.0.0.1"] } }, { routes, smarthost }), ["hub.test"]);
  assert.equal(await refused("x.test", {}, { smarthost }), "451 4.4.3");
});
