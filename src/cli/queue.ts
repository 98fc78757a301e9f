import type { QueueRow, RecipientRow, Selection } from "../queue/selection.ts";
import { placeOf } from "../queue/target.ts";
import { adopt } from "./adopt.ts";
import type { Command, Given, Option } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION, WrongUsage, YES_OPTION } from "./arguments.ts";
import type { Column } from "./table.ts";
import { counted, formatJson, formatSides, formatTable, printable } from "./table.ts";
import { withQueue } from "./with_queue.ts";

const SELECTING: readonly Option[] = [
  { name: "from", value: "ADDRESS", explain: "messages of this sender; <> for bounces" },
  { name: "to", value: "ADDRESS", explain: "this recipient" },
  { name: "domain", value: "DOMAIN", explain: "recipients in this domain" },
  { name: "all", explain: "all messages" },
];
const IDS = { name: "id", explain: "queue id, as 250 named it", optional: true, many: true } as const;
const LISTED = 1000;

const list: Command = {
  name: "list",
  summary: "list the messages that are not delivered yet",
  examples: ["queue list", "queue list --domain example.org --json"],
  arguments: [IDS],
  options: [...SELECTING, { name: "limit", value: "N", explain: `at most so many messages (${LISTED})` }, JSON_OPTION],
  async run(args, options, context) {
    const selection = selectionOf(args, options) ?? { all: true };
    const limit = options.number("limit") ?? LISTED;
    const { rows, count } = await withQueue(context, async (ask) => ({
      rows: await ask({ do: "queue.list", selection, limit }) as QueueRow[],
      count: await ask({ do: "queue.count", selection }) as number,
    }));
    if (options.has("json")) context.out(formatJson(rows.map(asJson)));
    else if (rows.length === 0) context.note("No message is waiting.");
    else context.out(formatTable(COLUMNS, rows.flatMap(linesOf), context.colour));
    if (count > rows.length) context.note(`These are ${rows.length} of ${count} messages: --limit shows more.`);
    return DONE;
  },
};

const show: Command = {
  name: "show",
  summary: "show one message with all its recipients",
  examples: ["queue show 01jhx2m9q4ta"],
  arguments: [{ name: "id", explain: "queue id, as 250 named it" }],
  options: [JSON_OPTION],
  async run(args, options, context) {
    const id = args.text("id");
    const row = await withQueue(context, (ask) => ask({ do: "queue.show", id })) as QueueRow | null;
    if (row === null) {
      context.note(`No message ${printable(id)} is in the queue: it is delivered, bounced or dropped, or never was.`);
      return FAILED;
    }
    context.out(options.has("json") ? formatJson(asJson(row)) : sidesOf(row, context.colour));
    return DONE;
  },
};

interface Change {
  readonly name: "retry" | "hold" | "release" | "drop" | "bounce";
  readonly summary: string;
  /** What the messages are afterwards. */
  readonly done: string;
  /** It cannot be undone: more than one message needs a yes. */
  readonly asks?: true;
  readonly example: string;
}

const CHANGES: readonly Change[] = [
  { name: "retry", summary: "try messages now", done: "due now", example: "queue retry --domain example.org" },
  {
    name: "hold",
    summary: "keep messages from being sent",
    done: "held",
    example: "queue hold --from ann@example.com",
  },
  { name: "release", summary: "send what was held", done: "released", example: "queue release --all" },
  {
    name: "drop",
    summary: "delete messages without telling anybody",
    done: "dropped",
    asks: true,
    example: "queue drop 01jhx2m9q4ta",
  },
  {
    name: "bounce",
    summary: "give messages up and tell their senders",
    done: "returned to their senders",
    asks: true,
    example: "queue bounce --to bob@example.org",
  },
];

function changing({ name, summary, done, asks, example }: Change): Command {
  return {
    name,
    summary,
    examples: [example],
    arguments: [IDS],
    options: [...SELECTING, ...asks ? [YES_OPTION] : []],
    run(args, options, context) {
      const selection = selectionOf(args, options);
      if (selection === undefined) throw new WrongUsage("Say which messages: an ID, --from, --to, --domain, or --all.");
      return withQueue(context, async (ask) => {
        const count = Number(await ask({ do: "queue.count", selection }));
        const question = `${count} messages will be ${done}. Go on?`;
        if (asks && count > 1 && !options.has("yes") && !await context.prompt.confirm(question)) return FAILED;
        const changed = Number(await ask({ do: `queue.${name}`, selection }));
        context.out(`${counted(changed, "message")} ${done}.`);
        return changed > 0 ? DONE : FAILED;
      });
    },
  };
}

export const queue: Command = {
  name: "queue",
  summary: "see and steer the messages in flight",
  examples: ["queue list"],
  subcommands: [list, show, ...CHANGES.map(changing), adopt],
};

/** Undefined when nothing was said. */
function selectionOf(args: Given, options: Given): Selection | undefined {
  const ids = args.list("id"), from = options.maybe("from"), to = options.maybe("to"), domain = options.maybe("domain");
  if (options.has("all") && (ids.length > 0 || from !== undefined || to !== undefined || domain !== undefined)) {
    throw new WrongUsage("--all means every message: leave it out, or the other conditions.");
  }
  const selection: Selection = {
    ...ids.length > 0 ? { ids } : {},
    ...from === undefined ? {} : { from: from === "<>" ? "" : from },
    ...to === undefined ? {} : { to },
    ...domain === undefined ? {} : { domain },
    ...options.has("all") ? { all: true } : {},
  };
  return Object.keys(selection).length === 0 ? undefined : selection;
}

interface Line {
  readonly row: QueueRow;
  readonly recipient: RecipientRow;
  /** The first of its message. */
  readonly first: boolean;
}

/** One line for each recipient who has not got it yet; all when that is nobody. */
function linesOf(row: QueueRow): Line[] {
  const open = row.recipients.filter(({ state }) => state === "waiting" || state === "held");
  return (open.length > 0 ? open : row.recipients).map((recipient, at) => ({ row, recipient, first: at === 0 }));
}

const COLUMNS: readonly Column<Line>[] = [
  { head: "ID", cell: ({ row, first }) => first ? row.id : "" },
  { head: "ARRIVED", cell: ({ row, first }) => first ? time(row.arrived) : "" },
  { head: "SIZE", cell: ({ row, first }) => first ? row.size : "", align: "right" },
  { head: "FROM", cell: ({ row, first }) => first ? row.sender || "<>" : "" },
  { head: "TO", cell: ({ recipient }) => recipient.address },
  { head: "STATE", cell: ({ recipient }) => recipient.state },
  { head: "TRIED", cell: ({ recipient }) => recipient.attempts, align: "right" },
  { head: "NEXT", cell: ({ recipient }) => nextOf(recipient) },
  { head: "LAST ANSWER", cell: ({ recipient }) => answerOf(recipient) },
];

function sidesOf({ id, arrived, size, sender, source, recipients }: QueueRow, colour: boolean): string {
  return formatSides([
    ["id", id],
    ["arrived", time(arrived)],
    ["size", `${size} bytes`],
    ["from", sender || "<>"],
    ["handed in", [source.by, source.host, source.user].filter((word) => word !== undefined).join(" ")],
    ...recipients.flatMap((recipient): [string, string][] => [
      ["to", recipient.address],
      ["  by way of", placeOf(recipient.target)],
      ["  state", `${recipient.state} after ${recipient.attempts} attempts`],
      ...recipient.state === "waiting" ? [["  next", nextOf(recipient)] as [string, string]] : [],
      ...isWarned(recipient) ? [["  sender", "knows that it is late"] as [string, string]] : [],
      ...recipient.reply ? [["  answer", answerOf(recipient)] as [string, string]] : [],
    ]),
  ], colour);
}

function nextOf({ state, due, rest }: RecipientRow): string {
  if (state !== "waiting") return "";
  if (rest !== undefined) return `out of reach, ${time(Date.now() + rest)}`;
  return due <= Date.now() ? "now" : time(due);
}

function isWarned({ state, warning }: RecipientRow): boolean {
  return warning === 0 && (state === "waiting" || state === "held");
}

function answerOf({ reply }: RecipientRow): string {
  return reply === undefined ? "" : `${reply.host}: ${reply.code} ${reply.enhanced} ${reply.text}`;
}

/** To the second, UTC. */
function time(at: number): string {
  return new Date(at).toISOString().slice(0, 19) + "Z";
}

function asJson({ arrived, recipients, ...row }: QueueRow) {
  return {
    ...row,
    arrived: new Date(arrived).toISOString(),
    recipients: recipients.map(({ due, rest, warning, lastAttempt, ...recipient }) => ({
      ...recipient,
      ...lastAttempt === undefined ? {} : { tried: new Date(lastAttempt).toISOString() },
      ...warning === 0 ? { warned: true } : {},
      ...recipient.state === "waiting"
        ? { next: new Date(rest === undefined ? due : Date.now() + rest).toISOString() }
        : {},
    })),
  };
}
