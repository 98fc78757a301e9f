/**
 * What is remembered of one host, and how it is kept: a plain object with short names, in which whatever is zero or
 * empty is left out and times are minutes. A million of them have to be cheap.
 */

import type { Network } from "../smtp/network.ts";

export interface HostRecord {
  /** Milliseconds since 1970. */
  readonly first: number;
  readonly last: number;
  /** In all; never halved. */
  readonly connections: number;
  readonly ban?: Ban;
  /** By hand: never judged, never expires. */
  readonly allowed: boolean;
  /** What it called itself, the latest first. */
  readonly names: readonly string[];
  /** The latest name and the address contradict each other. */
  readonly misnamed: boolean;
  /** When the host gave cause for a ban, milliseconds since 1970; only those that still count. */
  readonly strikes: readonly number[];
  /** How often its recipients said spam, less how often they did not. */
  readonly timesSpammed: number;
  readonly counters: Counters;
  /** When the counters were last halved, milliseconds since 1970. */
  readonly halved: number;
}

/** They are halved every half-life. */
export interface Counters {
  readonly nameChanges: number;
  readonly nameFailures: number;
  readonly spfFailures: number;
  readonly dkimFailures: number;
  readonly dmarcFailures: number;
  readonly unknownRecipients: number;
  readonly protocolErrors: number;
  readonly accepted: number;
  readonly spam: number;
}

export interface Ban {
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Absent: until it is lifted. */
  readonly until?: number;
  /** How many it has had, with this one. */
  readonly times: number;
  readonly reason: string;
  /** Because of its neighbours, not of what it did. */
  readonly inherited: boolean;
  /** By a person, who wants it also while others are only observed. */
  readonly hand?: true;
  /** It is over, and no longer counted among those of its neighbourhood; its `times` are remembered. */
  readonly over: boolean;
}

/** As it lies in the store. Minutes since 1970; zero, empty and false are left out. */
export interface StoredHost {
  readonly f: number;
  /** Since `f`, like `c`. */
  readonly l?: number;
  readonly n?: number;
  readonly b?: readonly [since: number, until: number, times: number, flags: number, reason: string];
  readonly w?: true;
  readonly h?: readonly string[] | string;
  readonly m?: true;
  readonly s?: readonly number[];
  /** How many strikes each of `s` stands for; absent: one. */
  readonly k?: readonly number[];
  readonly t?: number;
  readonly c?: readonly number[];
  readonly d?: number;
}

const MINUTE = 60_000, INHERITED = 1, OVER = 2, HAND = 4;
const DAY = 24 * 60;
const MAX_NAMES = 3, MAX_NAME = 64, MAX_REASON = 120;
/** Times of strikes, and strikes in all: a good host that sends much is given thousands. */
const MAX_TIMES = 10, MAX_STRIKES = 10_000;

const NOTHING: Counters = {
  nameChanges: 0,
  nameFailures: 0,
  spfFailures: 0,
  dkimFailures: 0,
  dmarcFailures: 0,
  unknownRecipients: 0,
  protocolErrors: 0,
  accepted: 0,
  spam: 0,
};
const NAMES = Object.keys(NOTHING) as (keyof Counters)[];

/** A host that has never called. */
export function newHost(now: number): HostRecord {
  return {
    first: now,
    last: now,
    connections: 0,
    allowed: false,
    names: [],
    misnamed: false,
    strikes: [],
    timesSpammed: 0,
    counters: NOTHING,
    halved: now,
  };
}

export function encodeHost(host: HostRecord): StoredHost {
  const { ban } = host;
  const first = toMinutes(host.first), last = toMinutes(host.last), halved = toMinutes(host.halved);
  const counters = NAMES.map((name) => host.counters[name]);
  while (counters.at(-1) === 0) counters.pop();
  const names = host.names.slice(0, MAX_NAMES).map((name) => name.slice(0, MAX_NAME));
  const strikes = timesOf(host.strikes), counts = strikes.map(([, count]) => count);
  return {
    f: first,
    ...(last !== first && { l: last - first }),
    ...(host.connections > 0 && { n: host.connections }),
    ...(ban && {
      b: [
        toMinutes(ban.since),
        ban.until === undefined ? 0 : Math.ceil(ban.until / MINUTE),
        ban.times,
        (ban.inherited ? INHERITED : 0) | (ban.over ? OVER : 0) | (ban.hand ? HAND : 0),
        ban.reason.slice(0, MAX_REASON),
      ] as const,
    }),
    ...(host.allowed && { w: true as const }),
    ...(names.length > 0 && { h: names.length === 1 ? names[0]! : names }),
    ...(host.misnamed && { m: true as const }),
    ...(strikes.length > 0 && { s: strikes.map(([time]) => time) }),
    ...(counts.some((count) => count > 1) && { k: counts }),
    ...(host.timesSpammed > 0 && { t: host.timesSpammed }),
    ...(counters.length > 0 && { c: counters }),
    ...(halved !== first && { d: halved - first }),
  };
}

export function decodeHost(stored: StoredHost): HostRecord {
  const { f, l = 0, n = 0, b, h = [], s = [], k = [], t = 0, c = [], d = 0 } = stored;
  return {
    first: f * MINUTE,
    last: (f + l) * MINUTE,
    connections: n,
    ...(b && {
      ban: {
        since: b[0] * MINUTE,
        ...(b[1] > 0 && { until: b[1] * MINUTE }),
        times: b[2],
        inherited: (b[3] & INHERITED) !== 0,
        ...((b[3] & HAND) !== 0 && { hand: true as const }),
        over: (b[3] & OVER) !== 0,
        reason: b[4],
      },
    }),
    allowed: stored.w ?? false,
    names: typeof h === "string" ? [h] : h,
    misnamed: stored.m ?? false,
    strikes: s.flatMap((minutes, index) => Array<number>(Math.min(k[index] ?? 1, MAX_STRIKES)).fill(minutes * MINUTE)),
    timesSpammed: t,
    counters: Object.fromEntries(NAMES.map((name, index) => [name, c[index] ?? 0])) as unknown as Counters,
    halved: (f + d) * MINUTE,
  };
}

/**
 * Minutes, and how many strikes there were. More than a few are told apart by their days only, so that a record stays
 * small: each is then as late as the last one of its day.
 */
function timesOf(strikes: readonly number[]): (readonly [minutes: number, count: number])[] {
  const width = strikes.length > MAX_TIMES ? DAY : 1;
  const times = new Map<number, readonly [minutes: number, count: number]>();
  for (const strike of strikes.slice(-MAX_STRIKES)) {
    const minutes = toMinutes(strike), slot = Math.floor(minutes / width), [latest, count] = times.get(slot) ?? [0, 0];
    times.set(slot, [Math.max(latest, minutes), count + 1]);
  }
  return [...times.values()].slice(-MAX_TIMES);
}

/** The bytes of a network in a key: family, length, and as many bytes as the length needs. */
export function networkKey({ family, bits, length }: Network): Uint8Array {
  const width = family === 4 ? 4 : 16, used = Math.ceil(length / 8);
  const key = new Uint8Array(2 + used);
  key[0] = family;
  key[1] = length;
  for (let at = 0; at < used; at++) key[2 + at] = Number((bits >> BigInt(8 * (width - 1 - at))) & 255n);
  return key;
}

export function networkOf(key: Uint8Array): Network {
  const [family, length = 0, ...bytes] = key;
  let bits = 0n;
  for (let at = 0; at < (family === 4 ? 4 : 16); at++) bits = (bits << 8n) | BigInt(bytes[at] ?? 0);
  return { family: family === 4 ? 4 : 6, bits, length };
}

/** Downwards: what is remembered never lies in the future. */
function toMinutes(milliseconds: number): number {
  return Math.floor(milliseconds / MINUTE);
}
