import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { Resolver, type ResolverSettings } from "../../src/dns/resolver.ts";
import type { DnsRecord } from "../../src/dns/records.ts";
import type { Message } from "../../src/dns/wire.ts";
import {
  addressRecord,
  alias,
  framed,
  replyTo,
  type Script,
  type Scripted,
  serveScript,
} from "../support/dns_scripted.ts";

type Scene = (dns: Resolver, ...servers: readonly Scripted[]) => Promise<void>;

async function withScripts(scripts: readonly Script[], scene: Scene, settings: Partial<ResolverSettings> = {}) {
  const servers = await Promise.all(scripts.map(serveScript));
  const dns = new Resolver({
    servers: servers.map(({ server }) => server),
    patience: 100,
    deadline: 300,
    ...settings,
  });
  try {
    await scene(dns, ...servers);
  } finally {
    await dns.close();
    for (const server of servers) await server.close();
  }
}

const honest = (query: Message) => [replyTo(query, { answers: [addressRecord(query.question.name, "192.0.2.1")] })];
const silent: Script = {};
const cutOff = (query: Message) => [replyTo(query, { truncated: true })];
const lie = (name: string) => [addressRecord(name, "203.0.113.66")];

Deno.test("resolver waits for the true answer behind forged ones", () =>
  withScripts([{
    udp: (query) => {
      const answers = lie(query.question.name);
      return [
        replyTo(query, { answers, id: query.id ^ 0x8000 }),
        replyTo(query, { answers, question: { ...query.question, name: "other.test" } }),
        replyTo(query, { answers, question: { ...query.question, type: "AAAA" } }),
        replyTo(query, { answers, question: { ...query.question, class: "CH" } }),
        new Uint8Array(0),
        new Uint8Array(1200).fill(0xff),
        ...honest(query),
      ];
    },
  }], async (dns) => {
    const found = await dns.a("example.test");
    assert.deepEqual(found.outcome === "answer" && found.records, ["192.0.2.1"]);
  }));

Deno.test("resolver takes no answer from an address or port that it did not ask", async () => {
  const stranger = createSocket("udp4");
  await new Promise<void>((ready) => stranger.bind(0, "127.0.0.1", ready));
  await withScripts([{ udp: () => [] }], async (dns, server) => {
    const asking = dns.a("example.test");
    while (server?.queries.length === 0) await new Promise((soon) => setTimeout(soon, 5));
    const [query, port] = [server?.queries[0], server?.ports[0]];
    assert.ok(query && port);
    stranger.send(replyTo(query, { answers: lie("example.test") }), port, "127.0.0.1");
    assert.equal((await asking).outcome, "timed out");
  });
  await new Promise<void>((gone) => stranger.close(() => gone()));
});

Deno.test("resolver uses another id and another port for each query", () =>
  withScripts([{ udp: honest }], async (dns, server) => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => dns.a(`host${index}.test`)));
    // Two of twenty may well meet by chance; three pairs do not.
    assert.ok(new Set(server?.queries.map(({ id }) => id)).size >= 18);
    assert.ok(new Set(server?.ports).size >= 18);
  }));

Deno.test("resolver asks with EDNS and 1232 octets, and for authentication only when it is trusted", async () => {
  await withScripts([{ udp: honest }], async (dns, server) => {
    await dns.a("example.test");
    assert.equal(server?.queries[0]?.udpSize, 1232);
    assert.equal(server?.queries[0]?.authentic, false);
  });
  await withScripts([{ udp: honest }], async (dns, server) => {
    await dns.a("example.test");
    assert.equal(server?.queries[0]?.authentic, true);
  }, { trustAd: true });
});

Deno.test("resolver takes an answer whose question comes back in other letters", () =>
  withScripts([{
    udp: (query) => [replyTo(query, {
      question: { ...query.question, name: "eXaMpLe.TeSt" },
      answers: [addressRecord("EXAMPLE.test", "192.0.2.1")],
    })],
  }], async (dns) => assert.equal((await dns.a("example.test")).outcome, "answer")));

Deno.test("resolver goes on to the next server after silence, and then begins with it", () =>
  withScripts([silent, { udp: honest }], async (dns, first, second) => {
    assert.equal((await dns.a("one.test")).outcome, "answer");
    assert.equal((await dns.a("two.test")).outcome, "answer");
    assert.deepEqual([first?.queries.length, second?.queries.length], [1, 2]);
  }));

Deno.test("resolver goes on to the next server after a failure", () =>
  withScripts([{ udp: (query) => [replyTo(query, { code: 2 })] }, { udp: honest }], async (dns) => {
    assert.equal((await dns.a("one.test")).outcome, "answer");
  }));

Deno.test("resolver asks a silent server again, but keeps the deadline of the question", () =>
  withScripts([silent], async (dns, server) => {
    const start = performance.now();
    assert.equal((await dns.a("example.test")).outcome, "timed out");
    const took = performance.now() - start;
    // The second try is cut short: with its full time it would be 400 ms.
    assert.ok(took >= 290 && took < 390, `took ${took} ms`);
    assert.equal(server?.queries.length, 2);
  }, { patience: 200, deadline: 300 }));

Deno.test("resolver asks silent servers in turn", () =>
  withScripts([silent, silent], async (dns, first, second) => {
    assert.equal((await dns.a("example.test")).outcome, "timed out");
    assert.deepEqual([first?.queries.length, second?.queries.length], [2, 1]);
  }));

Deno.test("resolver does not believe an AD bit that it did not ask for", () =>
  withScripts([{
    udp: (query) => [replyTo(query, { authentic: true, answers: [addressRecord("example.test", "192.0.2.1")] })],
  }], async (dns) => {
    const found = await dns.a("example.test");
    assert.equal("authenticated" in found && found.authenticated, false);
  }));

Deno.test("resolver does not take a message that breaks off for an empty answer", () =>
  withScripts([{ udp: (query) => honest(query).map((reply) => reply.subarray(0, -1)) }], async (dns) => {
    const found = await dns.a("example.test");
    assert.match("reason" in found ? found.reason : "", /malformed/);
  }));

Deno.test("resolver says server failed when one server failed and the others were silent", () =>
  withScripts([silent, { udp: (query) => [replyTo(query, { code: 5 })] }], async (dns, _, second) => {
    assert.equal((await dns.a("example.test")).outcome, "server failed");
    assert.equal(second?.queries.length, 1);
  }));

Deno.test("resolver survives a server that is not there", async () => {
  const gone = await serveScript({});
  await gone.close();
  const dns = new Resolver({ servers: [gone.server], patience: 50, deadline: 100 });
  assert.notEqual((await dns.a("example.test")).outcome, "answer");
  await dns.close();
});

Deno.test("resolver without servers fails", async () => {
  const dns = new Resolver({ servers: [] });
  assert.deepEqual(await dns.a("example.test"), { outcome: "server failed", reason: "no name server is set" });
});

Deno.test("resolver reads an answer by TCP that comes byte by byte", () =>
  withScripts([{
    udp: cutOff,
    tcp: (query) => ({
      pieces: honest(query).flatMap((reply) => [...framed(reply)].map((byte) => Uint8Array.of(byte))),
    }),
  }], async (dns) =>
    assert.equal((await dns.a("example.test")).outcome, "answer"), { patience: 1000, deadline: 1000 }));

for (
  const [what, tcp] of Object.entries<NonNullable<Script["tcp"]>>({
    "closes the connection": () => ({ pieces: [], close: true }),
    "closes it in the middle": (query) => ({
      pieces: honest(query).map((reply) => framed(reply).subarray(0, 20)),
      close: true,
    }),
    "answers with a wrong id": (query) => ({ pieces: honest({ ...query, id: query.id ^ 1 }).map(framed) }),
    "sends an empty message": () => ({ pieces: [Uint8Array.of(0, 0)] }),
    "cuts off its answer there too": (query) => ({ pieces: cutOff(query).map(framed) }),
  })
) {
  Deno.test(`resolver says server failed when a server ${what} by TCP`, () =>
    withScripts([{ udp: cutOff, tcp }], async (dns) => {
      assert.equal((await dns.a("example.test")).outcome, "server failed");
    }));
}

Deno.test("resolver says timed out when TCP stays silent", () =>
  withScripts([{ udp: cutOff, tcp: () => ({ pieces: [Uint8Array.of(0)] }) }], async (dns) => {
    assert.equal((await dns.a("example.test")).outcome, "timed out");
  }));

Deno.test("resolver asks again where the answer ends with a CNAME, and trusts the whole only if it trusts each part", () =>
  withScripts([{
    udp: (query) => {
      const { name } = query.question;
      if (name === "one.test") return [replyTo(query, { answers: [alias(name, "two.test", 5)], authentic: true })];
      return [replyTo(query, { answers: [addressRecord(name, "192.0.2.1")], authentic: false })];
    },
  }], async (dns) => {
    const expected = { outcome: "answer", records: ["192.0.2.1"], name: "two.test", authenticated: false, ttl: 5 };
    assert.deepEqual(await dns.a("one.test"), expected);
  }, { trustAd: true }));

Deno.test("resolver ends a chain of CNAMEs that never ends", () =>
  withScripts([{
    udp: (
      query,
    ) => [replyTo(query, { answers: [alias(query.question.name, `x${query.id}.${query.question.type}.test`)] })],
  }], async (dns, server) => {
    assert.equal((await dns.a("example.test")).outcome, "server failed");
    assert.ok((server?.queries.length ?? 0) < 20);
  }, { patience: 1000, deadline: 2000 }));

Deno.test("resolver passes over records of other names", () =>
  withScripts([{
    udp: (query) => [replyTo(query, { answers: [...lie("other.test"), addressRecord("example.test", "192.0.2.1")] })],
  }], async (dns) => {
    const found = await dns.a("example.test");
    assert.deepEqual(found.outcome === "answer" && found.records, ["192.0.2.1"]);
  }));

const REFERRAL: DnsRecord = { name: "test", ttl: 60, type: "NS", data: "ns.test" };

Deno.test("resolver does not take a referral for an empty answer", () =>
  withScripts([{ udp: (query) => [replyTo(query, { authorities: [REFERRAL] })] }], async (dns) => {
    assert.equal((await dns.mx("example.test")).outcome, "server failed");
  }));

Deno.test("resolver says server failed when the upper bits of EDNS say so", () =>
  withScripts([{ udp: (query) => [replyTo(query, { code: 16, udpSize: 1232 })] }], async (dns) => {
    const found = await dns.a("example.test");
    assert.match("reason" in found ? found.reason : "", /BADVERS/);
  }));

Deno.test("resolver leaves out hosts whose names could break a header, and never takes them for no data", () => {
  const mx = (exchange: string): DnsRecord => ({
    name: "example.test",
    ttl: 9,
    type: "MX",
    data: { exchange, preference: 1 },
  });
  const ptr = (data: string): DnsRecord => ({ name: "1.2.0.192.in-addr.arpa", ttl: 9, type: "PTR", data });
  return withScripts([{
    udp: (query) => [replyTo(query, {
      answers: query.question.type === "PTR"
        ? [ptr("evil\r\nX-Header: 1.test"), ptr("good.test")]
        : [mx("evil host (\n).test"), mx("\u{1f480}.test")],
    })],
  }], async (dns) => {
    const names = await dns.ptr("192.0.2.1");
    assert.deepEqual(names.outcome === "answer" && names.records, ["good.test"]);
    assert.equal((await dns.mx("example.test")).outcome, "server failed");
  });
});

Deno.test("resolver gives names that no host has to who asks for records, and not to who looks for mail exchanges", () =>
  withScripts([{
    udp: (query) => [replyTo(query, {
      answers: ["a:b/c.test", ...(query.question.name === "two.test" ? ["mx.test"] : [])].map((exchange) => (
        { name: query.question.name, ttl: 9, type: "MX", data: { exchange, preference: 1 } }
      )),
    })],
  }], async (dns) => {
    const asked = await dns.ask("MX", "one.test"), one = await dns.mx("one.test"), two = await dns.mx("two.test");
    assert.deepEqual(asked.outcome === "answer" && asked.records, [{ exchange: "a:b/c.test", preference: 1 }]);
    assert.equal(one.outcome, "server failed");
    assert.deepEqual(two.outcome === "answer" && two.records, [{ exchange: "mx.test", preference: 1 }]);
  }));

Deno.test("resolver never throws at garbage behind a question that is right", async () => {
  let seed = 1;
  const random = (below: number) => (seed = (seed * 48271) % 0x7fffffff) % below;
  const spoil = (reply: Uint8Array, question: number) => {
    const bytes = Uint8Array.from(reply);
    for (let times = 0; times < 6; times++) bytes[question + random(bytes.length - question)] = random(256);
    for (let section = 6; section < 12; section++) if (random(4) === 0) bytes[section] = random(256);
    return bytes.subarray(0, random(3) === 0 ? question + random(bytes.length - question) : bytes.length);
  };
  await withScripts([{
    udp: (query) => {
      const { name } = query.question;
      const answers: DnsRecord[] = [
        alias(name, "two.test"),
        { name: "two.test", ttl: 1, type: "TXT", data: "x".repeat(600) },
        { name: "two.test", ttl: 1, type: "MX", data: { preference: 1, exchange: "mx.two.test" } },
        {
          name: "two.test",
          ttl: 1,
          type: "TLSA",
          data: { usage: 3, selector: 1, matchingType: 1, data: new Uint8Array(32) },
        },
      ];
      return [spoil(replyTo(query, { answers }), 12 + name.length + 6)];
    },
    tcp: () => ({ pieces: [], close: true }),
  }], async (dns) => {
    const types = ["TXT", "MX", "TLSA", "A"] as const;
    const outcomes = new Set<string>();
    for (let round = 0; round < 400; round++) {
      const type = types[round % 4] ?? "A";
      outcomes.add((await dns.ask(type, `name${round}.test`)).outcome);
    }
    assert.ok(outcomes.has("server failed") && outcomes.has("answer"), [...outcomes].join());
  }, { patience: 40, deadline: 40 });
});
