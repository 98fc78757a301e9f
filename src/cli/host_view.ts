/** Hosts as a person reads them. */

import type { Mode } from "../check/reputation.ts";
import { formatIp, type Network } from "../smtp/network.ts";
import type { Counts } from "../store/host_counting.ts";
import type { Ban, HostRecord } from "../store/host_record.ts";
import type { Column } from "./table.ts";
import type { Known } from "./with_hosts.ts";

export type Row = readonly [host: Network, record: HostRecord];

export const COLUMNS: readonly Column<Row>[] = [
  { head: "HOST", cell: ([host]) => formatNetwork(host) },
  { head: "LAST SEEN", cell: ([, { last }]) => formatTime(last) },
  { head: "CONNECTIONS", cell: ([, { connections }]) => connections, align: "right" },
  { head: "ACCEPTED", cell: ([, { counters }]) => counters.accepted, align: "right" },
  { head: "SPAM", cell: ([, { counters }]) => counters.spam, align: "right" },
  { head: "NAME", cell: ([, { names }]) => names[0] ?? "-" },
  { head: "STANDING", cell: ([, record]) => standingOf(record) },
];

export function sidesOf(host: Network, known: Known, mode: Mode): (readonly [string, string | readonly string[]])[] {
  const { record, near, standing, isExempt } = known;
  const decision = isExempt ? "never judged: it is in reputation.exempt" : `${WORDS[standing.is]}: ${standing.numbers}`;
  return [
    ["host", formatNetwork(host)],
    ...record === undefined ? [["record", "none: it has never called, or long ago"] as const] : recordSides(record),
    ["neighbours", near.map(countsText)],
    ["decision now", mode === "enforce" || isExempt ? decision : `${decision} (${mode}: nobody is refused)`],
  ];
}

const WORDS = {
  welcome: "welcome",
  slow: "waits for the greeting, and its mail gets a higher score",
  banned: "refused",
  inherits: "refused for its neighbours",
} as const;

function recordSides(record: HostRecord): (readonly [string, string | readonly string[]])[] {
  const { counters } = record;
  return [
    ["first seen", formatTime(record.first)],
    ["last seen", formatTime(record.last)],
    ["connections", String(record.connections)],
    ["names", record.names],
    ["name changes", String(counters.nameChanges)],
    ["name is not its own", `${counters.nameFailures} times${record.misnamed ? ", the latest one too" : ""}`],
    ["SPF failures", String(counters.spfFailures)],
    ["DKIM failures", String(counters.dkimFailures)],
    ["DMARC failures", String(counters.dmarcFailures)],
    ["unknown recipients", String(counters.unknownRecipients)],
    ["protocol errors", String(counters.protocolErrors)],
    ["accepted messages", String(counters.accepted)],
    ["spam", `${counters.spam}; times spammed: ${record.timesSpammed}`],
    ["strikes", strikesText(record.strikes)],
    ["ban", record.ban === undefined ? "none" : banText(record.ban)],
    ...record.allowed ? [["allowed", "by hand: never judged"] as const] : [],
  ];
}

/** A host that sends much may have thousands. */
function strikesText(strikes: readonly number[]): string[] {
  const more = strikes.length - 10;
  return [...more > 0 ? [`${more} earlier ones`] : [], ...strikes.slice(-10).map(formatTime)];
}

function banText({ since, until, times, reason, inherited, over }: Ban): string {
  const end = over ? "is over" : until === undefined ? "until it is lifted" : `until ${formatTime(until)}`;
  return `${reason}; since ${formatTime(since)}, ${end}; number ${times}${inherited ? "; for its neighbours" : ""}`;
}

function countsText({ network, known, banned }: Counts): string {
  return `${formatNetwork(network)}: ${known} counted, ${banned} banned`;
}

function standingOf({ ban, allowed }: HostRecord): string {
  if (allowed) return "allowed";
  if (ban === undefined || ban.over) return "-";
  return ban.until === undefined ? "banned" : `banned until ${formatTime(ban.until)}`;
}

/** For --json and `host export`. */
export function asJson([host, { ban, first, last, halved, strikes, ...record }]: Row): Record<string, unknown> {
  const time = (at: number) => new Date(at).toISOString();
  return {
    host: formatNetwork(host),
    first: time(first),
    last: time(last),
    ...record,
    strikes: strikes.map(time),
    halved: time(halved),
    ban: ban === undefined ? null : {
      ...ban,
      since: time(ban.since),
      until: ban.until === undefined ? null : time(ban.until),
    },
  };
}

/** A single address without its length. */
export function formatNetwork(network: Network): string {
  const isSingle = network.length === (network.family === 4 ? 32 : 128);
  return isSingle ? formatIp(network) : `${formatIp(network)}/${network.length}`;
}

export function formatTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace("T", " ")}Z`;
}
