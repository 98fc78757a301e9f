import { dirname, join, resolve } from "node:path";
import type { Config, DkimKey } from "../config.ts";
import { loadConfig } from "../config.ts";
import type { Lookup } from "../dns/records.ts";
import { Resolver } from "../dns/resolver.ts";
import { systemServers } from "../dns/servers.ts";
import { syncFolder, writeAll } from "../durable_file.ts";
import type { DkimKeyType } from "../send/dkim_key.ts";
import {
  demandBits,
  dkimRecord,
  dkimRecordName,
  generateDkimKey,
  LEAST_BITS,
  recordFault,
  txtInZone,
} from "../send/dkim_key.ts";
import { parseDomain } from "../smtp/address.ts";
import { Refused } from "../store/people.ts";
import type { Command, Context, Given } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION, WrongUsage } from "./arguments.ts";
import type { Column } from "./table.ts";
import { formatJson, formatTable, printable } from "./table.ts";

const DOMAIN = { name: "domain", explain: "all of the config when it is left out", optional: true } as const;

const keygen: Command = {
  name: "keygen",
  summary: "make DKIM keys for a domain; never overwrites one",
  examples: ["dkim keygen example.com", "dkim keygen example.com --type both --selector s2026a --dir ./dkim"],
  arguments: [{ name: "domain", explain: "the domain whose mail is signed" }],
  options: [
    { name: "type", value: "TYPE", choices: ["rsa", "ed25519", "both"], explain: "rsa (default), ed25519 or both" },
    { name: "bits", value: "BITS", explain: "of an RSA key: 2048 (default) to 4096" },
    {
      name: "selector",
      value: "NAME",
      explain: "name of the record (default: s and the date; Ed25519: e and the date)",
    },
    { name: "dir", value: "FOLDER", explain: "where the files go (default: dkim beside the config)" },
  ],
  async run(args, options, context) {
    const domain = parseDomain(args.text("domain"));
    if (domain === undefined || domain.startsWith("[")) throw new WrongUsage("DOMAIN must be a name like example.com.");
    // In full: what is printed for the config counts from its folder, not from here.
    const folder = resolve(options.maybe("dir") ?? join(dirname(context.configFile), "dkim"));
    const bits = options.number("bits") ?? LEAST_BITS;
    demandBits(bits);
    const made = planned(options).map((one) => ({ ...one, file: join(folder, `${domain}.${one.selector}.pem`) }));
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
    // Looked at first, so that of two keys not one is made and the other refused.
    for (const { file } of made) await demandAbsent(file);
    for (const { type, selector, file } of made) {
      const pem = await generateDkimKey(type, bits);
      await writeKey(file, pem);
      context.note(`Wrote ${printable(file)}.`);
      context.out(txtInZone(dkimRecordName(domain, selector), dkimRecord(pem)));
    }
    const lines = made.map(({ selector, file }) => `{ selector = "${selector}", key = ${JSON.stringify(file)} }`);
    context.note(`Publish ${made.length > 1 ? "these records" : "this record"}, and say in [[domains]] of ${domain}:`);
    context.note(`dkim = [${lines.join(", ")}]`);
    return DONE;
  },
};

const record: Command = {
  name: "record",
  summary: "print the DNS records of the configured keys, or of a key file",
  examples: ["dkim record example.com", "dkim record example.com --key ./s2026a.pem --selector s2026a"],
  arguments: [DOMAIN],
  options: [
    { name: "key", value: "FILE", explain: "a private key that is not in the config" },
    { name: "selector", value: "NAME", explain: "only this one; with --key, its name" },
    JSON_OPTION,
  ],
  async run(args, options, context) {
    const keys = await wantedKeys(args, options, context);
    const records = keys.map(({ domain, selector, pem }) => ({
      name: dkimRecordName(domain, selector),
      type: "TXT",
      value: dkimRecord(pem),
    }));
    context.out(
      options.has("json") ? formatJson(records) : records.map(({ name, value }) => txtInZone(name, value)).join("\n"),
    );
    return DONE;
  },
};

interface Checked {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
}

const COLUMNS: readonly Column<Checked>[] = [
  { head: "RECORD", cell: ({ name }) => name },
  { head: "RESULT", cell: ({ ok }) => ok ? "ok" : "wrong" },
  { head: "FOUND", cell: ({ found }) => found },
];

const check: Command = {
  name: "check",
  summary: "compare what the DNS says with the configured keys",
  examples: ["dkim check", "dkim check example.com"],
  arguments: [DOMAIN],
  options: [{ name: "selector", value: "NAME", explain: "only this one" }, JSON_OPTION],
  async run(args, options, context) {
    const config = await loadConfig(context.configFile);
    const keys = await wantedKeys(args, options, context);
    const servers = config.dns.servers.map(({ hostname, port }) => ({ address: hostname, port }));
    const resolver = new Resolver({ servers: servers.length > 0 ? servers : await systemServers() });
    try {
      const checked = await Promise.all(keys.map(async ({ domain, selector, pem }): Promise<Checked> => {
        const name = dkimRecordName(domain, selector);
        return { name, ...judge(await resolver.txt(name), dkimRecord(pem)) };
      }));
      context.out(options.has("json") ? formatJson(checked) : formatTable(COLUMNS, checked, context.colour));
      const wrong = checked.some(({ ok }) => !ok);
      if (wrong) context.note("See dkim record for what has to be published.");
      return wrong ? FAILED : DONE;
    } finally {
      await resolver.close();
    }
  },
};

export const dkim: Command = {
  name: "dkim",
  summary: "keys that sign outgoing mail",
  examples: ["dkim keygen example.com"],
  subcommands: [keygen, record, check],
};

/** What an answer about a record means for the key whose record should be `wanted`. */
export function judge(answer: Lookup<string>, wanted: string): Omit<Checked, "name"> {
  switch (answer.outcome) {
    case "no such name":
    case "no data":
      return { ok: false, found: "no record" };
    case "server failed":
    case "timed out":
      return { ok: false, found: `no answer: ${answer.reason}` };
    case "answer": {
      // RFC 6376 §3.6.2.2: with several records, verifiers may take any one of them.
      if (answer.records.length > 1) return { ok: false, found: `${answer.records.length} records; there must be one` };
      const fault = recordFault(answer.records[0] ?? "", wanted);
      return fault === undefined ? { ok: true, found: "the key" } : { ok: false, found: fault };
    }
    default:
      return answer satisfies never;
  }
}

function planned(options: Given): { type: DkimKeyType; selector: string }[] {
  const type = options.maybe("type") ?? "rsa";
  const selector = options.maybe("selector");
  if (selector !== undefined && !/^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$/i.test(selector)) {
    throw new WrongUsage("--selector must be letters, digits and hyphens, like s2026a.");
  }
  const dated = datedSelectors();
  const rsa = { type: "rsa", selector: selector ?? dated.rsa } as const;
  const ed25519 = { type: "ed25519", selector: selector ?? dated.ed25519 } as const;
  switch (type) {
    case "both":
      return [rsa, { ...ed25519, selector: selector === undefined ? ed25519.selector : `${selector}-ed` }];
    case "ed25519":
      return [ed25519];
    default:
      return [rsa];
  }
}

/** By the day on which keys are made, so that later ones can stand beside them. */
export function datedSelectors(): Readonly<Record<DkimKeyType, string>> {
  const date = new Date().toISOString().slice(0, 10).replaceAll("-", "");
  return { rsa: `s${date}`, ed25519: `e${date}` };
}

async function demandAbsent(file: string): Promise<void> {
  try {
    await Deno.lstat(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  throw new Refused(`${file} exists, and a key is never overwritten: choose another --selector or --dir.`);
}

async function writeKey(file: string, pem: string): Promise<void> {
  // createNew: whoever made the file since we looked keeps it.
  const opened = await Deno.open(file, { write: true, createNew: true, mode: 0o600 });
  try {
    await writeAll(opened, new TextEncoder().encode(pem));
    await opened.sync();
  } finally {
    opened.close();
  }
  await syncFolder(dirname(file));
}

async function wantedKeys(
  args: Given,
  options: Given,
  context: Context,
): Promise<readonly Pick<DkimKey, "domain" | "selector" | "pem">[]> {
  const named = args.maybe("domain"), selector = options.maybe("selector");
  const domain = named === undefined ? undefined : parseDomain(named);
  if (named !== undefined && domain === undefined) throw new WrongUsage("DOMAIN must be a name like example.com.");
  const file = options.maybe("key");
  if (file !== undefined) {
    if (domain === undefined || selector === undefined) throw new WrongUsage("--key needs DOMAIN and --selector.");
    return [{ domain, selector, pem: await Deno.readTextFile(file) }];
  }
  const config: Pick<Config, "dkim"> = await loadConfig(context.configFile);
  const keys = config.dkim.filter((key) =>
    (domain === undefined || key.domain === domain) && (selector === undefined || key.selector === selector)
  );
  if (keys.length === 0) {
    throw new Refused(
      `The config has no DKIM key${domain === undefined ? "" : ` for ${domain}`}${
        selector === undefined ? "" : ` with the selector ${selector}`
      }: make one with dkim keygen.`,
    );
  }
  return keys;
}
