/** One fault at a time is planted in a world that is right: the doctor names it, and nothing else. */

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import type { Instruments } from "../../src/doctor/examine.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { formatRecord } from "../../src/doctor/records.ts";
import { askServer } from "../../src/status/control.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { ADDRESS, clock, faultsIn, greeter, withWorld } from "./world.ts";

type Lines = readonly string[];

/** Takes out the lines that begin so, and puts these at the end. */
const instead = (begin: RegExp, ...lines: Lines) => (zone: Lines) => [
  ...zone.filter((line) => !begin.test(line)),
  ...lines,
];
const also = (...lines: Lines) => (zone: Lines) => [...zone, ...lines];

const MX = /^ours\.test\. IN MX/, SPF = /^ours\.test\. IN TXT/, DMARC = /^_dmarc\.ours\.test\./;
const DKIM = /^s1\._domainkey\.ours\.test\./,
  NAME = /^mail\.ours\.test\. IN A /,
  PTR = /^1\.0\.0\.127\.in-addr\.arpa\./;
const KEY = "s1._domainkey.ours.test", MAIL = "mail.ours.test";
const OTHER_KEY = `${KEY}. IN TXT "v=DKIM1; k=ed25519; p=${btoa("x".repeat(32))}"`;
const spf = (text: string) => instead(SPF, `ours.test. IN TXT "${text}"`);
const dmarc = (text: string) => instead(DMARC, `_dmarc.ours.test. IN TXT "${text}"`);
const hosts = Array.from({ length: 11 }, (_, index) => `h${index}.remote.test`);

const ENDLESS_ELSEWHERE = (zone: Lines) => [
  ...spf("v=spf1 redirect=spf.remote.test")(zone),
  `spf.remote.test. IN TXT "v=spf1 ip4:${ADDRESS} ?all"`,
];

/** What is done to the zone, and what has to be named. */
const PLANTED: Readonly<Record<string, readonly [(zone: Lines) => Lines, string]>> = {
  "no MX": [instead(MX), "mx-missing ours.test"],
  "MX of another host": [instead(MX, "ours.test. IN MX 10 mx.remote.test."), "mx-elsewhere ours.test"],
  "MX that leads nowhere": [instead(MX, "ours.test. IN MX 10 gone.ours.test."), "mx-elsewhere ours.test"],
  "MX to an address": [instead(MX, `ours.test. IN MX 10 ${ADDRESS}.`), "mx-address ours.test"],
  "null MX": [instead(MX, "ours.test. IN MX 0 ."), "mx-null ours.test"],
  "MX to an alias": [
    instead(MX, "ours.test. IN MX 10 mx.ours.test.", `mx.ours.test. IN CNAME ${MAIL}.`),
    "mx-alias ours.test",
  ],
  "no SPF": [instead(SPF), "spf-missing ours.test"],
  "two SPF records": [also('ours.test. IN TXT "v=spf1 a -all"'), "spf-several ours.test"],
  "SPF without us": [spf("v=spf1 ip4:192.0.2.9 -all"), "spf-without-us ours.test"],
  "SPF with eleven look-ups": [
    (zone) => [
      ...spf(`v=spf1 ${hosts.map((name) => `a:${name}`).join(" ")} mx -all`)(zone),
      ...hosts.map((name) => `${name}. IN A 127.0.0.3`),
    ],
    "spf-look-ups ours.test",
  ],
  "SPF with a wrong word": [spf("v=spf1 ipv4:192.0.2.9 mx -all"), "spf-syntax ours.test"],
  "SPF that includes nothing": [spf("v=spf1 mx include:remote.test -all"), "spf-syntax ours.test"],
  "SPF with names that do not exist": [spf("v=spf1 a:a.x.test a:b.x.test a:c.x.test mx -all"), "spf-void ours.test"],
  "SPF for everybody": [spf("v=spf1 mx +all"), "spf-open ours.test"],
  "SPF without an end": [spf("v=spf1 mx"), "spf-endless ours.test"],
  "SPF that leads to one without an end": [ENDLESS_ELSEWHERE, "spf-endless ours.test"],
  "no SPF of our name": [instead(/^mail\.ours\.test\. IN TXT/), `spf-missing ${MAIL}`],
  "no DKIM record": [instead(DKIM), `dkim-missing ${KEY}`],
  "DKIM record of another key": [instead(DKIM, OTHER_KEY), `dkim-other ${KEY}`],
  "two DKIM records": [also(OTHER_KEY), `dkim-several ${KEY}`],
  "no DMARC": [instead(DMARC), "dmarc-missing ours.test"],
  "two DMARC records": [also('_dmarc.ours.test. IN TXT "v=DMARC1; p=none"'), "dmarc-several ours.test"],
  "DMARC with a wrong word": [dmarc("v=DMARC1; p=quarantaine"), "dmarc-syntax ours.test"],
  "DMARC without a semicolon": [dmarc("v=DMARC1 p=reject"), "dmarc-syntax ours.test"],
  "DMARC that asks for nothing": [dmarc("v=DMARC1; p=none"), "dmarc-none ours.test"],
  "our name without an address": [instead(NAME), `name-missing ${MAIL}`],
  "our name at another address": [instead(NAME, `${MAIL}. IN A 127.0.0.9`), `name-elsewhere ${MAIL}`],
  "our name at one address too many": [also(`${MAIL}. IN AAAA 2001:db8::1`), `name-elsewhere ${MAIL}`],
  "our name as an alias": [
    instead(NAME, `${MAIL}. IN CNAME host.ours.test.`, `host.ours.test. IN A ${ADDRESS}`),
    `name-alias ${MAIL}`,
  ],
  "no PTR": [instead(PTR), `ptr-missing ${ADDRESS}`],
  "PTR with another name": [
    instead(PTR, "1.0.0.127.in-addr.arpa. IN PTR host.x.test.", `host.x.test. IN A ${ADDRESS}`),
    `ptr-other ${ADDRESS}`,
  ],
  "PTR that does not lead back": [
    instead(PTR, "1.0.0.127.in-addr.arpa. IN PTR mx.remote.test."),
    `ptr-astray ${ADDRESS}`,
  ],
  "a listed address": [also("1.0.0.127.lists.test. IN A 127.0.0.2"), `listed ${ADDRESS}`],
  "TLSA of another key": [
    also(`_25._tcp.${MAIL}. IN TLSA 3 1 1 ${"ab".repeat(32)}`),
    `tlsa-other _25._tcp.${MAIL}`,
  ],
  "MTA-STS without a policy": [also('_mta-sts.ours.test. IN TXT "v=STSv1; id=1"'), "sts-policy ours.test"],
  "MTA-STS without an id": [also('_mta-sts.ours.test. IN TXT "v=STSv1"'), "sts-record ours.test"],
};

const HOUR = 3600_000, DAY = 24 * HOUR;

Deno.test("a right world has no fault, and each that is planted in the DNS is named, and no other", async () => {
  await withWorld(async (world) => {
    assert.deepEqual(faultsIn(await world.examined()), []);
    for (const [what, [plant, named]] of Object.entries(PLANTED)) {
      world.serve(plant(world.zone));
      const findings = await world.examined();
      assert.deepEqual(faultsIn(findings), [named], what);
      for (const finding of findings) assertTreated(finding, what);
    }
  });
});

Deno.test("no record is proposed that would shut out what redirect= lets send", async () => {
  await withWorld(async (world) => {
    world.serve(ENDLESS_ELSEWHERE(world.zone));
    const { advice, records } = (await world.examined()).find(({ fault }) => fault === "spf-endless") ?? {};
    assert.match(advice ?? "", /^Let the record of spf\.remote\.test end with -all\./);
    assert.equal(records, undefined);
  });
});

Deno.test("each fault of the machine is named, and no other", async () => {
  await withWorld(async (world) => {
    const planted: readonly (readonly [string, Partial<Instruments>, string])[] = [
      ["a full disk", { spaceOf: () => Promise.resolve({ free: 1e6, total: 1e12 }) }, "disk-full"],
      ["no inodes", { spaceOf: () => Promise.resolve({ free: 9e11, total: 1e12, files: 10 }) }, "disk-full"],
      ["a disk that fills", { spaceOf: () => Promise.resolve({ free: 5e8, total: 1e12 }) }, "disk-low"],
      ["an expired certificate", { now: Date.now() + 100 * DAY }, "certificate-expired"],
      ["a certificate that expires soon", { now: Date.now() + 80 * DAY }, "certificate-expiring"],
      ["a certificate of tomorrow", { now: Date.now() - 2 * DAY }, "certificate-early"],
      ["a clock that is ahead", { ask: (what) => what === "clock" ? clock(HOUR) : empty() }, "clock-wrong"],
      ["a clock that is behind", { ask: (what) => what === "clock" ? clock(-HOUR) : empty() }, "clock-wrong"],
    ];
    for (const [what, instruments, fault] of planted) {
      const findings = await world.examined(instruments);
      assert.deepEqual(findings.flatMap(({ fault }) => fault ?? []), [fault], what);
      for (const finding of findings) assertTreated(finding, what);
    }
    await world.queueOne();
    assert.deepEqual(faultsIn(await world.examined()), []);
    assert.deepEqual(faultsIn(await world.examined({ now: Date.now() + 5 * HOUR })), ["queue-old queue"]);
  });
});

Deno.test("each fault of the ports is named, and no other", async () => {
  await withWorld(async (world) => {
    const [mx = 0] = world.ports, { shut } = world;
    const onto = (port: number) => (config: string) => config.replace(`:${mx}"`, `:${port}"`);
    assert.deepEqual(faultsIn(await world.examined({}, onto(shut))), [`port-shut ${ADDRESS}:${shut} (mx)`]);

    const other = greeter(ADDRESS, shut);
    assert.deepEqual(faultsIn(await world.examined({}, onto(shut))), [`port-taken ${ADDRESS}:${shut} (mx)`]);
    await other.close();

    const silent = Deno.listen({ hostname: ADDRESS, port: shut });
    const hangUp = (async () => (await silent.accept()).close())();
    assert.deepEqual(faultsIn(await world.examined({}, onto(shut))), [`port-rude ${ADDRESS}:${shut} (mx)`]);
    await hangUp;
    silent.close();

    const closed = await world.examined({}, (config) => config.replace(/^port = \d+$/m, `port = ${shut}`));
    assert.deepEqual(faultsIn(closed), ["outbound-shut remote.test"]);

    const everywhere = await world.examined({}, (config) => config.replace(`${ADDRESS}:${mx}"`, `[::]:${mx}"`));
    assert.deepEqual(faultsIn(everywhere), []);

    const smarthost = await world.examined(
      {},
      (config) => config.replace(/^port = (\d+)$/m, 'route = "smarthost"\nsmarthost = "127.0.0.2:$1"'),
    );
    assert.deepEqual(faultsIn(smarthost), []);
    const { found = "" } = smarthost.find(({ topic }) => topic === "outbound") ?? {};
    assert.match(found, /^127\.0\.0\.2 answers at port \d+$/);

    // With the line of a proxy where the config demands one: this server does not, and takes offence.
    const proxied = await world.examined(
      {},
      (config) => config.replace('kind = "mx"', 'kind = "mx"\nproxy_protocol_from = ["127.0.0.0/8"]'),
    );
    assert.deepEqual(faultsIn(proxied), [`port-rude ${ADDRESS}:${mx} (mx)`]);

    await world.running.stop();
    const stopped = await world.examined();
    assert.deepEqual(stopped.flatMap(({ fault }) => fault ?? []), ["server-stopped"]);
    // What takes our port while we do not run keeps us from starting.
    const thief = greeter(ADDRESS, mx);
    const taken = await world.examined();
    assert.deepEqual(taken.flatMap(({ fault }) => fault ?? []), ["server-stopped", "port-taken"]);
    await thief.close();
  });
});

Deno.test("a certificate that only we know is doubted", async () => {
  await withWorld(async (world) => {
    const { pair: { certificate } } = world, stranger = await selfSigned(["mail.ours.test"]);
    assert.ok(!certificate.includes(stranger.authority));
    const findings = await world.examined({ authority: stranger.authority });
    assert.deepEqual(findings.flatMap(({ fault }) => fault ?? []), ["certificate-unknown"]);
  });
});

Deno.test("a certificate for all hosts of a domain is right for ours", async () => {
  const pair = await selfSigned(["*.Ours.test"]);
  await withWorld(async (world) => {
    const findings = await world.examined({ authority: pair.authority });
    assert.deepEqual(findings.flatMap(({ fault }) => fault ?? []), []);
  }, { pair });
});

Deno.test("a certificate for another name is named; a TLSA record that agrees is none", async () => {
  const pair = await selfSigned(["mail.other.test"]);
  await withWorld(async (world) => {
    const key = new X509Certificate(pair.certificate).publicKey.export({ type: "spki", format: "der" });
    const digest = createHash("sha256").update(key).digest("hex");
    // With an old one beside it, as while a certificate is exchanged.
    world.serve(
      also(
        `_25._tcp.${MAIL}. IN TLSA 3 1 1 ${"ab".repeat(32)}`,
        `_25._tcp.${MAIL}. IN TLSA 3 1 1 ${digest}`,
      )(world.zone),
    );
    const findings = await world.examined();
    assert.deepEqual(findings.flatMap(({ fault }) => fault ?? []), ["certificate-name"]);
    assert.match(
      findings.find(({ fault }) => fault !== undefined)?.found ?? "",
      /is for mail\.other\.test, and not for/,
    );
  }, { pair });
});

Deno.test("twenty faults at once are named, these and no others; the records that are printed make the DNS right", async () => {
  await withWorld(async (world) => {
    await world.queueOne();
    const { shut } = world, [, submission = 0] = world.ports;
    const ofDns: readonly (readonly [(zone: Lines) => Lines, string])[] = [
      ...["MX of another host", "two SPF records", "DKIM record of another key", "two DMARC records"],
      ...["our name at another address", "PTR that does not lead back", "TLSA of another key", "no SPF of our name"],
    ].map((what) => PLANTED[what]!);
    const more: typeof ofDns = [
      [instead(/^second\.test\. IN MX/), "mx-missing second.test"],
      [
        instead(/^second\.test\. IN TXT/, 'second.test. IN TXT "v=spf1 ip4:192.0.2.9 -all"'),
        "spf-without-us second.test",
      ],
      [instead(/^s1\._domainkey\.second\.test\./), "dkim-missing s1._domainkey.second.test"],
      [instead(/^_dmarc\.second\.test\./, '_dmarc.second.test. IN TXT "v=DMARC1; p=no"'), "dmarc-syntax second.test"],
      [instead(/^third\.test\. IN MX/, `third.test. IN MX 10 ${ADDRESS}.`), "mx-address third.test"],
      [instead(/^third\.test\. IN TXT/, 'third.test. IN TXT "v=spf1 mix -all"'), "spf-syntax third.test"],
      [also('s1._domainkey.third.test. IN TXT "v=DKIM1; p="'), "dkim-several s1._domainkey.third.test"],
      [instead(/^_dmarc\.third\.test\./), "dmarc-missing third.test"],
    ];
    const zone = [...ofDns, ...more].reduce((lines: Lines, [plant]) => plant(lines), world.zone);
    world.serve(also("1.0.0.127.lists.test. IN A 127.0.0.2")(zone));
    const expected = [
      ...[...ofDns, ...more].map(([, named]) => named),
      `listed ${ADDRESS}`,
      `port-shut ${ADDRESS}:${shut} (submission)`,
      "outbound-shut remote.test",
      "clock-wrong clock",
      "queue-old queue",
      `disk-full ${world.folder}/store`,
      `certificate-expired port ${[world.ports[0]!, world.ports[2]!].toSorted((a, b) => a - b).join(", ")}`,
    ].sort();
    assert.ok(expected.length >= 20);
    const findings = await world.examined({
      now: Date.now() + 100 * DAY,
      spaceOf: () => Promise.resolve({ free: 0, total: 1e12 }),
      ask: (what) => what === "clock" ? clock(-HOUR) : askServer(`${world.folder}/store`, { do: what }),
    }, (config) => config.replace(/^port = \d+$/m, `port = ${shut}`).replace(`:${submission}"`, `:${shut}"`));
    assert.deepEqual(faultsIn(findings), expected);

    world.serve(pasted(zone, findings));
    assert.deepEqual(faultsIn(await world.examined()), []);
  });
});

/** Each record takes the place of those of its kind; of texts, of those that speak of the same matter. */
function pasted(zone: Lines, findings: readonly Finding[]): Lines {
  return findings.flatMap(({ records = [] }) => records).reduce((lines: Lines, record) => {
    const matter = /^v=\w+/.exec(record.value)?.[0] ?? "";
    const begin = `${record.name}. IN ${record.type} ${record.type === "TXT" ? `"${matter}` : ""}`;
    return [...lines.filter((line) => !line.startsWith(begin)), formatRecord(record)];
  }, zone);
}

function empty() {
  return Promise.resolve({ ok: true, value: { messages: 0 } } as const);
}

/** Who is told of a fault is told what to do, in a sentence. */
function assertTreated({ result, fault, found, advice = "" }: Finding, what: string): void {
  if (result === "ok") return assert.equal(fault, undefined);
  assert.match(advice, /^[A-Z].{10,}[.:]$/, `${what}: ${advice}`);
  assert.doesNotMatch(found, /[.:]$|undefined/, what);
}
