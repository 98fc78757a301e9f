/** The published cases of RFC 7208, each through our own resolver and a name server of its own. */

import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { checkSpf } from "../../src/check/spf.ts";
import type { DnsRecord } from "../../src/dns/records.ts";
import { Resolver } from "../../src/dns/resolver.ts";
import type { Message } from "../../src/dns/wire.ts";
import { lookIn, makeZone, type Zone } from "../../src/sandbox/zone.ts";
import { replyTo, serveScript } from "../support/dns_scripted.ts";
import { withVectors } from "../support/vectors.ts";

interface Suite {
  readonly description: string;
  readonly tests: Readonly<Record<string, Case>>;
  readonly zonedata: Readonly<Record<string, readonly Entry[]>>;
}

interface Case {
  readonly helo: string;
  readonly host: string;
  readonly mailfrom: string;
  /** One, or any of several. */
  readonly result: string | readonly string[];
  readonly explanation?: string;
}

type Entry = "TIMEOUT" | Readonly<Record<string, unknown>>;

const FILE = "rfc7208-tests.yml", CASES = 203;
/** What happens to a question that the suite says is not answered. */
type Trouble = "silence" | "SERVFAIL";

for (const trouble of ["silence", "SERVFAIL"] as const) {
  withVectors(
    `SPF finds what the ${CASES} cases of RFC 7208 ask for, with ${trouble} for TIMEOUT`,
    [FILE],
    async (read) => {
      const suites = parseAllDocuments(read(FILE)).map((document) => document.toJS() as Suite);
      const wrong: string[] = [];
      let count = 0;
      const runs = await Promise.all(suites.map(async (suite) => ({ suite, cases: await run(suite, trouble) })));
      for (const { suite, cases } of runs) {
        for (const [name, told] of cases) {
          count++;
          if (told !== undefined) wrong.push(`${suite.description}: ${name}: ${told}`);
        }
      }
      assert.deepEqual(wrong, []);
      assert.equal(count, CASES);
    },
  );
}

/** By name of the case: what is wrong with it. */
async function run(suite: Suite, trouble: Trouble): Promise<(readonly [string, string | undefined])[]> {
  const { zone, silent } = readZone(suite.zonedata);
  const server = await serveScript({ udp: (query) => answer(query, zone, silent, trouble) });
  const dns = new Resolver({ servers: [server.server], patience: 1000, deadline: 3000 });
  try {
    return await Promise.all(
      Object.entries(suite.tests).map(async ([name, it]) => [name, await tell(it, dns)] as const),
    );
  } finally {
    await dns.close();
    await server.close();
  }
}

async function tell({ helo, host, mailfrom, result, explanation }: Case, dns: Resolver): Promise<string | undefined> {
  const found = await checkSpf({ host, hello: helo, sender: mailfrom }, dns, "mx.our.test");
  if (![result].flat().includes(found.result)) return `${found.result} instead of ${result}`;
  const said = explanation === undefined || explanation === "DEFAULT" ? undefined : explanation;
  // The case of hexadecimal digits is nowhere prescribed.
  if (explanation !== undefined && found.explanation?.toLowerCase() !== said?.toLowerCase()) {
    return `says ${found.explanation} instead of ${said}`;
  }
  return undefined;
}

function answer(query: Message, zone: Zone, silent: ReadonlySet<string>, trouble: Trouble): readonly Uint8Array[] {
  const { name, type } = query.question;
  const { exists, records } = lookIn(zone, name, type);
  if (silent.has(name) && records.length === 0) return trouble === "silence" ? [] : [replyTo(query, { code: 2 })];
  return [replyTo(query, { answers: records, code: exists ? 0 : 3 })];
}

/** The zone, and the names that answer nothing beyond it. */
function readZone(data: Suite["zonedata"]): { readonly zone: Zone; readonly silent: ReadonlySet<string> } {
  const records: DnsRecord[] = [], silent = new Set<string>();
  for (const [key, entries] of Object.entries(data)) {
    const name = key.toLowerCase();
    // An SPF record stands for a TXT record too, unless the name has TXT records of its own.
    const hasText = entries.some((entry) => typeof entry === "object" && "TXT" in entry);
    for (const entry of entries) {
      if (typeof entry === "string") silent.add(name);
      else records.push(...Object.entries(entry).flatMap(([type, value]) => recordOf(name, type, value, hasText)));
    }
  }
  const zone = makeZone(records, new Map());
  return {
    zone: { ...zone, names: new Map([...[...silent].map((name) => [name, []] as const), ...zone.names]) },
    silent,
  };
}

function recordOf(name: string, type: string, value: unknown, hasText: boolean): readonly DnsRecord[] {
  const head = { name, ttl: 60 }, text = [value].flat().join("");
  switch (type) {
    case "A":
    case "AAAA":
      return [{ ...head, type, data: text }];
    case "PTR":
    case "CNAME":
      return [{ ...head, type, data: text.toLowerCase().replace(/\.$/, "") }];
    case "MX": {
      const [preference, exchange] = value as readonly [number, string];
      return [{ ...head, type, data: { preference, exchange: exchange.toLowerCase() } }];
    }
    case "SPF":
      return hasText ? [] : [{ ...head, type: "TXT", data: text }];
    case "TXT":
      return text === "NONE" ? [] : [{ ...head, type, data: text }];
    default:
      throw new Error(`a record of type ${type}`);
  }
}
