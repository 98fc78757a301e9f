/** How many sockets the resolver has, however much it is asked: counted in /proc, with a server that says nothing. */

import assert from "node:assert/strict";
import { Resolver, type ResolverSettings } from "../../src/dns/resolver.ts";
import { addressRecord, replyTo, type Script, type Scripted, serveScript } from "../support/dns_scripted.ts";
import { until } from "../support/letters.ts";

interface Scene {
  readonly dns: Resolver;
  readonly server: Scripted;
  /** Sockets of this process beyond those that were there before. */
  sockets(): Promise<number>;
}

/** Names that begin with `good` have an address; all others meet silence. */
const SCRIPT: Script = {
  udp: (query) => {
    const { name } = query.question;
    return name.startsWith("good") ? [replyTo(query, { answers: [addressRecord(name, "192.0.2.1")] })] : [];
  },
};

async function withServer(settings: Partial<ResolverSettings>, scene: (scene: Scene) => Promise<void>) {
  const server = await serveScript(SCRIPT);
  const dns = new Resolver({ servers: [server.server], patience: 5000, deadline: 10_000, ...settings });
  const before = await socketsOfThisProcess();
  try {
    await scene({ dns, server, sockets: async () => await socketsOfThisProcess() - before });
  } finally {
    await dns.close();
    await server.close();
  }
}

async function socketsOfThisProcess(): Promise<number> {
  let count = 0;
  for await (const { name } of Deno.readDir("/proc/self/fd")) {
    const target = await Deno.readLink(`/proc/self/fd/${name}`).catch(() => "");
    if (target.startsWith("socket:")) count++;
  }
  return count;
}

function budget(): { readonly limits: { readonly signal: AbortSignal }; end(): void } {
  const controller = new AbortController();
  return { limits: { signal: controller.signal }, end: () => controller.abort() };
}

function names(count: number, label = "silent"): string[] {
  return Array.from({ length: count }, (_, at) => `${label}${at}.test`);
}

const NO_LEAKS = { sanitizeOps: true, sanitizeResources: true };
const TOO_MANY = { outcome: "server failed", reason: "too many look-ups are open" };

Deno.test(
  "resolver has 200 sockets and no more, of which the last 40 are for questions without budget",
  NO_LEAKS,
  () =>
    withServer({}, async ({ dns, server, sockets }) => {
      const callers = budget();
      const asked = names(1000).map((name) => dns.a(name, callers.limits));
      await until(() => server.queries.length === 160, "160 queries");
      assert.equal(await sockets(), 160);
      const ours = names(100, "ours").map((name) => dns.mx(name));
      await until(() => server.queries.length === 200, "200 queries");
      assert.equal(await sockets(), 200);
      callers.end();
      assert.ok((await Promise.all(asked)).every(({ outcome }) => outcome === "timed out"));
      // Those who waited behind the callers have their places now.
      await until(() => server.queries.length === 260, "260 queries");
      assert.equal(await sockets(), 100);
      await dns.close();
      await Promise.all(ours);
      assert.equal(await sockets(), 0);
    }),
);

Deno.test(
  "resolver lets who sends mail through while whoever calls has taken all it can",
  NO_LEAKS,
  () =>
    withServer({}, async ({ dns }) => {
      const callers = budget(), asked = names(2000).map((name) => dns.a(name, callers.limits));
      const began = performance.now();
      assert.equal((await dns.a("good.test")).outcome, "answer");
      assert.ok(performance.now() - began < 1000);
      callers.end();
      await Promise.all(asked);
    }),
);

Deno.test(
  "resolver asks for who waits as soon as there is a place, and silent names do not keep theirs",
  NO_LEAKS,
  () =>
    withServer({ exchanges: 10, patience: 200, deadline: 5000 }, async ({ dns, server }) => {
      const callers = budget(), asked = names(20).map((name) => dns.a(name, callers.limits)), began = performance.now();
      const good = await dns.a("good.test", callers.limits), took = performance.now() - began;
      assert.equal(good.outcome, "answer");
      // Behind 20 first tries in 8 places; the other tries of each come later.
      assert.ok(took >= 390 && took < 1500, `${took} ms`);
      assert.equal(new Set(server.queries.map(({ question }) => question.name)).size, 21);
      callers.end();
      await Promise.all(asked);
    }),
);

Deno.test(
  "resolver says that too many look-ups are open, and forgets it at once",
  NO_LEAKS,
  () =>
    withServer({ exchanges: 5, waiting: 3 }, async ({ dns, sockets }) => {
      const callers = budget(), asked = names(6).map((name) => dns.a(name, callers.limits));
      assert.deepEqual(await dns.a("good.test", callers.limits), TOO_MANY);
      assert.ok(await sockets() <= 5);
      callers.end();
      await Promise.all(asked);
      assert.equal((await dns.a("good.test")).outcome, "answer");
    }),
);

Deno.test(
  "resolver waits for a place no longer than its deadline",
  NO_LEAKS,
  () =>
    withServer({ exchanges: 0, deadline: 200 }, async ({ dns }) => {
      const began = performance.now();
      assert.deepEqual(await dns.a("good.test"), TOO_MANY);
      const took = performance.now() - began;
      assert.ok(took >= 190 && took < 1000, `${took} ms`);
    }),
);

Deno.test(
  "resolver closes its socket as soon as nobody wants the answer any more",
  NO_LEAKS,
  () =>
    withServer({}, async ({ dns, server, sockets }) => {
      const [one, other] = [budget(), budget()];
      const asked = [dns.a("silent.test", one.limits), dns.a("silent.test", other.limits)];
      await until(() => server.queries.length === 1, "the query");
      assert.equal(await sockets(), 1);
      one.end();
      assert.equal((await asked[0])?.outcome, "timed out");
      assert.equal(await sockets(), 1);
      other.end();
      assert.equal((await asked[1])?.outcome, "timed out");
      assert.equal(await sockets(), 0);
    }),
);

Deno.test("resolver gives up what has only just begun", NO_LEAKS, () =>
  withServer({}, async ({ dns, sockets }) => {
    const callers = budget(), asked = names(300).map((name) => dns.a(name, callers.limits));
    callers.end();
    await Promise.all(asked);
    await until(async () => await sockets() === 0, "all sockets to be closed");
  }));

Deno.test(
  "resolver that was left alone with a question asks it anew for the next one",
  NO_LEAKS,
  () =>
    withServer({}, async ({ dns, server }) => {
      const hasty = budget(), given = dns.a("good.test", hasty.limits);
      hasty.end();
      const [first, second] = await Promise.all([given, dns.a("good.test")]);
      assert.deepEqual([first.outcome, second.outcome], ["timed out", "answer"]);
      await dns.a("good.test");
      assert.ok(server.queries.length <= 2);
    }),
);

Deno.test(
  "resolver goes on with a question that waits when somebody without budget shares it",
  NO_LEAKS,
  () =>
    withServer({ exchanges: 5 }, async ({ dns, server }) => {
      const callers = budget();
      const asked = [...names(8), "good.test"].map((name) => dns.a(name, callers.limits));
      await until(() => server.queries.length === 4, "4 queries");
      const ours = dns.a("good.test");
      callers.end();
      assert.equal((await ours).outcome, "answer");
      assert.ok((await Promise.all(asked)).every(({ outcome }) => outcome === "timed out"));
    }),
);

Deno.test(
  "resolver takes a kept place for a question that waits when who sends mail asks it too",
  NO_LEAKS,
  () =>
    withServer({ exchanges: 5 }, async ({ dns, server }) => {
      const callers = budget();
      const asked = [...names(8), "good.test"].map((name) => dns.a(name, callers.limits));
      await until(() => server.queries.length === 4, "4 queries");
      const began = performance.now();
      assert.equal((await dns.a("good.test")).outcome, "answer");
      assert.ok(performance.now() - began < 1000);
      callers.end();
      await Promise.all(asked);
    }),
);
