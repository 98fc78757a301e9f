import { type Alias, demandMailbox } from "../store/people.ts";
import type { Command } from "./arguments.ts";
import { DONE, JSON_OPTION, WrongUsage } from "./arguments.ts";
import type { Column } from "./table.ts";
import { formatJson, formatTable, printable } from "./table.ts";
import { withPeople } from "./with_people.ts";

const COLUMNS: readonly Column<Alias>[] = [
  { head: "ADDRESS", cell: ({ address }) => address },
  { head: "LEADS TO", cell: ({ targets }) => targets.join(", ") },
  { head: "UNTIL", cell: ({ until }) => until === undefined ? "" : closing(until) },
];

const UNTIL = {
  name: "until",
  value: "WHEN",
  explain: "closed from then on: a date (to its end, UTC), a time like 2026-12-31T12:00Z, 12h, 30d, or now",
} as const;

const add: Command = {
  name: "add",
  summary: "lead an address to others",
  examples: [
    "alias add sales@example.com ann@example.com bob@elsewhere.test",
    "alias add fair2026@example.com ann@example.com --until 2026-12-31",
  ],
  arguments: [
    { name: "address", explain: "the alias, in a domain of ours" },
    { name: "target", many: true, explain: "where its mail goes, ours or elsewhere" },
  ],
  options: [
    UNTIL,
    { name: "replace", explain: "take the place of an alias that exists" },
  ],
  run(args, options, context) {
    const until = options.has("until") ? { until: parseUntil(options.text("until"), Date.now()) } : {};
    return withPeople(context, async ({ aliases }) => {
      const alias = await aliases.add({
        address: args.text("address"),
        targets: args.list("target"),
        replace: options.has("replace"),
        ...until,
      });
      context.out(`${printable(alias.address)} leads to ${printable(alias.targets.join(", "))}.`);
      return DONE;
    });
  },
};

const disposable: Command = {
  name: "disposable",
  summary: "make up an address for one correspondent, and print it",
  examples: [
    "alias disposable ann@example.com --for bookshop",
    "alias disposable ann@example.com --for fair --until 30d",
  ],
  arguments: [{
    name: "target",
    many: true,
    explain: "where its mail goes; the first one in a domain of ours has its domain",
  }],
  options: [
    { name: "for", value: "WORD", explain: "what the address begins with (default: mail)" },
    UNTIL,
  ],
  run(args, options, context) {
    const until = options.has("until") ? { until: parseUntil(options.text("until"), Date.now()) } : {};
    return withPeople(context, async ({ config, aliases }) => {
      const targets = args.list("target"), ours = config.domains.map(({ name }) => name);
      const found = targets.map((target) => demandMailbox(target, "The target").domain).find((one) =>
        ours.includes(one)
      );
      const word = options.maybe("for") ?? "mail";
      const alias = await aliases.disposable({ word, domain: found ?? ours[0] ?? "", targets, ...until });
      context.out(printable(alias.address));
      return DONE;
    });
  },
};

const close: Command = {
  name: "close",
  summary: "close an alias: mail to it is refused from now on, even with a catch-all",
  examples: ["alias close bookshop-k3x9pt@example.com"],
  arguments: [{ name: "address", explain: "the alias" }],
  run(args, _options, context) {
    return withPeople(context, async ({ aliases }) => {
      const alias = await aliases.close(args.text("address"));
      context.out(`Closed ${printable(alias.address)}; alias add --replace opens it again.`);
      return DONE;
    });
  },
};

const list: Command = {
  name: "list",
  summary: "list all aliases",
  examples: ["alias list", "alias list --json"],
  options: [JSON_OPTION],
  run(_args, options, context) {
    return withPeople(context, async ({ aliases }) => {
      const all = await aliases.list();
      if (options.has("json")) context.out(formatJson(all.map(asJson)));
      else if (all.length > 0) context.out(formatTable(COLUMNS, all, context.colour));
      else context.note("There are no aliases: add one with alias add.");
      return DONE;
    });
  },
};

const remove: Command = {
  name: "remove",
  summary: "end an alias; its address then goes to the catch-all, or is refused",
  examples: ["alias remove fair2026@example.com"],
  arguments: [{ name: "address", explain: "the alias" }],
  run(args, _options, context) {
    return withPeople(context, async ({ aliases }) => {
      const alias = await aliases.remove(args.text("address"));
      context.out(`Removed ${printable(alias.address)}.`);
      return DONE;
    });
  },
};

export const alias: Command = {
  name: "alias",
  summary: "addresses that lead to others",
  examples: ["alias add sales@example.com ann@example.com"],
  subcommands: [add, disposable, list, close, remove],
};

/** Milliseconds since 1970. */
export function parseUntil(text: string, now: number): number {
  const [, count, unit] = /^(\d{1,5})([mhdw])$/.exec(text) ?? [];
  const minutes = { m: 1, h: 60, d: 24 * 60, w: 7 * 24 * 60 }[unit ?? ""];
  if (text === "now") return now;
  if (minutes !== undefined) return now + Number(count) * minutes * 60_000;
  const date = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(text) + 24 * 3600_000 : NaN;
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : NaN;
  const until = Number.isNaN(date) ? time : date;
  if (Number.isNaN(until)) {
    throw new WrongUsage(
      `--until must be a date like 2026-12-31, a time like 2026-12-31T12:00Z, 12h, 30d, or now, not ${
        JSON.stringify(text)
      }.`,
    );
  }
  return until;
}

function closing(until: number): string {
  return `${new Date(until).toISOString()}${until <= Date.now() ? " (closed)" : ""}`;
}

function asJson({ address, targets, until, created }: Alias) {
  return {
    address,
    targets,
    until: until === undefined ? undefined : new Date(until).toISOString(),
    created: new Date(created).toISOString(),
  };
}
