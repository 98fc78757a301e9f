import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import { Resolver } from "../../src/dns/resolver.ts";
import { decodeMessage, encodeQuery } from "../../src/dns/wire.ts";
import { serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";

Deno.test("name server takes a port that is free for UDP and TCP, and refuses one that is taken", async () => {
  const zone = parseZone("a.test. A 192.0.2.1");
  const [one, two] = await Promise.all([serveZone(zone), serveZone(zone)]);
  assert.notEqual(one.server.port, two.server.port);
  await assert.rejects(serveZone(zone, { port: one.server.port }));
  await one.close();
  const again = await serveZone(zone, { port: one.server.port });
  await again.close();
  await two.close();
});

Deno.test("name server answers from the zone it was given last", async () => {
  const names = await serveZone(parseZone("a.test. 0 A 192.0.2.1"));
  const dns = new Resolver({ servers: [names.server] });
  const ask = async () => {
    const found = await dns.a("a.test");
    return found.outcome === "answer" ? found.records : found.outcome;
  };
  assert.deepEqual(await ask(), ["192.0.2.1"]);
  names.replaceZone(parseZone("a.test. 0 A 192.0.2.2"));
  assert.deepEqual(await ask(), ["192.0.2.2"]);
  names.replaceZone(parseZone("b.test. 0 A 192.0.2.2"));
  assert.equal(await ask(), "no such name");
  await dns.close();
  await names.close();
});

Deno.test("name server answers several queries of one connection, however they are cut", async () => {
  const names = await serveZone(parseZone("a.test. A 192.0.2.1"));
  const queries = [1, 2, 3].map((id) => {
    const query = encodeQuery(id, { name: "a.test", type: "A" }, false);
    return Buffer.concat([Buffer.from([0, query.length]), query]);
  });
  const socket = connect({ host: "127.0.0.1", port: names.server.port });
  const ids: (number | undefined)[] = [];
  await new Promise<void>((done, fail) => {
    let received = Buffer.alloc(0);
    socket.on("error", fail);
    socket.on("data", (piece: Uint8Array) => {
      received = Buffer.concat([received, piece]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        ids.push(decodeMessage(received.subarray(2, 2 + received.readUInt16BE(0)))?.id);
        received = received.subarray(2 + received.readUInt16BE(0));
      }
      if (ids.length === 3) done();
    });
    const all = Buffer.concat(queries);
    for (let at = 0; at < all.length; at += 7) socket.write(all.subarray(at, at + 7));
  });
  assert.deepEqual(ids, [1, 2, 3]);
  socket.destroy();
  await names.close();
});

const NO_LEAKS = { sanitizeOps: true, sanitizeResources: true };

Deno.test("name server closes although connections are open and answers are late", NO_LEAKS, async () => {
  const names = await serveZone(parseZone("late.test. BEHAVE late 60000"));
  const dns = new Resolver({ servers: [names.server], patience: 30, deadline: 30 });
  assert.equal((await dns.a("late.test")).outcome, "timed out");
  const socket = connect({ host: "127.0.0.1", port: names.server.port });
  await new Promise<void>((open) => socket.on("connect", open));
  const ended = new Promise<void>((gone) => socket.on("close", () => gone()));
  socket.on("error", () => {});
  await names.close();
  await ended;
  await dns.close();
});
