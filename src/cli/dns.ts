import { loadConfig } from "../config.ts";
import { parseAddress, publicAddresses } from "../doctor/addresses.ts";
import { formatZone, type PublishedRecord, recordsOf } from "../doctor/records.ts";
import { parseDomain } from "../smtp/address.ts";
import { Refused } from "../store/people.ts";
import type { Command, Given, Option } from "./arguments.ts";
import { DONE, WrongUsage } from "./arguments.ts";
import type { Column } from "./table.ts";
import { formatJson, formatTable, printable } from "./table.ts";

export const ADDRESS_OPTION: Option = {
  name: "address",
  value: "IP",
  many: true,
  explain: "a public address of this machine, instead of those it finds (behind a NAT it finds none)",
};

const COLUMNS: readonly Column<PublishedRecord>[] = [
  { head: "NAME", cell: ({ name }) => name },
  { head: "TYPE", cell: ({ type }) => type },
  { head: "VALUE", cell: ({ value }) => value },
];

export const dns: Command = {
  name: "dns",
  summary: "print the DNS records to publish",
  examples: ["dns", "dns example.com --format zone", "dns --address 203.0.113.7 --format json"],
  arguments: [{ name: "domain", explain: "all of the config when it is left out", optional: true }],
  options: [
    {
      name: "format",
      value: "FORMAT",
      choices: ["table", "zone", "json"],
      explain: "table (default), zone (lines of a zone file) or json",
    },
    ADDRESS_OPTION,
  ],
  async run(args, options, context) {
    const { hostname, domains, dkim } = await loadConfig(context.configFile);
    const wanted = wantedDomains(args.maybe("domain"), domains);
    const addresses = addressesFrom(options) ?? publicAddresses();
    if (addresses.length === 0) {
      throw new Refused(
        "This machine has no public address of its own (it may be behind a NAT): say it with --address IP.",
      );
    }
    const keys = wanted.map(({ name }) => ({ name, dkim: dkim.filter(({ domain }) => domain === name) }));
    const records = recordsOf({ hostname, domains: keys, addresses });
    switch (options.maybe("format") ?? "table") {
      case "json":
        context.out(formatJson(records));
        return DONE;
      case "zone":
        context.out(formatZone(records));
        break;
      default:
        context.out(explained(records, context.colour));
    }
    for (const { name, dkim } of keys) {
      if (dkim.length === 0) {
        context.note(
          `${printable(name)} has no DKIM key in the config, so its mail is not signed: ` +
            `make one with maildemon dkim keygen ${printable(name)}.`,
        );
      }
    }
    return DONE;
  },
};

/** A table for each purpose, and a head for each place. */
function explained(records: readonly PublishedRecord[], colour: boolean): string {
  const places = new Map(records.map(({ where }) => [where, records.filter((record) => record.where === where)]));
  return [...places].map(([where, there]) => {
    const purposes = there.map(({ name, type, purpose }) => `  ${name} ${type}: ${purpose}`);
    return [`Publish ${where}:`, "", formatTable(COLUMNS, there, colour), "", ...purposes].join("\n");
  }).join("\n\n");
}

/** Those of the config, or the one that was named. */
export function wantedDomains<Domain extends { readonly name: string }>(
  named: string | undefined,
  domains: readonly Domain[],
): readonly Domain[] {
  if (named === undefined) return domains;
  const name = parseDomain(named);
  if (name === undefined || name.startsWith("[")) throw new WrongUsage("DOMAIN must be a name like example.com.");
  const found = domains.filter((domain) => domain.name === name);
  if (found.length > 0) return found;
  throw new Refused(`The config has no domain ${name}; it has ${domains.map(({ name }) => name).join(", ")}.`);
}

/** Undefined when none was given. */
export function addressesFrom(options: Given): string[] | undefined {
  if (!options.has("address")) return undefined;
  return [
    ...new Set(
      options.list("address").map((text) => {
        const address = parseAddress(text);
        if (address !== undefined) return address;
        throw new WrongUsage(
          `--address must be an IPv4 or IPv6 address like 203.0.113.7, not ${JSON.stringify(text)}.`,
        );
      }),
    ),
  ];
}
