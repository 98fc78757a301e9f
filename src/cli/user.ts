import { join } from "node:path";
import { demandMailbox } from "../store/people.ts";
import { mailFolder } from "../store/mail_folder.ts";
import { type Alias, Refused, type User } from "../store/people.ts";
import type { Unsubscription } from "../store/unsubscribed.ts";
import { SEND_LIMIT } from "../store/users.ts";
import type { Argument, Command, Given, Option } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION, WrongUsage, YES_OPTION } from "./arguments.ts";
import type { Column } from "./table.ts";
import { formatJson, formatSides, formatTable, printable } from "./table.ts";
import { withPeople } from "./with_people.ts";

const ADDRESS: Argument = { name: "address", explain: "the user's login, or another of the user's addresses" };
const DELIVER: Option = {
  name: "deliver",
  value: "WHERE",
  many: true,
  explain: "maildir, maildir:PATH, forward:ADDRESS, lmtp:HOST:PORT or lmtp:unix:PATH; may be given several times",
};
const NAME: Option = { name: "name", value: "NAME", explain: "display name" };
const LIMITS: readonly Option[] = [
  { name: "send-limit", value: "NUMBER", explain: `recipients a day (default ${SEND_LIMIT})` },
  {
    name: "spam-limit",
    value: "SCORE",
    explain: "spam score above which mail is refused (default: checks.spam_limit)",
  },
  {
    name: "spam-times",
    value: "NUMBER",
    explain: "spam of one host above this number bans it (default: checks.spam_times)",
  },
];

const COLUMNS: readonly Column<User>[] = [
  { head: "ADDRESS", cell: ({ address }) => address },
  { head: "NAME", cell: ({ displayName }) => displayName },
  { head: "ENABLED", cell: ({ enabled }) => enabled ? "yes" : "no" },
  { head: "LIMIT", cell: ({ sendLimit }) => sendLimit, align: "right" },
  { head: "DELIVER", cell: ({ deliver }) => deliver.join(", ") || "default" },
  { head: "MORE ADDRESSES", cell: ({ addresses }) => addresses.join(", ") },
];

const add: Command = {
  name: "add",
  summary: "add a user; the password is asked for, or read from standard input",
  examples: [
    "user add ann@example.com --name 'Ann Example' --address info@example.com",
    "user add bob@example.com --deliver forward:bob@elsewhere.test < password",
  ],
  arguments: [{ name: "address", explain: "the login, in a domain of ours" }],
  options: [
    NAME,
    { name: "address", value: "ADDRESS", many: true, explain: "a further address; may be given several times" },
    DELIVER,
    ...LIMITS,
    { name: "newsletter", explain: "what the user submits tells how to unsubscribe" },
    { name: "disabled", explain: "receives mail and cannot sign in" },
    { name: "without-password", explain: "cannot sign in until there is one" },
  ],
  run(args, options, context) {
    return withPeople(context, async ({ users }) => {
      const address = args.text("address");
      demandMailbox(address, "The address");
      const password = options.has("without-password")
        ? {}
        : { password: await context.prompt.password(`Password of ${printable(address)}`, "new") };
      const user = await users.add({
        address,
        ...sides(options),
        addresses: options.list("address"),
        enabled: !options.has("disabled"),
        newsletter: options.has("newsletter"),
        ...password,
      });
      context.out(`Added ${printable(user.address)}.`);
      return DONE;
    });
  },
};

const list: Command = {
  name: "list",
  summary: "list all users",
  examples: ["user list", "user list --json"],
  options: [JSON_OPTION],
  run(_args, options, context) {
    return withPeople(context, async ({ users }) => {
      const all = await users.list();
      if (options.has("json")) context.out(formatJson(all.map(asJson)));
      else if (all.length > 0) context.out(formatTable(COLUMNS, all, context.colour));
      else context.note("There are no users: add one with user add.");
      return DONE;
    });
  },
};

const show: Command = {
  name: "show",
  summary: "show one user",
  examples: ["user show ann@example.com"],
  arguments: [ADDRESS],
  options: [JSON_OPTION],
  run(args, options, context) {
    return withPeople(context, async ({ users, aliases, unsubscribed }) => {
      const user = await users.get(args.text("address"));
      const gone = await unsubscribed.list(demandMailbox(user.address, "The user"));
      const password = await users.hasPassword(user);
      const led = leadingTo(user, await aliases.list());
      if (options.has("json")) {
        context.out(
          formatJson({ ...asJson(user), password, aliases: led, unsubscribed: gone.map(unsubscribedAsJson) }),
        );
      } else {
        context.out(formatSides([
          ["address", user.address],
          ["name", user.displayName || "-"],
          ["more addresses", user.addresses],
          ["aliases", led],
          ["deliver", user.deliver.length > 0 ? user.deliver : "default"],
          ["send limit", `${user.sendLimit} a day`],
          ["spam limit", String(user.spamLimit ?? "default")],
          ["spam times", String(user.spamTimes ?? "default")],
          ["newsletter", user.newsletter ? "yes" : "no"],
          ["enabled", user.enabled ? "yes" : "no"],
          ["password", password ? "set" : "none"],
          ["created", new Date(user.created).toISOString()],
          ["unsubscribed", gone.map(({ address, at, by }) => `${address} (${new Date(at).toISOString()}, by ${by})`)],
        ], context.colour));
      }
      return DONE;
    });
  },
};

const set: Command = {
  name: "set",
  summary: "change a user",
  examples: [
    "user set ann@example.com --add-address info@example.com --send-limit 2000",
    "user set ann@example.com --deliver maildir --deliver forward:ann@elsewhere.test",
  ],
  arguments: [ADDRESS],
  options: [
    NAME,
    { name: "add-address", value: "ADDRESS", many: true, explain: "give a further address" },
    { name: "remove-address", value: "ADDRESS", many: true, explain: "take a further address away" },
    { ...DELIVER, explain: `${DELIVER.explain}; replaces what there is` },
    { name: "default-delivery", explain: "deliver as the domain does by default" },
    ...LIMITS,
    { name: "newsletter", explain: "what the user submits tells how to unsubscribe" },
    { name: "no-newsletter", explain: "does not" },
    {
      name: "resubscribe",
      value: "ADDRESS",
      many: true,
      explain: "take somebody off the list of those who have unsubscribed; may be given several times",
    },
    { name: "enable", explain: "may sign in" },
    { name: "disable", explain: "may not sign in; mail still arrives" },
  ],
  run(args, options, context) {
    const changes = {
      ...sides(options),
      ...options.has("add-address") ? { addAddresses: options.list("add-address") } : {},
      ...options.has("remove-address") ? { removeAddresses: options.list("remove-address") } : {},
      ...options.has("default-delivery") ? { deliver: [] } : {},
      ...options.has("newsletter") ? { newsletter: true } : {},
      ...options.has("no-newsletter") ? { newsletter: false } : {},
      ...options.has("enable") ? { enabled: true } : {},
      ...options.has("disable") ? { enabled: false } : {},
    };
    for (const [one, other] of EXCLUSIVE) {
      if (options.has(one) && options.has(other)) throw new WrongUsage(`Say --${one} or --${other}, not both.`);
    }
    const back = options.list("resubscribe");
    if (Object.keys(changes).length + back.length === 0) {
      throw new WrongUsage("Nothing to change: name at least one option.");
    }
    return withPeople(context, async ({ users, unsubscribed }) => {
      const named = args.text("address"), changed = Object.keys(changes).length > 0;
      const user = changed ? await users.set(named, changes) : await users.get(named);
      if (changed) context.out(`Changed ${printable(user.address)}.`);
      const login = demandMailbox(user.address, "The user");
      for (const address of back) {
        if (!await unsubscribed.remove(login, demandMailbox(address, "The address"))) {
          throw new Refused(`${address} is not on the list of ${user.address}: "user show" has it.`);
        }
        context.out(`${printable(address)} may get mail of ${printable(user.address)} again.`);
      }
      return DONE;
    });
  },
};

const EXCLUSIVE = [
  ["enable", "disable"],
  ["deliver", "default-delivery"],
  ["newsletter", "no-newsletter"],
] as const;

const passwd: Command = {
  name: "passwd",
  summary: "set a new password; it is asked for, or read from standard input",
  examples: ["user passwd ann@example.com", "user passwd ann@example.com < password"],
  arguments: [ADDRESS],
  run(args, _options, context) {
    return withPeople(context, async ({ users }) => {
      const user = await users.get(args.text("address"));
      const password = await context.prompt.password(`New password of ${printable(user.address)}`, "new");
      await users.setPassword(user.address, password);
      context.out(`The password of ${printable(user.address)} is changed.`);
      return DONE;
    });
  },
};

const remove: Command = {
  name: "remove",
  summary: "remove a user; the mail that was delivered stays",
  examples: ["user remove bob@example.com", "user remove bob@example.com --yes"],
  arguments: [ADDRESS],
  options: [YES_OPTION],
  run(args, options, context) {
    return withPeople(context, async ({ config, users, aliases }) => {
      const user = await users.get(args.text("address"));
      const sure = options.has("yes") ||
        await context.prompt.confirm(`Remove ${printable(user.address)}? The mail that was delivered stays.`);
      if (!sure) {
        context.note("Nothing was removed.");
        return FAILED;
      }
      await users.remove(user.address);
      const folder = join(config.store, "mail", mailFolder(demandMailbox(user.address, "The user")));
      context.out(`Removed ${printable(user.address)}. What was delivered to ${printable(folder)} stays there.`);
      const led = leadingTo(user, await aliases.list());
      if (led.length > 0) context.note(`These aliases still lead there: ${printable(led.join(", "))}.`);
      return DONE;
    });
  },
};

export const user: Command = {
  name: "user",
  summary: "people: who has which addresses, and where their mail goes",
  examples: ["user add ann@example.com"],
  subcommands: [add, list, show, set, passwd, remove],
};

/** The options that `add` and `set` have in common. */
function sides(options: Given) {
  const displayName = options.maybe("name");
  const sendLimit = options.number("send-limit");
  const spamLimit = options.number("spam-limit"), spamTimes = options.number("spam-times");
  return {
    ...displayName === undefined ? {} : { displayName },
    ...options.has("deliver") ? { deliver: options.list("deliver") } : {},
    ...sendLimit === undefined ? {} : { sendLimit },
    ...spamLimit === undefined ? {} : { spamLimit },
    ...spamTimes === undefined ? {} : { spamTimes },
  };
}

function leadingTo(user: User, aliases: readonly Alias[]): string[] {
  const own = new Set([user.address, ...user.addresses].map((address) => address.toLowerCase()));
  return aliases.filter(({ targets }) => targets.some((target) => own.has(target.toLowerCase())))
    .map(({ address }) => address);
}

function unsubscribedAsJson({ address, at, by }: Unsubscription) {
  return { address, at: new Date(at).toISOString(), by };
}

/** In the words of the config. */
function asJson(user: User) {
  return {
    address: user.address,
    display_name: user.displayName,
    addresses: user.addresses,
    deliver: user.deliver,
    send_limit: user.sendLimit,
    spam_limit: user.spamLimit,
    spam_times: user.spamTimes,
    newsletter: user.newsletter === true,
    enabled: user.enabled,
    created: new Date(user.created).toISOString(),
  };
}
