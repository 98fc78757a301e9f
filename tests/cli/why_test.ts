/** Every refusal can be explained: by which rule, with which value, and by which setting in which line. */

import assert from "node:assert/strict";
import { host } from "../../src/cli/host.ts";
import { tryOut } from "../../src/cli/try.ts";
import { why } from "../../src/cli/why.ts";
import { expect, letter, send, until } from "../support/letters.ts";
import { ANN, LocalServer, type LocalSettings } from "../support/local_server.ts";
import { rsaKey, signedLetter } from "../support/signed_letter.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";
import { type Answered, typed } from "./typed.ts";

const KEY = rsaKey();
const SETTINGS: LocalSettings = {
  limits: "max_hops = 10\nmax_header_fields = 100",
  checks: `spf = "reject-unsigned"
helo = "reject"
dkim = "reject-fail"
dmarc = "obey"
spam_limit = 6
dnsbl = [{ zone = "dnsbl.test", weight = 7 }]
[reputation]
mode = "enforce"
rules = "prefix"
exempt = []`,
  listeners: `[[listeners]]\naddress = "127.0.0.1:0"\nkind = "mx"\nproxy_protocol_from = ["127.0.0.0/8"]\n`,
  zone: `
remote.test.                 TXT  "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip6:2001:db8::/32 -all"
one._domainkey.remote.test.  TXT  "${KEY.record}"
remote.test.                 MX   10 mx.remote.test.
mx.remote.test.              A    127.0.0.2
other.remote.test.           A    192.0.2.99
strict.test.                 TXT  "v=spf1 -all"
_dmarc.strict.test.          TXT  "v=DMARC1; p=reject"
66.2.0.192.dnsbl.test.       A    127.0.0.2
`,
};

async function callFrom(server: LocalServer, ip: string): Promise<SmtpPeer> {
  const peer = await SmtpPeer.call(server.port("mx"));
  await peer.send(`PROXY ${ip.includes(":") ? `TCP6 ${ip} 2001:db8::25` : `TCP4 ${ip} 192.0.2.25`} 4096 25\r\n`);
  return peer;
}

/** A whole conversation; the reply that ended it. */
async function handIn(
  server: LocalServer,
  { ip = "192.0.2.1", helo = `[${ip}]`, from, to = ANN.address, text = letter("Hi.\r\n", from) }: {
    readonly ip?: string;
    readonly helo?: string;
    readonly from: string;
    readonly to?: string;
    readonly text?: string;
  },
): Promise<string> {
  const peer = await callFrom(server, ip);
  try {
    const greeting = await peer.lastLine();
    if (!greeting.startsWith("220")) return greeting;
    const hello = await peer.say(`EHLO ${helo}`);
    return hello.startsWith("250") ? await send(peer, from, [to], text) : hello;
  } finally {
    peer.close();
  }
}

function ask(server: LocalServer, ...line: string[]): Promise<Answered> {
  return typed(["--config", server.configFile, ...line], { commands: [host, why, tryOut] });
}

/** The line of the configuration that begins so. */
function lineOf(server: LocalServer, begin: string): number {
  return Deno.readTextFileSync(server.configFile).split("\n").findIndex((line) => line.startsWith(begin)) + 1;
}

interface ToldRefusal {
  readonly reply: string;
  readonly steps: readonly {
    readonly check: string;
    readonly found: string;
    readonly decides?: string;
    readonly setting?: { readonly key: string; readonly value: string; readonly line?: number };
  }[];
}

/** Waits until the story is told. */
async function toldOf(server: LocalServer, what: string): Promise<readonly ToldRefusal[]> {
  let told: readonly ToldRefusal[] = [];
  await until(async () => {
    told = JSON.parse((await ask(server, "why", what, "--json")).out);
    return told.length > 0;
  }, `the story of ${what}`);
  return told;
}

Deno.test("why names rule, value, setting and line of twelve refusals, each by another rule", async () => {
  await using server = await LocalServer.open(SETTINGS);
  for (const ip of ["203.0.113.1", "203.0.113.2", "203.0.113.3"]) {
    expect((await ask(server, "host", "ban", ip, "--reason", "a test")).out, `Banned ${ip} until it is unbanned.`);
  }
  const broken = signedLetter(KEY, { from: "f5@remote.test" }).replace("Hello.", "Changed.");
  const twoFroms = `From: f7@remote.test\r\n${letter("Hi.\r\n", "f7@remote.test")}`;
  const hops = "Received: from a by b\r\n".repeat(11) + letter("Hi.\r\n", "f11@remote.test");
  const fields = "X: y\r\n".repeat(100) + letter("Hi.\r\n", "f12@remote.test");
  const cases: readonly (readonly [
    asked: string,
    message: Parameters<typeof handIn>[1],
    reply: string,
    rule: string,
    found: RegExp,
    setting: string,
    value: string,
    line: string,
  ])[] = [
    [
      "203.0.113.1",
      { ip: "203.0.113.1", from: "f1@remote.test" },
      "554 5.7.1 203.0.113.1 is banned",
      "ban",
      /a test/,
      "reputation.rules",
      '"prefix"',
      "rules =",
    ],
    [
      "203.0.113.9",
      { ip: "203.0.113.9", from: "f2@remote.test" },
      "554 5.7.1",
      "neighbours",
      /3 banned of 3 senders in 203\.0\.113\.0\/24: 3 \/ \(3 \+ 1\) = 0\.75 > 0\.70/,
      "reputation.rules",
      '"prefix"',
      "rules =",
    ],
    [
      "192.0.2.3",
      { ip: "192.0.2.3", helo: "other.remote.test", from: "f3@remote.test" },
      "550 5.7.25",
      "helo",
      /192\.0\.2\.99/,
      "checks.helo",
      '"reject"',
      "helo =",
    ],
    [
      "f4@strict.test",
      { from: "f4@strict.test" },
      "550 5.7.23",
      "spf",
      /fail for strict\.test/,
      "checks.spf",
      '"reject-unsigned"',
      "spf =",
    ],
    [
      "f5@remote.test",
      { from: "f5@remote.test", text: broken },
      "550 5.7.20",
      "dkim",
      /remote\.test/,
      "checks.dkim",
      '"reject-fail"',
      "dkim =",
    ],
    [
      "f6@remote.test",
      { from: "f6@remote.test", text: letter("Hi.\r\n", "boss@strict.test") },
      "550 5.7.1",
      "dmarc",
      /p=reject/,
      "checks.dmarc",
      '"obey"',
      "dmarc =",
    ],
    [
      "f7@remote.test",
      { from: "f7@remote.test", text: twoFroms },
      "550 5.6.0",
      "from",
      /more than one From/,
      "checks.dmarc",
      '"obey"',
      "dmarc =",
    ],
    [
      "f8@remote.test",
      { ip: "192.0.2.66", from: "f8@remote.test" },
      "550 5.7.1 This looks like spam to us: score 7, limit 6",
      "spam",
      /7 = dnsbl\.test 7/,
      "checks.spam_limit",
      "6",
      "spam_limit =",
    ],
    [
      "nobody9@ours.test",
      { from: "f9@remote.test", to: "nobody9@ours.test" },
      "550 5.1.1",
      "recipient",
      /nobody9@ours\.test/,
      "domains[0].catch_all",
      "not set",
      "",
    ],
    [
      "f10@remote.test",
      { from: "f10@remote.test", to: "x@elsewhere.test" },
      "550 5.7.1",
      "relay",
      /x@elsewhere\.test/,
      "domains",
      "ours.test",
      "[[domains]]",
    ],
    [
      "f11@remote.test",
      { from: "f11@remote.test", text: hops },
      "554 5.4.6",
      "hops",
      /11 hops/,
      "limits.max_hops",
      "10",
      "max_hops =",
    ],
    [
      "f12@remote.test",
      { from: "f12@remote.test", text: fields },
      "554 5.6.0",
      "header",
      /too many fields/,
      "limits.max_header_fields",
      "100",
      "max_header_fields =",
    ],
  ];
  assert.equal(cases.length, 12);
  for (const [, message, reply, rule] of cases) {
    assert.equal((await handIn(server, message)).slice(0, reply.length), reply, rule);
  }
  for (const [asked, , reply, rule, found, key, value, begin] of cases) {
    const [told] = await toldOf(server, asked);
    const step = told?.steps.find(({ decides }) => decides !== undefined);
    assert.equal(step?.check, rule);
    assert.equal(told?.reply.slice(0, reply.length), reply);
    assert.match(step?.found ?? "", found, rule);
    assert.equal(step?.setting?.key, key);
    assert.ok(step?.setting?.value.includes(value), `${key} = ${step?.setting?.value}`);
    assert.equal(step?.setting?.line, begin === "" ? undefined : lineOf(server, begin), rule);
    // The same for people.
    const { out, code } = await ask(server, "why", asked);
    assert.equal(code, 0);
    assert.ok(out.includes(`→ ${rule}`) && out.includes(key), out);
    if (begin !== "") assert.ok(out.includes(`${server.configFile}:${lineOf(server, begin)}`), out);
  }
  assert.deepEqual(await server.inbox(), []);
});

Deno.test("why tells a message from its first check to its last delivery, by id, address and host", async () => {
  await using server = await LocalServer.open({
    ...SETTINGS,
    users: [ANN, { address: "bob@ours.test", deliver: ["forward:bob@remote.test"] }],
  });
  const said = await handIn(server, { from: "g1@remote.test", to: "bob@ours.test" });
  const id = /^250 2\.0\.0 Queued as (\S+)$/.exec(said)?.[1] ?? "";
  await server.emptyQueue();
  await toldOf(server, id);
  await until(
    async () => (await ask(server, "why", id)).out.includes("recipient-delivered"),
    "the delivery to be told",
  );
  const { out, code } = await ask(server, "why", id);
  assert.equal(code, 0);
  const steps = [
    "taken: 250 2.0.0 Queued as",
    "[192.0.2.1]",
    "from g1@remote.test to bob@ours.test",
    "reputation",
    "unknown host",
  ];
  for (
    const part of [
      ...steps,
      "helo",
      "match",
      "spf",
      "pass for remote.test",
      "dkim",
      "not signed",
      "dmarc",
      "dnsbl",
      "spam",
    ]
  ) {
    assert.ok(out.includes(part), `${part} in\n${out}`);
  }
  assert.match(out, /recipient-delivered to=bob@ours\.test target=bob@remote\.test .*code=250/);
  for (const what of ["g1@remote.test", "G1@Remote.Test", "bob@ours.test"]) {
    assert.ok((await ask(server, "why", what)).out.includes(id), what);
  }
  const byHost = await ask(server, "why", "192.0.2.1");
  assert.ok(
    byHost.out.includes(id) && byHost.out.includes("1 messages accepted") || byHost.out.includes("accepted messages"),
  );
  const nothing = await ask(server, "why", "nobody@nowhere.test");
  assert.deepEqual([nothing.code, nothing.out], [1, ""]);
  assert.match(nothing.error, /Nothing is told of nobody@nowhere\.test since/);
});

Deno.test("in observe mode nobody is refused, and why shows what would have happened", async () => {
  const checks = SETTINGS.checks?.replace('mode = "enforce"', 'mode = "observe"') ?? "";
  await using server = await LocalServer.open({ ...SETTINGS, checks });
  for (let strike = 0; strike < 3; strike++) expect(await handIn(server, { from: "h0@strict.test" }), "550 5.7.23");
  expect(await handIn(server, { from: "h1@remote.test" }), "250 2.0.0 Queued");
  await toldOf(server, "h1@remote.test");
  const { out } = await ask(server, "why", "h1@remote.test");
  assert.match(
    out,
    /→ reputation +banned: 3 SPF failures, the last one for strict\.test\n +would have been refused\n +reputation\.mode = "observe" \(.*:\d+\)/,
  );
});

Deno.test("try decides like the server, and leaves no trace", async () => {
  await using server = await LocalServer.open(SETTINGS);
  await ask(server, "host", "ban", "203.0.113.7");
  const file = `${server.folder}/letter.eml`;
  await Deno.writeTextFile(file, letter("Hi.\n", "boss@strict.test").replaceAll("\r\n", "\n"));
  const cases: readonly (readonly [line: readonly string[], code: number, shows: string])[] = [
    [["--ip", "192.0.2.1", "--from", "i@remote.test", "--to", ANN.address], 0, "taken: 250"],
    [["--ip", "192.0.2.1", "--from", "<>", "--to", ANN.address], 0, "from <> to ann@ours.test"],
    [["--ip", "192.0.2.1", "--from", "i@strict.test", "--to", ANN.address], 1, "refused: 550 5.7.23"],
    [["--ip", "192.0.2.1", "--from", "i@remote.test", "--to", ANN.address, file], 1, "refused: 550 5.7.1 DMARC"],
    [["--ip", "192.0.2.1", "--from", "i@remote.test", "--to", "x@elsewhere.test"], 1, "→ relay"],
    [["--ip", "192.0.2.66", "--from", "i@remote.test", "--to", ANN.address], 1, "→ spam"],
    [["--ip", "203.0.113.7", "--from", "i@remote.test", "--to", ANN.address], 1, "refused: 554 5.7.1 203.0.113.7"],
    [["--ip", "192.0.2.1", "--helo", "other.remote.test", "--from", "i@remote.test", "--to", ANN.address], 1, "→ helo"],
    [["--ip", "nonsense", "--from", "i@remote.test", "--to", ANN.address], 2, ""],
    [["--from", "i@remote.test", "--to", ANN.address], 2, ""],
  ];
  for (const [line, code, shows] of cases) {
    const answered = await ask(server, "try", ...line);
    assert.equal(answered.code, code, answered.out + answered.error);
    assert.ok(answered.out.includes(shows), answered.out);
  }
  const json = JSON.parse((await ask(server, "try", ...cases[2]![0], "--json")).out);
  assert.equal(json.taken, false);
  assert.deepEqual(await server.inbox(), []);
  assert.deepEqual(await server.queue(), []);
  assert.equal((await ask(server, "why", "i@remote.test")).code, 1);
  const { out } = await ask(server, "host", "list", "--json");
  assert.deepEqual(JSON.parse(out).map(({ host }: { host: string }) => host), ["203.0.113.7"]);
});
