import { withCrlf } from "../accept/submit.ts";
import { loadConfig } from "../config.ts";
import { rehearse } from "../server/rehearsal.ts";
import { parseMailbox } from "../smtp/address.ts";
import { formatIp, parseIp } from "../smtp/network.ts";
import type { Command, Given } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION, WrongUsage } from "./arguments.ts";
import { asOwner } from "./store_owner.ts";
import { formatStory } from "./story_view.ts";
import { formatJson } from "./table.ts";

export const tryOut: Command = {
  name: "try",
  summary: "tell what would happen to a message from outside, without taking it",
  examples: [
    "try --ip 192.0.2.7 --from carol@remote.test --to ann@example.com",
    "try --ip 2001:db8::7 --helo mail.remote.test --from '<>' --to ann@example.com message.eml",
  ],
  arguments: [{ name: "file", explain: "the message; default: a short one", optional: true }],
  options: [
    { name: "ip", value: "IP", explain: "the address it comes from" },
    { name: "helo", value: "NAME", explain: "how the host calls itself; default: its address" },
    { name: "from", value: "ADDRESS", explain: "sender; <> for a bounce" },
    { name: "to", value: "ADDRESS", explain: "recipient" },
    JSON_OPTION,
  ],
  async run(args, options, context) {
    const ip = parseIp(demand(options, "ip"));
    if (ip === undefined) throw new WrongUsage(`--ip must be an address, not ${JSON.stringify(options.text("ip"))}.`);
    const sender = demand(options, "from"),
      from = sender === "<>" || sender === "" ? undefined : demandMailbox(sender, "from");
    const to = demandMailbox(demand(options, "to"), "to"), host = formatIp(ip);
    const helo = options.maybe("helo") ?? (ip.family === 4 ? `[${host}]` : `[IPv6:${host}]`);
    const config = await loadConfig(context.configFile), file = args.maybe("file");
    const author = from ? sender : "postmaster@remote.invalid";
    const short = `From: ${author}\nTo: ${options.text("to")}\nSubject: a try\n\nHello\n`;
    const message = file === undefined ? new TextEncoder().encode(short) : await Deno.readFile(file);
    const decision = await asOwner(
      config.store,
      () => rehearse(config, { ip: host, helo, from, to, message: withCrlf(message) }),
    );
    const steps = decision.steps.map(({ setting, ...step }) => ({
      ...step,
      ...(setting !== undefined && { setting: config.settingOf(setting) }),
    }));
    const story = { ...decision, steps, at: Date.now(), tells: "decision" } as const;
    const isTaken = /^[23]/.test(decision.reply);
    if (options.has("json")) context.out(formatJson({ taken: isTaken, ...story }));
    else {
      const reply = isTaken ? "250 2.0.0 (nothing was taken: this is a try)" : decision.reply;
      context.out(formatStory({ ...story, reply }, [], context.configFile, context.colour));
    }
    return isTaken ? DONE : FAILED;
  },
};

function demand(options: Given, name: string): string {
  const text = options.maybe(name);
  if (text === undefined) throw new WrongUsage(`--${name} is missing: see try --help.`);
  return text;
}

function demandMailbox(text: string, option: string) {
  const mailbox = parseMailbox(text.replace(/^<(.*)>$/, "$1"));
  if (mailbox === undefined) throw new WrongUsage(`--${option} must be an address, not ${JSON.stringify(text)}.`);
  return mailbox;
}
