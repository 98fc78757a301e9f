/** Who wants no more mail: by mail, by the link, and what becomes of mail to them afterwards. */

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { expect, send, until } from "./support/letters.ts";
import { ANN, LocalServer } from "./support/local_server.ts";
import { callFrom, PROXIED } from "./support/proxy_caller.ts";
import { maildemon } from "./support/running_server.ts";

const DKIM = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();

const ZONE = `
remote.test.       MX   10 mx.remote.test.
remote.test.       TXT  "v=spf1 ip4:192.0.2.0/24 -all"
mx.remote.test.    A    127.0.0.2
loose.test.        TXT  "v=spf1 ?all"
`;

function asking(from: string, subject = "unsubscribe"): string {
  return `From: Carol <${from}>\r\nTo: ann@ours.test\r\nSubject: ${subject}\r\n\r\nPlease.\r\n`;
}

async function fromOutside(
  server: LocalServer,
  host: string,
  from: string,
  text: string,
  to = "ann@ours.test",
): Promise<string> {
  const peer = await callFrom(server, host, "mx");
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO mx.remote.test"), "250");
  const said = await send(peer, from, [to], text);
  peer.close();
  return said;
}

async function submitTo(server: LocalServer, recipient: string, more = ""): Promise<string> {
  const peer = await callFrom(server, "192.0.2.99", "submissions");
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO client"), "250");
  expect(await peer.say(`AUTH PLAIN ${btoa(`\0${ANN.address}\0${ANN.password}`)}`), "235");
  const said = await send(
    peer,
    "ann@ours.test",
    [recipient],
    `From: ann@ours.test\r\n${more}To: ${recipient}\r\nSubject: news\r\n\r\nHi.\r\n`,
  );
  peer.close();
  return said;
}

Deno.test("unsubscribe by mail: suppressed, called until it is heard, and mail to that address is refused", async () => {
  const bodies: string[] = [];
  let up = false;
  const hook = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    bodies.push(await request.text());
    return new Response("", { status: up ? 200 : 503 });
  });
  await using server = await LocalServer.open({
    listeners: PROXIED,
    zone: ZONE,
    aliases: [{ address: "team@ours.test", targets: ["ann@ours.test"] }],
    unsubscribe: `webhook = "http://127.0.0.1:${hook.addr.port}/"\nsecret_file = "hook"`,
    files: { hook: "a secret\n" },
  });
  const said = await fromOutside(
    server,
    "192.0.2.7",
    "carol@remote.test",
    asking("carol@remote.test", "  UnSubscribe "),
  );
  assert.match(said, /^250 2\.0\.0 Unsubscribed as [0-9a-z]{12}$/);
  await until(() => bodies.length > 0, "the first call");
  up = true;
  await until(() => server.log.some((line) => / webhook-called /.test(line)), "the second call", 15_000);
  assert.deepEqual(JSON.parse(bodies.at(-1) ?? "").data, {
    user: "ann@ours.test",
    address: "carol@remote.test",
    by: "mail",
    id: said.split(" ").at(-1),
  });
  assert.deepEqual(await server.inbox(), []);
  assert.equal(await submitTo(server, "carol@remote.test"), "550 5.7.1 recipient has unsubscribed");
  assert.equal(await submitTo(server, "Carol+x@Remote.test"), "550 5.7.1 recipient has unsubscribed");
  assert.match(await submitTo(server, "dan@remote.test"), /^250/);

  const shown = await maildemon(server.configFile, ["user", "show", "ann@ours.test"]);
  assert.match(shown.out, /^unsubscribed +carol@remote\.test \(\d{4}-.*Z, by mail\)$/m);
  const back = await maildemon(server.configFile, [
    "user",
    "set",
    "ann@ours.test",
    "--resubscribe",
    "carol@remote.test",
  ]);
  assert.equal(back.out, "carol@remote.test may get mail of ann@ours.test again.\n");
  assert.equal(
    (await maildemon(server.configFile, ["user", "set", "ann@ours.test", "--resubscribe", "carol@remote.test"])).code,
    1,
  );
  assert.match(await submitTo(server, "carol@remote.test"), /^250/);
  // By way of an alias it is the same user.
  assert.match(
    await fromOutside(server, "192.0.2.7", "carol@remote.test", asking("carol@remote.test"), "team@ours.test"),
    /^250 .* Unsubscribed/,
  );
  assert.match(await submitTo(server, "carol@remote.test"), /^550 5\.7\.1 recipient/);
  await until(() => bodies.length >= 3, "the third call", 15_000);
  await server.stop();
  await hook.shutdown();
});

Deno.test("unsubscribe from one who may not have written it, or with other words, is ordinary mail", async () => {
  const hook = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response(""));
  await using server = await LocalServer.open({
    listeners: PROXIED,
    zone: ZONE,
    checks: 'spf = "note"',
    unsubscribe: `webhook = "http://127.0.0.1:${hook.addr.port}/"\nsecret_file = "hook"`,
    files: { hook: "a secret\n" },
  });
  const strangers: readonly (readonly [host: string, sender: string, text: string])[] = [
    ["203.0.113.9", "carol@remote.test", asking("carol@remote.test")],
    ["192.0.2.7", "eve@loose.test", asking("eve@loose.test")],
    // Her own SPF passes, and says nothing for who stands in From.
    ["192.0.2.7", "carol@remote.test", asking("victim@loose.test")],
    ["192.0.2.7", "carol@remote.test", asking("carol@remote.test", "unsubscribe me")],
    ["192.0.2.7", "carol@remote.test", asking("carol@remote.test", "Re: unsubscribe")],
  ];
  for (const [host, sender, text] of strangers) {
    assert.match(await fromOutside(server, host, sender, text), /^250 2\.0\.0 Queued/);
  }
  await until(async () => (await server.inbox()).length === strangers.length, "all of it");
  for (const address of ["carol@remote.test", "eve@loose.test", "victim@loose.test"]) {
    assert.match(await submitTo(server, address), /^250/);
  }
  await server.stop();
  await hook.shutdown();
});

Deno.test("unsubscribe without a webhook is kept, and delivered too", async () => {
  await using server = await LocalServer.open({ listeners: PROXIED, zone: ZONE });
  assert.match(
    await fromOutside(server, "192.0.2.7", "carol@remote.test", asking("carol@remote.test")),
    /^250 2\.0\.0 Queued/,
  );
  await until(async () => (await server.inbox()).length === 1, "the message");
  assert.match(await submitTo(server, "carol@remote.test"), /^550 5\.7\.1 recipient has unsubscribed/);
  // To try it changes nothing.
  const tried = await maildemon(server.configFile, [
    "try",
    "--ip",
    "192.0.2.7",
    "--from",
    "dan@remote.test",
    "--to",
    "ann@ours.test",
  ]);
  assert.equal(tried.code, 0);
});

Deno.test("a newsletter bears a link that unsubscribes by one click, and not by looking at it", async () => {
  await using server = await LocalServer.open({
    listeners: PROXIED,
    zone: ZONE,
    users: [{ ...ANN, newsletter: true }],
    domain: 'dkim = [{ selector = "s1", key = "dkim.pem" }]',
    files: { "dkim.pem": DKIM },
    unsubscribe: 'url = "https://mail.ours.test/unsubscribe"',
    status: 'listen = "127.0.0.1:0"',
  });
  assert.match(await submitTo(server, "carol@remote.test"), /^250/);
  assert.match(await submitTo(server, "dan@remote.test", "List-Unsubscribe: <https://own.test/>\r\n"), /^250/);
  await server.emptyQueue();
  const box = await server.outbox(), text = box.find(({ to }) => to[0] === "carol@remote.test")?.text ?? "";
  assert.match(text, /^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r$/m);
  // RFC 8058 §4: who has not signed them cannot be believed.
  const signed = /^DKIM-Signature:[^]*?\bh=([^;]*);/m.exec(text)?.[1]?.toLowerCase().split(/[\s:]+/) ?? [];
  assert.ok(["list-unsubscribe", "list-unsubscribe-post"].every((name) => signed.includes(name)), signed.join(" "));
  const [, path = "", mail] =
    /^List-Unsubscribe: <https:\/\/mail\.ours\.test(\/unsubscribe\/\S+)>,\r\n <(\S+)>\r$/m.exec(text) ?? [];
  assert.equal(mail, "mailto:ann@ours.test?subject=unsubscribe");
  assert.equal((box.find(({ to }) => to[0] === "dan@remote.test")?.text.match(/^List-Unsubscribe/gm) ?? []).length, 1);

  const url = `http://127.0.0.1:${server.running.statusPort()}${path}`;
  const looked = await fetch(url);
  const page = await looked.text();
  assert.deepEqual([looked.status, looked.headers.get("content-security-policy")], [
    200,
    "default-src 'none'; style-src 'unsafe-inline'",
  ]);
  assert.match(page, /carol@remote\.test from mail of ann@ours\.test/);
  assert.doesNotMatch(page, /<script/);
  assert.match(await submitTo(server, "carol@remote.test"), /^250/);
  const status = async (path: string, init: RequestInit) => {
    const answer = await fetch(path, init);
    await answer.body?.cancel();
    return answer.status;
  };
  for (
    const body of [
      "x=1",
      "Not-List-Unsubscribe=One-Click",
      "List-Unsubscribe=One-Clicked",
      '{"x":"List-Unsubscribe=One-Click"}',
    ]
  ) {
    assert.equal(await status(url, { method: "POST", body }), 400, body);
  }
  assert.equal(await status(url, { method: "PUT", body: "List-Unsubscribe=One-Click" }), 405);
  assert.equal(await status(`${url}x`, { method: "POST", body: "List-Unsubscribe=One-Click" }), 404);
  assert.equal(await status(url, { method: "POST", body: `${"x".repeat(1 << 20)}List-Unsubscribe=One-Click` }), 400);
  const form = new FormData();
  form.set("List-Unsubscribe", "One-Click");
  for (const body of [form, "List-Unsubscribe=One-Click"]) {
    assert.equal(await status(url, { method: "POST", body }), 200);
    assert.equal(await submitTo(server, "carol@remote.test"), "550 5.7.1 recipient has unsubscribed");
    await maildemon(server.configFile, ["user", "set", "ann@ours.test", "--resubscribe", "carol@remote.test"]);
  }
});

Deno.test("a stranger who sends half a request does not hold up the stop", async () => {
  await using server = await LocalServer.open({
    zone: ZONE,
    unsubscribe: 'url = "https://mail.ours.test/unsubscribe"',
    status: 'listen = "127.0.0.1:0"',
  });
  const statusPort = server.running.statusPort();
  assert.ok(statusPort);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: statusPort });
  await connection.write(new TextEncoder().encode(
    "POST /unsubscribe/x HTTP/1.1\r\nHost: mail.ours.test\r\nContent-Length: 100\r\n\r\nhalf",
  ));
  // Its answer shows that the request has come.
  assert.ok(await connection.read(new Uint8Array(4096)));
  let stopped = false;
  const stopping = server.stop().then(() => stopped = true);
  await until(() => stopped, "the stop", 15_000).finally(() => connection.close());
  await stopping;
});
