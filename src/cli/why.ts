import { hostOf, type HostRules } from "../check/host_rules.ts";
import { asSeen, isIn, parseIp } from "../smtp/network.ts";
import { readStories, storiesFolder } from "../store/stories.ts";
import type { Command, Context, Given } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION } from "./arguments.ts";
import { formatTime, sidesOf } from "./host_view.ts";
import { type DecisionTold, eventText, type EventTold, formatStory } from "./story_view.ts";
import { formatJson, formatSides, printable } from "./table.ts";
import { demandHost, lookUp, type OpenHosts, withHosts } from "./with_hosts.ts";

const LISTED = 10;

export const why: Command = {
  name: "why",
  summary: "tell what happened to a message, a correspondent or a host, and which setting decided",
  examples: ["why 1m80sq693000", "why carol@remote.test", "why 2001:db8::1 --limit 3"],
  arguments: [{ name: "what", explain: "a queue id, an address of mail, or an IP address" }],
  options: [
    { name: "limit", value: "N", explain: `at most so many decisions, the latest ones (${LISTED})` },
    JSON_OPTION,
  ],
  run(args, options, context) {
    return withHosts(context, async (open) => await tell(args.text("what"), open, options, context));
  },
};

async function tell(what: string, open: OpenHosts, options: Given, context: Context): Promise<number> {
  const { store, stories: { keep } } = open.config;
  const limit = options.number("limit") ?? LISTED, ip = parseIp(what.replace(/^\[(.*)\]$/, "$1"));
  const found = await search(storiesFolder(store), subjectOf(what, open.rules), limit);
  const events = await eventsOf(storiesFolder(store), found.decisions);
  if (options.has("json")) {
    context.out(formatJson(found.decisions.map((one) => ({ ...one, events: events.get(one.id ?? "") ?? [] }))));
    return found.decisions.length > 0 ? DONE : FAILED;
  }
  const texts = found.decisions.map((story) =>
    formatStory(story, events.get(story.id ?? "") ?? [], context.configFile, context.colour)
  );
  if (found.decisions.length === 0) texts.push(...found.events.map(eventText));
  if (ip !== undefined) {
    const { host } = demandHost(what, open.rules);
    texts.push(formatSides(sidesOf(host, await lookUp(open, ip, host), open.mode), context.colour));
  }
  if (texts.length > 0) context.out(texts.join("\n\n"));
  if (found.more) context.note(`These are the latest ${limit}: --limit shows more.`);
  if (found.decisions.length > 0 || found.events.length > 0) return DONE;
  const since = formatTime(Date.now() - keep);
  context.note(`Nothing is told of ${printable(what)} since ${since}. What is told is at most a second behind.`);
  return FAILED;
}

/** What is looked for, and how it is known when it is found. */
interface Subject {
  readonly needle: string;
  is(story: DecisionTold): boolean;
  /** Events that nobody's decision leads to. */
  isEvent(event: EventTold): boolean;
}

function subjectOf(what: string, rules: HostRules): Subject {
  const ip = parseIp(what.replace(/^\[(.*)\]$/, "$1"));
  if (ip !== undefined) {
    const host = hostOf(ip, rules);
    const isHost = (text: string) => {
      const ip = parseIp(text);
      return ip !== undefined && isIn(asSeen(ip), host);
    };
    // All addresses of a /64 are one host, and are written in many ways; an IPv4 address in some others' clothes, too.
    return { needle: "", is: (story) => isHost(story.host), isEvent: ({ fields }) => isHost(String(fields.host)) };
  }
  const wanted = what.toLowerCase();
  if (what.includes("@")) {
    const same = (address: string | undefined) => address?.toLowerCase() === wanted;
    return {
      needle: what,
      is: ({ from, to, user }) => same(from) || same(user) || to.some(same),
      isEvent: ({ fields }) => same(String(fields.recipient ?? "")),
    };
  }
  return {
    needle: what,
    is: ({ id, connection }) => id?.toLowerCase() === wanted || connection === what,
    isEvent: ({ id }) => id?.toLowerCase() === wanted,
  };
}

/** The latest decisions, in the order of time. */
async function search(folder: string, subject: Subject, limit: number) {
  const decisions: DecisionTold[] = [], events: EventTold[] = [];
  let more = false;
  for await (const told of readStories(folder, [subject.needle])) {
    if (told.tells === "event") {
      if (subject.isEvent(told) && events.length < 100) events.push(told);
    } else if (subject.is(told)) {
      if (decisions.length >= limit) {
        more = true;
        break;
      }
      decisions.push(told);
    }
  }
  return { decisions: decisions.reverse(), events: events.reverse(), more };
}

/** What became of each message that was taken, by queue id. */
async function eventsOf(folder: string, decisions: readonly DecisionTold[]): Promise<Map<string, EventTold[]>> {
  const events = new Map<string, EventTold[]>();
  for (const { id } of decisions) if (id !== undefined) events.set(id, []);
  if (events.size === 0) return events;
  for await (const told of readStories(folder, [...events.keys()])) {
    if (told.tells === "event") events.get(told.id ?? "")?.unshift(told);
  }
  return events;
}
