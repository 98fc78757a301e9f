/** What a host does becomes its record: each function takes the record as it was and gives it as it is. Pure. */

import type { Ban, Counters, HostRecord } from "../store/host_record.ts";

/** Signs of a name that are remembered (`store/host_record`). */
const MAX_NAME = 64;

/** It connects. */
export function called(host: HostRecord, at: number): HostRecord {
  return { ...host, last: Math.max(host.last, at), connections: host.connections + 1 };
}

/** It says what it is called. A name that differs from the last one replaces it, and starts without a failure. */
export function named(host: HostRecord, said: string): HostRecord {
  // As it is kept: a longer one would be a new one each time.
  const name = said.slice(0, MAX_NAME).toLowerCase();
  const [latest, ...earlier] = host.names;
  if (latest === name) return host;
  const renamed = { ...host, names: [name, ...host.names.filter((one) => one !== name)].slice(0, 3), misnamed: false };
  return latest === undefined && earlier.length === 0 ? renamed : count(renamed, "nameChanges");
}

/** Its name and its address contradict each other. */
export function misnamed(host: HostRecord): HostRecord {
  return count({ ...host, misnamed: true }, "nameFailures");
}

export function count(host: HostRecord, counter: keyof Counters, by = 1): HostRecord {
  return { ...host, counters: { ...host.counters, [counter]: host.counters[counter] + by } };
}

/** A message of it was over the limit of a recipient, or of none. */
export function spammed(host: HostRecord, isSpam: boolean): HostRecord {
  const timesSpammed = Math.max(0, host.timesSpammed + (isSpam ? 1 : -1));
  return isSpam ? count({ ...host, timesSpammed }, "spam") : { ...host, timesSpammed };
}

/** It gave cause for a ban; causes older than `window` ms are forgotten. */
export function struck(host: HostRecord, at: number, window: number): HostRecord {
  return { ...host, strikes: [...host.strikes.filter((one) => at - one < window), at] };
}

/** Strikes that are forgiven, because they have led to a ban. */
export function banned(
  host: HostRecord,
  at: number,
  ban: Pick<Ban, "reason" | "inherited" | "hand"> & { readonly until?: number | undefined },
): HostRecord {
  const { until, reason, inherited, hand } = ban;
  const times = (host.ban?.times ?? 0) + 1;
  const made: Ban = {
    since: at,
    ...(until !== undefined && { until }),
    times,
    reason,
    inherited,
    ...(hand && { hand }),
    over: false,
  };
  return { ...host, ban: made, strikes: [] };
}

/** By hand: the ban, the strikes and the times spammed are gone; how often it was banned is not forgotten. */
export function released(host: HostRecord): HostRecord {
  const { ban, ...rest } = host;
  return { ...rest, ...(ban && { ban: { ...ban, over: true } }), strikes: [], timesSpammed: 0 };
}

/** What happened a half-life (ms) ago counts half, rounded down. As published, the times spammed are never forgotten. */
export function aged(
  host: HostRecord,
  at: number,
  { rules, halfLife }: { readonly rules: "classic" | "prefix"; readonly halfLife: number },
): HostRecord {
  const times = Math.floor((at - host.halved) / halfLife);
  if (times < 1) return host;
  const half = (value: number) => Math.floor(value / 2 ** times);
  const entries = Object.entries(host.counters).map(([name, value]) => [name, half(value)]);
  return {
    ...host,
    timesSpammed: rules === "classic" ? host.timesSpammed : half(host.timesSpammed),
    counters: Object.fromEntries(entries),
    halved: host.halved + times * halfLife,
  };
}
