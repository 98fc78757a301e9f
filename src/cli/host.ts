import { banned, released } from "../check/host_history.ts";
import { activeBan } from "../check/host_rules.ts";
import { isExempt } from "../check/reputation.ts";
import { parseDuration } from "../config.ts";
import { exemptOf } from "../server/inspection.ts";
import type { Command, Context, Given } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION, WrongUsage, YES_OPTION } from "./arguments.ts";
import { asJson, COLUMNS, formatNetwork, formatTime, type Row, sidesOf } from "./host_view.ts";
import type { Column } from "./table.ts";
import { formatJson, formatSides, formatTable, printable } from "./table.ts";
import { demandHost, lookUp, type OpenHosts, withHosts } from "./with_hosts.ts";

const IP = { name: "ip", explain: "an IPv4 or IPv6 address" } as const;
const LISTED = 100;

const list: Command = {
  name: "list",
  summary: "list the hosts that have called, the latest first",
  examples: ["host list", "host list --banned --json", "host list --locked"],
  options: [
    { name: "banned", explain: "only those that are banned now" },
    { name: "locked", explain: "networks and logins that are locked out after failed logins" },
    { name: "limit", value: "N", explain: `at most so many (${LISTED})` },
    JSON_OPTION,
  ],
  run(_args, options, context) {
    return withHosts(context, async (open) => {
      if (options.has("locked")) return await listLocked(open, options, context);
      const limit = options.number("limit") ?? LISTED;
      const { rows, count } = await latest(open, limit, options.has("banned"));
      if (options.has("json")) context.out(formatJson(rows.map(asJson)));
      else if (rows.length > 0) context.out(formatTable(COLUMNS, rows, context.colour));
      else context.note(options.has("banned") ? "No host is banned." : "No host has called yet.");
      if (count > rows.length) context.note(`These are ${rows.length} of ${count} hosts: --limit shows more.`);
      return DONE;
    });
  },
};

/** The hosts that called last, and how many there are. Keeps no more in memory than it returns twice over. */
async function latest({ hosts, rules }: OpenHosts, limit: number, onlyBanned: boolean) {
  const now = Date.now();
  let rows: Row[] = [], count = 0;
  const shorten = () => rows = rows.sort(([, one], [, other]) => other.last - one.last).slice(0, limit);
  for await (const row of hosts.all()) {
    if (onlyBanned && activeBan(row[1], rules, now) === undefined) continue;
    count++;
    rows.push(row);
    if (rows.length >= 2 * limit + 1000) shorten();
  }
  shorten();
  return { rows, count };
}

async function listLocked({ lockouts }: OpenHosts, options: Given, context: Context): Promise<number> {
  const locked = await lockouts.list();
  if (options.has("json")) context.out(formatJson(locked));
  else if (locked.length === 0) context.note("Nobody is locked out.");
  else context.out(formatTable(LOCKED, locked, context.colour));
  return DONE;
}

type Locked = Awaited<ReturnType<OpenHosts["lockouts"]["list"]>>[number];
const LOCKED: readonly Column<Locked>[] = [
  { head: "LOCKED", cell: ({ of }) => of },
  { head: "NAME", cell: ({ name }) => name },
  { head: "FAILURES", cell: ({ failures }) => failures, align: "right" },
  { head: "SINCE", cell: ({ since }) => formatTime(since) },
  { head: "UNTIL", cell: ({ until }) => formatTime(until) },
];

const show: Command = {
  name: "show",
  summary: "show what is known of a host and its neighbours, and what follows from it",
  examples: ["host show 2001:db8::1", "host show 192.0.2.7 --json"],
  arguments: [IP],
  options: [JSON_OPTION],
  run(args, options, context) {
    return withHosts(context, async (open) => {
      const { ip, host } = demandHost(args.text("ip"), open.rules), known = await lookUp(open, ip, host);
      if (!options.has("json")) context.out(formatSides(sidesOf(host, known, open.mode), context.colour));
      else {
        const { record, near, standing, isExempt } = known;
        context.out(formatJson({
          host: formatNetwork(host),
          record: record === undefined ? null : asJson([host, record]),
          neighbours: near.map(({ network, ...counts }) => ({ network: formatNetwork(network), ...counts })),
          decision: { ...standing, exempt: isExempt, mode: open.mode },
        }));
      }
      return DONE;
    });
  },
};

const ban: Command = {
  name: "ban",
  summary: "refuse a host",
  examples: ["host ban 192.0.2.7", "host ban 2001:db8::1 --for 7d --reason 'floods us'"],
  arguments: [IP],
  options: [
    { name: "for", value: "DURATION", explain: "such as 12h or 7d; default: until it is unbanned" },
    { name: "reason", value: "TEXT", explain: "told to the host" },
  ],
  run(args, options, context) {
    return withHosts(context, async ({ config, hosts, rules, mode }) => {
      const { ip, host } = demandHost(args.text("ip"), rules), lasts = durationOf(options);
      const reason = printable(options.maybe("reason") ?? "by hand");
      const after = await hosts.write(host, (record, at) => {
        const until = lasts === undefined ? undefined : at + lasts;
        return banned({ ...record, allowed: false }, at, { reason, inherited: false, hand: true, until });
      });
      if (isExempt(ip, exemptOf(config))) context.note("It is in reputation.exempt, and comes in all the same.");
      else if (mode === "off") context.note('reputation.mode is "off": it comes in all the same.');
      const until = after?.ban?.until;
      context.out(
        `Banned ${formatNetwork(host)} ${until === undefined ? "until it is unbanned" : `until ${formatTime(until)}`}.`,
      );
      return DONE;
    });
  },
};

function durationOf(options: Given): number | undefined {
  const text = options.maybe("for");
  if (text === undefined) return undefined;
  const lasts = parseDuration(text);
  if (lasts === undefined || lasts < 60_000) {
    throw new WrongUsage(`--for must be a duration such as 12h or 7d, not ${JSON.stringify(text)}.`);
  }
  return lasts;
}

const unban: Command = {
  name: "unban",
  summary: "let a host in again, or a network or login that is locked out",
  examples: ["host unban 192.0.2.7", "host unban ann@example.com"],
  arguments: [{ name: "who", explain: "an address, or the login of a user" }],
  run(args, _options, context) {
    return withHosts(context, async (open) => {
      const who = args.text("who"), { hosts, lockouts, rules } = open;
      const lifted = await lockouts.lift(who);
      if (lifted) context.out(`${printable(who)} may sign in again.`);
      if (who.includes("@")) {
        if (!lifted) context.note(`${printable(who)} is not locked out.`);
        return lifted ? DONE : FAILED;
      }
      const { ip, host } = demandHost(who, rules), record = await hosts.get(host);
      if (record !== undefined && activeBan(record, rules, Date.now()) !== undefined) {
        await hosts.write(host, released);
        context.out(`${formatNetwork(host)} is not banned any more; how often it was is remembered.`);
        return DONE;
      }
      if (lifted) return DONE;
      const { standing } = await lookUp(open, ip, host);
      context.note(
        standing.is === "inherits"
          ? `${formatNetwork(host)} itself is not banned, its neighbours are: "host allow ${
            printable(who)
          }" lets it in all the same.`
          : `${formatNetwork(host)} is not banned.`,
      );
      return FAILED;
    });
  },
};

const allow: Command = {
  name: "allow",
  summary: "never judge a host, whatever it does and whoever its neighbours are",
  examples: ["host allow 192.0.2.7", "host allow 192.0.2.7 --undo"],
  arguments: [IP],
  options: [{ name: "undo", explain: "judge it like others again" }],
  run(args, options, context) {
    return withHosts(context, async ({ hosts, rules }) => {
      const { host } = demandHost(args.text("ip"), rules), allowed = !options.has("undo");
      await hosts.write(host, (record) => ({ ...(allowed ? released(record) : record), allowed }));
      context.out(`${formatNetwork(host)} is ${allowed ? "never judged" : "judged like others"} from now on.`);
      return DONE;
    });
  },
};

const forget: Command = {
  name: "forget",
  summary: "forget all that is known of a host, its bans too",
  examples: ["host forget 192.0.2.7", "host forget 192.0.2.7 --yes"],
  arguments: [IP],
  options: [YES_OPTION],
  run(args, options, context) {
    return withHosts(context, async ({ hosts, rules }) => {
      const { host } = demandHost(args.text("ip"), rules), name = formatNetwork(host);
      const record = await hosts.get(host);
      if (record === undefined) {
        context.note(`Nothing is known of ${name}.`);
        return FAILED;
      }
      const sure = options.has("yes") ||
        await context.prompt.confirm(`Forget ${name}, seen since ${formatTime(record.first)}?`);
      if (!sure) return FAILED;
      await hosts.write(host, () => undefined);
      context.out(`Forgot ${name}.`);
      return DONE;
    });
  },
};

const exported: Command = {
  name: "export",
  summary: "print all hosts, one line of JSON for each",
  examples: ["host export > hosts.jsonl"],
  run(_args, _options, context) {
    return withHosts(context, async ({ hosts }) => {
      for await (const row of hosts.all()) context.out(JSON.stringify(asJson(row)));
      return DONE;
    });
  },
};

export const host: Command = {
  name: "host",
  summary: "the hosts that have called, and what is thought of them",
  examples: ["host show 2001:db8::1"],
  subcommands: [list, show, ban, unban, allow, forget, exported],
};
