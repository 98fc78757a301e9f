import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { Buffer } from "node:buffer";
import { openLog } from "../../src/log.ts";
import { Webhook } from "../../src/send/webhook.ts";
import { parseMailbox } from "../../src/smtp/address.ts";
import { Unsubscribed } from "../../src/store/unsubscribed.ts";
import { WebhookCalls } from "../../src/store/webhook_calls.ts";
import { withStore } from "../store/temporary_store.ts";
import { until } from "../support/letters.ts";

const CAROL = parseMailbox("carol@remote.test")!, ANN = "ann@ours.test";

interface Call {
  readonly headers: Headers;
  readonly body: string;
}

/** A program of the user's, at a free port, that answers as told. */
function listenFor(answer: () => Response | Promise<Response>) {
  const calls: Call[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    calls.push({ headers: request.headers, body: await request.text() });
    return await answer();
  });
  return { calls, url: `http://127.0.0.1:${server.addr.port}/hook`, server };
}

function isSigned({ headers, body }: Call, key: Uint8Array): boolean {
  const text = `${headers.get("webhook-id")}.${headers.get("webhook-timestamp")}.${body}`;
  return headers.get("webhook-signature") === `v1,${createHmac("sha256", key).update(text).digest("base64")}`;
}

Deno.test("the webhook is called until it answers well: after errors, a redirect, silence, and a restart", async () => {
  await withStore(async ({ kv }) => {
    const answers = [
      () => new Response("", { status: 500 }),
      () => new Response("", { status: 302, headers: { location: "http://127.0.0.1:1/stolen" } }),
      () => new Promise<Response>((done) => setTimeout(() => done(new Response("late")), 700)),
      () => new Response("thanks"),
    ];
    const { calls, url, server } = listenFor(() => (answers[calls.length - 1] ?? answers[3]!)());
    const lines: string[] = [], log = openLog({ level: "info", format: "text", write: (line) => lines.push(line) });
    const secret = `whsec_${Buffer.from("a key of the user's").toString("base64")}`;
    const open = () => new Webhook({ url, secret }, { calls: new WebhookCalls(kv), log, waits: [10], patience: 300 });
    let webhook = open();
    await new Unsubscribed(kv, { calls: true, now: Date.now }).add(CAROL, [ANN], { by: "mail", id: "1m8abc" });
    webhook.wake();
    await until(() => lines.length === 1, "the first call");
    await webhook.close();
    webhook = open();
    const looked = setInterval(() => webhook.wake(), 20);
    await until(() => lines.some((line) => line.includes("webhook-called")), "an answer");
    clearInterval(looked);
    await webhook.close();
    await server.shutdown();

    assert.equal(calls.length, 4);
    for (const call of calls) {
      assert.ok(isSigned(call, Buffer.from("a key of the user's")));
      assert.ok(Math.abs(Number(call.headers.get("webhook-timestamp")) - Date.now() / 1000) < 60);
    }
    assert.equal(new Set(calls.map(({ headers }) => headers.get("webhook-id"))).size, 1);
    const { type, data } = JSON.parse(calls[3]?.body ?? "");
    assert.deepEqual([type, data], ["unsubscribe", {
      user: ANN,
      address: "carol@remote.test",
      by: "mail",
      id: "1m8abc",
    }]);
    assert.deepEqual(
      lines.flatMap((line) => /reason="?(answered \d+|[^"]*timeout[^"]*)/.exec(line)?.[1] ?? []).map((reason) =>
        reason.includes("timeout") ? "silence" : reason
      ),
      ["answered 500", "answered 302", "silence"],
    );
    assert.ok(!lines.join("\n").includes(secret.slice(6)));
    assert.equal(await new WebhookCalls(kv).claim(), undefined);
  });
});

Deno.test("a webhook that was not there is called when it is, and what is secret in its URL stays out of the log", async () => {
  await withStore(async ({ kv }) => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr;
    listener.close();
    const lines: string[] = [], log = openLog({ level: "info", format: "text", write: (line) => lines.push(line) });
    await new Unsubscribed(kv, { calls: true }).add(CAROL, [ANN], { by: "link" });
    const url = `http://127.0.0.1:${port}/hooks/pathkey?token=querykey`, secret = "plain text";
    const webhook = new Webhook({ url, secret }, { calls: new WebhookCalls(kv), log, waits: [10] });
    await until(() => lines.some((line) => line.includes("webhook-deferred")), "a call to nobody");
    const calls: Call[] = [];
    const server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, async (request) => {
      calls.push({ headers: request.headers, body: await request.text() });
      return new Response(null, { status: 204 });
    });
    const looked = setInterval(() => webhook.wake(), 20);
    await until(() => lines.some((line) => line.includes("webhook-called")), "an answer");
    clearInterval(looked);
    await webhook.close();
    await server.shutdown();
    assert.equal(calls.length, 1);
    assert.ok(isSigned(calls[0]!, Buffer.from(secret)));
    assert.deepEqual(JSON.parse(calls[0]!.body).data, { user: ANN, address: "carol@remote.test", by: "link" });
    assert.match(lines[0] ?? "", new RegExp(`127\\.0\\.0\\.1:${port}`));
    assert.doesNotMatch(lines.join("\n"), /pathkey|querykey|plain text/);
  });
});

Deno.test("a webhook that is never there is given up after five days, with an error in the log", async () => {
  await withStore(async ({ kv }) => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr;
    listener.close();
    const began = Date.now() - 6 * 24 * 3600_000;
    await new Unsubscribed(kv, { calls: true, now: () => began }).add(CAROL, [ANN], { by: "link" });
    const lines: string[] = [], log = openLog({ level: "info", format: "text", write: (line) => lines.push(line) });
    const webhook = new Webhook({ url: `http://127.0.0.1:${port}/`, secret: "x" }, {
      calls: new WebhookCalls(kv),
      log,
      waits: [1, 1],
    });
    const looked = setInterval(() => webhook.wake(), 20);
    await until(() => lines.some((line) => line.includes("error webhook-given-up")), "the end of it");
    clearInterval(looked);
    await webhook.close();
    assert.equal((await Array.fromAsync(kv.list({ prefix: ["webhook"] }))).length, 0);
  });
});
