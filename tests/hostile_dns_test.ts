/**
 * Name servers that are silent, late, broken or lying, asked by the whole server about every kind of record: each
 * message ends in time, nothing that is temporary becomes a permanent refusal, and nobody is held to blame for it.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { DnsRecord } from "../src/dns/records.ts";
import type { Message } from "../src/dns/wire.ts";
import { lookIn } from "../src/sandbox/zone.ts";
import { parseZone } from "../src/sandbox/zone_file.ts";
import { framed, replyTo, type Script, serveScript } from "./support/dns_scripted.ts";
import { pause, until } from "./support/letters.ts";
import { LocalServer } from "./support/local_server.ts";
import { maildemon, RunningServer } from "./support/running_server.ts";
import { rsaKey, signedLetter } from "./support/signed_letter.ts";
import { handIn } from "./support/strangers.ts";

/** What is wrong with the name servers of `<trouble>.test`. */
const TROUBLES = [
  "silent",
  "late",
  "late-in-time",
  "servfail",
  "refused",
  "truncated",
  "wrong-id",
  "wrong-question",
  "loop",
] as const;
type Trouble = typeof TROUBLES[number];
/** What is asked there; everything else is honest. */
const ASPECTS = ["spf", "dkim", "dmarc", "helo", "dnsbl", "all"] as const;
type Aspect = typeof ASPECTS[number];

/** Milliseconds: a try is given up after 3,000; all look-ups of a message have 20 to 30 seconds. */
const LATE = 3500, IN_TIME = 2400, LONGEST = 30_000;
/** What only adds to the score is waited for 3 seconds at the end of a message; a busy machine takes its time too. */
const SOON = 6000;

const KEY = rsaKey();

interface Case {
  readonly trouble: Trouble;
  readonly aspect: Aspect;
  readonly ip: string;
  readonly helo: string;
  readonly domain: string;
}

const CASES: readonly Case[] = TROUBLES.flatMap((trouble, row) =>
  ASPECTS.map((aspect, column): Case => {
    const bad = (one: Aspect) => aspect === one || aspect === "all";
    const ip = `198.${18 + row}.${column}.7`;
    return {
      trouble,
      aspect,
      ip: bad("dnsbl") ? ip : ip.replace(/7$/, "9"),
      helo: `${bad("helo") ? "bad" : "good"}.helo-${aspect}.${trouble}.test`,
      domain: `${aspect}.${trouble}.test`,
    };
  })
);

/** An honest world, of which `isBad` says what is asked in vain. */
const ZONE = parseZone([
  "$TTL 60",
  'slow.test. TXT "v=spf1 ' + Array.from({ length: 9 }, (_, at) => `include:i${at}.slow.test`).join(" ") + ' -all"',
  ...Array.from({ length: 9 }, (_, at) => `i${at}.slow.test. TXT "v=spf1 ip4:192.0.2.1 -all"`),
  ...CASES.flatMap(({ ip, helo, domain }) => [
    `${helo}. A ${ip}`,
    `${domain}. TXT "v=spf1 ip4:${ip} -all"`,
    `_dmarc.${domain}. TXT "v=DMARC1; p=reject"`,
    `one._domainkey.${domain}. TXT "${KEY.record}"`,
  ]),
].join("\n"));

function troubleOf(name: string): Trouble | "slow" | undefined {
  if (/^i\d\.slow\.test$/.test(name)) return "slow";
  const listed = /^7\.(\d+)\.(\d+)\.198\.dnsbl\.test$/.exec(name);
  if (listed !== null) return TROUBLES[Number(listed[2]) - 18];
  const trouble = TROUBLES.find((trouble) => name.endsWith(`.${trouble}.test`));
  const isBad = [
    /^(?:spf|all)\.[a-z-]+\.test$/,
    /^one\._domainkey\.(?:dkim|all)\./,
    /^_dmarc\.(?:dmarc|all)\./,
    /^bad\.helo-/,
  ].some((pattern) => pattern.test(name));
  return isBad ? trouble : undefined;
}

const SCRIPT: Script = {
  udp: (query) => {
    const { name } = query.question, honest = replyTo(query, answerTo(query)), trouble = troubleOf(name);
    switch (trouble) {
      case undefined:
        return [honest];
      case "silent":
        return [];
      case "late":
        return pause(LATE).then(() => [honest]);
      case "slow":
      case "late-in-time":
        return pause(IN_TIME).then(() => [honest]);
      case "servfail":
        return [replyTo(query, { code: 2 })];
      case "refused":
        return [replyTo(query, { code: 5 })];
      case "truncated":
        return [replyTo(query, { truncated: true })];
      case "wrong-id":
        return [replyTo({ ...query, id: query.id ^ 1 }, answerTo(query))];
      case "wrong-question":
        return [replyTo({ ...query, question: { ...query.question, name: `not.${name}` } }, answerTo(query))];
      case "loop": {
        const link = (from: string, data: string): DnsRecord => ({ name: from, ttl: 60, type: "CNAME", data });
        return [replyTo(query, { answers: [link(name, `x.${name}`), link(`x.${name}`, name)] })];
      }
      default:
        return trouble satisfies never;
    }
  },
  // Half of an answer, and then the end.
  tcp: (query) => {
    const whole = framed(replyTo(query, answerTo(query)));
    return { pieces: [whole.subarray(0, whole.length - 20)], close: true };
  },
};

function answerTo({ question: { name, type } }: Message): Partial<Message> {
  const { exists, records } = lookIn(ZONE, name, type);
  return { answers: records, code: exists ? 0 : 3 };
}

interface Setting {
  readonly name: string;
  readonly checks: string;
  /** What is answered when the DNS says nothing about this. */
  readonly reply: (aspect: Aspect) => RegExp;
}

const TAKEN = /^250 2\.0\.0 Queued/;
const SETTINGS: readonly Setting[] = [
  { name: "as it comes", checks: "", reply: () => TAKEN },
  {
    name: "as strict as can be",
    checks: 'spf = "require-pass"\nhelo = "reject"\ndkim = "reject-fail"\ndmarc = "obey"',
    reply: (aspect) => aspect === "spf" || aspect === "all" ? /^451 4\.4\.3 / : TAKEN,
  },
];

/** Runs the program with these settings and asks the script. */
async function withServer(checks: string, scene: (local: LocalServer, server: RunningServer) => Promise<void>) {
  const names = await serveScript(SCRIPT);
  const local = await LocalServer.prepare({
    checks: `${checks}\ndnsbl = [{ zone = "dnsbl.test", weight = 4 }]`,
    reputation: 'mode = "enforce"\nrules = "prefix"\nexempt = []',
    listeners: `[[listeners]]\naddress = "127.0.0.1:0"\nkind = "mx"\nproxy_protocol_from = ["127.0.0.0/8"]\n`,
  });
  try {
    const config = await Deno.readTextFile(local.configFile);
    const server = `servers = ["127.0.0.1:${names.server.port}"]`;
    await Deno.writeTextFile(local.configFile, config.replace(/^servers = .*$/m, server));
    const running = await RunningServer.start(local.configFile);
    try {
      await scene(local, running);
    } finally {
      const { code } = await running.stop();
      assert.equal(code, 0);
      assert.deepEqual(running.log.filter((line) => /^\S+ error |Uncaught|[Uu]nhandled/.test(line)), []);
    }
  } finally {
    await local.close();
    await names.close();
  }
}

/** Our results of each message that came, by the domain of its author. */
async function resultsIn(local: LocalServer): Promise<Map<string, string>> {
  await local.emptyQueue();
  const folder = join(local.store, "mail", "ours.test", "ann", "new"), results = new Map<string, string>();
  for await (const { name } of Deno.readDir(folder)) {
    const text = await Deno.readTextFile(join(folder, name));
    const [, ours = ""] = /^Authentication-Results: (.*(?:\r\n[ \t].*)*)/m.exec(text) ?? [];
    results.set(/^From: carol@(.*)\r$/m.exec(text)?.[1] ?? "", ours);
  }
  return results;
}

/** What may be found by who asks in vain. */
function assertFound({ trouble, aspect }: Case, results: string): void {
  const what = `${aspect} of ${trouble}: ${results}`,
    found = (method: string, result: string) => {
      assert.match(results, new RegExp(`(?<![a-z-])${method}=${result}(?![a-z])`), what);
    };
  const inVain = trouble === "late-in-time" ? "pass" : trouble === "loop" ? "(?:temperror|permerror)" : "temperror";
  const bad = (one: Aspect) => aspect === one || aspect === "all";
  found("spf", bad("spf") ? inVain : "pass");
  found("dkim", bad("dkim") ? inVain : "pass");
  found("dmarc", bad("dmarc") ? inVain : "pass");
  if (!bad("helo")) found("x-helo", "pass");
  else if (trouble !== "late-in-time") assert.doesNotMatch(results, /x-helo=(?:pass|fail)/, what);
}

async function recordOf(local: LocalServer, ip: string) {
  const { out, error } = await maildemon(local.configFile, ["host", "show", ip, "--json"]);
  if (out === "") throw new Error(error);
  return JSON.parse(out).record;
}

async function noTroubleIsAnAnswer({ checks, reply }: Setting): Promise<void> {
  await withServer(checks, async (local, server) => {
    const port = server.port("mx");
    const ended = await Promise.all(CASES.map(async (one) => {
      const { ip, helo, domain } = one, from = `carol@${domain}`, began = performance.now();
      const said = await handIn({ port, ip, helo, sender: from }, signedLetter(KEY, { from, tags: { d: domain } }));
      return { one, said, took: Math.round(performance.now() - began) };
    }));
    const results = await resultsIn(local);
    for (const { one, said, took } of ended) {
      const { trouble, aspect, domain } = one, what = `${aspect} of ${trouble}: ${said} after ${took} ms`;
      assert.match(said, trouble === "late-in-time" ? TAKEN : reply(aspect), what);
      assert.ok(took <= LONGEST, what);
      // With the strictest settings EHLO waits for the name.
      if (aspect === "dnsbl" || (aspect === "helo" && checks === "")) assert.ok(took <= SOON, what);
      if (said.startsWith("250")) assertFound(one, results.get(domain) ?? "none");
    }
    for (const { trouble, ip } of CASES.filter(({ aspect }) => aspect === "all")) {
      const record = await recordOf(local, ip), { counters } = record;
      assert.deepEqual([record.strikes, record.ban], [[], null], trouble);
      assert.deepEqual([counters.spfFailures, counters.dkimFailures, counters.dmarcFailures], [0, 0, 0], trouble);
      assert.deepEqual([counters.nameFailures, counters.spam], [0, 0], trouble);
    }
    // Everybody who called is known, and nobody is the worse for it.
    const { out } = await maildemon(local.configFile, ["host", "list", "--json"]);
    const hosts: { host: string; ban: unknown; strikes: unknown[] }[] = JSON.parse(out);
    assert.deepEqual(hosts.filter(({ ban, strikes }) => ban !== null || strikes.length > 0), []);
    assert.equal(hosts.length, CASES.length);
  });
}

async function allTogetherIsBounded(): Promise<void> {
  await withServer("", async (local, server) => {
    const port = server.port("mx"), ip = "198.18.99.7";
    // Signature and policy of the author are asked in vain as well.
    const from = "carol@all.silent.test", text = signedLetter(KEY, { from, tags: { d: "all.silent.test" } });
    const began = performance.now(), said = await handIn({ port, ip, sender: "carol@slow.test" }, text);
    const took = performance.now() - began;
    assert.match(said, TAKEN);
    assert.ok(took <= LONGEST, `${took} ms`);
    const [results = ""] = (await resultsIn(local)).values();
    assert.match(results, /spf=temperror/);
    assert.match(results, /dkim=temperror/);
    assert.match(results, /dmarc=temperror/);
    await until(async () => (await recordOf(local, ip))?.counters.accepted === 1, "the record of the host");
    assert.equal((await recordOf(local, ip)).ban, null);
  });
}

Deno.test("trouble of the DNS", async (test) => {
  const step = (name: string, fn: () => Promise<void>) =>
    test.step({ name, fn, sanitizeOps: false, sanitizeResources: false, sanitizeExit: false });
  // Beside each other: they do nothing but wait.
  await Promise.all([
    ...SETTINGS.map((setting) =>
      step(
        `none of it is taken for an answer, and none takes long: ${setting.name}`,
        () => noTroubleIsAnAnswer(setting),
      )
    ),
    step("many answers that are each in time are given up together, and so is what comes later", allTogetherIsBounded),
  ]);
});
