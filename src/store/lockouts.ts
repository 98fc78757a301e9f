/**
 * Who has failed too often to sign in: a network (one IPv4 address, one IPv6 /64) or a login name, each refused for a
 * while. All of it lies in the store, so that restarts forget nothing and processes that share it count together.
 *
 * A success takes back what its network owes for failures of this same login, so that who mistyped his password does not
 * shut out those around him; who has an account of his own cannot wipe out with it what he tried on the others. What
 * the login has against it stays: whoever sits beside the owner would otherwise guess anew after each of his logins.
 *
 * Strangers can lock a login, and its owner should not notice: networks from which it has lately been signed in may go
 * on, as long as they are not locked themselves. A success takes back nothing then.
 */

import { createHash } from "node:crypto";
import { asSeen, formatIp, isIn, type Network, parseIp, parseNetwork, prefixOf } from "../smtp/network.ts";
import { commit, KEY, pause } from "./kv.ts";
import { loginKey } from "./logins.ts";

export interface LockoutSettings {
  /** So many failures within `lockout`, of one network and of one login from anywhere, lock it. */
  readonly maxFailures: number;
  readonly maxFailuresPerLogin: number;
  /** Milliseconds. */
  readonly lockout: number;
  /**
   * Networks that are never locked. Their failures count for the login all the same, and they have no way around its
   * lock: somebody may guess through a webmail that stands there.
   */
  readonly exempt: readonly Network[];
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export type Side = "network" | "login";

/** One that is locked. Times in milliseconds since 1970. */
export interface Lockout {
  readonly of: Side;
  /** `192.0.2.1`, `2001:db8:1:2::/64`; the login in the form of `loginKey`, or its hash when it is long. */
  readonly name: string;
  readonly failures: number;
  readonly since: number;
  readonly until: number;
}

export interface Failed {
  /** Of the network, this one included; 0 when it is exempt. */
  readonly failures: number;
  readonly networkLocked: boolean;
  /** What this failure has locked. */
  readonly locks: readonly Lockout[];
}

/** The record of one network or login. */
interface Strikes {
  /** When; for a network also a short hash of the login that was tried. */
  readonly failures: readonly (readonly [at: number, login?: string])[];
  /** When the last of them locked it. */
  readonly locked?: number;
}

type Found<T> = Deno.KvEntryMaybe<T>;

interface Change {
  readonly write: Deno.AtomicOperation;
  /** Whether there is anything to write. */
  needed: boolean;
}

const NONE: Strikes = { failures: [] };
const DAY = 24 * 3600_000;
/** So long a network is known as one of the owner's. */
const KNOWN_FOR = 30 * DAY;
/** Longer names are kept as a hash. */
const MAX_NAME = 100;

export class Lockouts {
  readonly #kv: Deno.Kv;
  readonly #settings: LockoutSettings;
  readonly #now: () => number;

  constructor(kv: Deno.Kv, settings: LockoutSettings) {
    this.#kv = kv;
    this.#settings = settings;
    this.#now = settings.now ?? Date.now;
  }

  /** What keeps this host from signing in, under this login. Without a login it costs one record. */
  async lockedOut(host: string, login?: string): Promise<Side | undefined> {
    const network = networkOf(host), exempt = this.#isExempt(host);
    if (login === undefined) {
      const found = await this.#kv.get<Strikes>(KEY.strikes("network", network));
      return !exempt && await this.#isLocked(found) ? "network" : undefined;
    }
    const [ofNetwork, ofLogin, known] = await this.#read(network, nameOf(login));
    if (!exempt && await this.#isLocked(ofNetwork)) return "network";
    if (!await this.#isLocked(ofLogin)) return undefined;
    const isKnown = known.value !== null && known.value > this.#now() - KNOWN_FOR;
    return isKnown && !exempt ? undefined : "login";
  }

  /** Counts one failure on both sides. What is locked already is neither counted nor locked for longer. */
  fail(host: string, login: string): Promise<Failed> {
    const network = networkOf(host), name = nameOf(login), exempt = this.#isExempt(host);
    const { maxFailures, maxFailuresPerLogin, lockout } = this.#settings;
    return this.#change(async (change) => {
      const now = this.#now(), locks: Lockout[] = [];
      const [ofNetwork, ofLogin] = await this.#read(network, name);
      const strike = (of: Side, found: Found<Strikes>, failure: Strikes["failures"][number], max: number): Strikes => {
        const before = asOf(found.value, now, lockout);
        if (before.locked !== undefined) return before;
        const failures = [...before.failures, failure];
        const after = failures.length < max ? { failures } : { failures, locked: now };
        if (failures.length >= max) locks.push(lockoutOf(of, found.key, after, now, lockout));
        change.write.check(found).set(found.key, after, { expireIn: lockout });
        change.needed = true;
        return after;
      };
      const struck = exempt ? NONE : strike("network", ofNetwork, [now, tagOf(name)], maxFailures);
      strike("login", ofLogin, [now], maxFailuresPerLogin);
      return { failures: struck.failures.length, networkLocked: struck.locked !== undefined, locks };
    });
  }

  /** Takes back what the network owes for this login, and remembers that its owner is there. */
  succeed(host: string, login: string): Promise<void> {
    const network = networkOf(host), name = nameOf(login), tag = tagOf(name);
    const { lockout } = this.#settings;
    return this.#change(async (change) => {
      const now = this.#now();
      const [ofNetwork, ofLogin, known] = await this.#read(network, name);
      const before = asOf(ofNetwork.value, now, lockout);
      const failures = before.failures.filter((failure) => failure[1] !== tag);
      const isLocked = before.locked !== undefined || asOf(ofLogin.value, now, lockout).locked !== undefined;
      if (!isLocked && failures.length < before.failures.length) {
        change.write.check(ofNetwork).set(ofNetwork.key, { failures }, { expireIn: lockout });
        change.needed = true;
      }
      // Once a day is often enough: people sign in for each message.
      if (known.value === null || known.value > now || known.value < now - DAY) {
        change.write.set(known.key, now, { expireIn: KNOWN_FOR });
        change.needed = true;
      }
    });
  }

  /** All that are locked now. */
  async list(): Promise<Lockout[]> {
    const now = this.#now(), { lockout } = this.#settings, all: Lockout[] = [];
    for (const side of ["network", "login"] as const) {
      for await (const { key, value } of this.#kv.list<Strikes>({ prefix: KEY.strikesOf(side) })) {
        const strikes = asOf(value, now, lockout);
        if (strikes.locked !== undefined) all.push(lockoutOf(side, key, strikes, strikes.locked, lockout));
      }
    }
    return all;
  }

  /**
   * Forgets the failures of an address, a network (as it is listed) or a login. True when it was locked. A login stays
   * known in the networks of its owner.
   */
  lift(ipOrLogin: string): Promise<boolean> {
    const network = parseNetwork(ipOrLogin);
    if (network !== undefined && network.length < bitsThatCount(network.family)) return Promise.resolve(false);
    const key = network === undefined
      ? KEY.strikes("login", nameOf(ipOrLogin))
      : KEY.strikes("network", networkOf(formatIp(network)));
    return this.#change(async (change) => {
      const found = await this.#kv.get<Strikes>(key);
      if (found.value === null) return false;
      change.write.check(found).delete(key);
      change.needed = true;
      return asOf(found.value, this.#now(), this.#settings.lockout).locked !== undefined;
    });
  }

  #isExempt(host: string): boolean {
    const ip = parseIp(host);
    return ip !== undefined && this.#settings.exempt.some((network) => isIn(ip, network) || isIn(asSeen(ip), network));
  }

  #read(network: string, login: string): Promise<[Found<Strikes>, Found<Strikes>, Found<number>]> {
    return this.#kv.getMany<[Strikes, Strikes, number]>([
      KEY.strikes("network", network),
      KEY.strikes("login", login),
      KEY.signedIn(login, network),
    ]);
  }

  async #isLocked(found: Found<Strikes>): Promise<boolean> {
    const now = this.#now(), { lockout } = this.#settings;
    const strikes = asOf(found.value, now, lockout);
    if (strikes.locked === undefined) return false;
    // The clock was set back: without this the record would begin to age only when the clock has caught up with it.
    if (strikes.locked !== found.value?.locked) {
      await commit(this.#kv.atomic().check(found).set(found.key, strikes, { expireIn: lockout }));
    }
    return true;
  }

  /** Asks `plan` again until what it has read is still true when it is written. Rejects after many attempts. */
  async #change<T>(plan: (change: Change) => Promise<T>): Promise<T> {
    for (let attempt = 1; attempt <= 200; attempt++) {
      const change: Change = { write: this.#kv.atomic(), needed: false };
      const result = await plan(change);
      if (!change.needed || await commit(change.write)) return result;
      await pause(Math.random() * 2 * Math.min(attempt, 50));
    }
    throw new Error("Cannot count failed logins: the record is changed by too many at once.");
  }
}

/** What still counts. What lies in the future, because the clock was set back, happened now. */
function asOf(strikes: Strikes | null, now: number, lockout: number): Strikes {
  if (strikes === null) return NONE;
  if (strikes.locked !== undefined) {
    const locked = Math.min(strikes.locked, now);
    return locked + lockout > now ? { ...strikes, locked } : NONE;
  }
  const failures = strikes.failures.map(([at, ...login]) => [Math.min(at, now), ...login] as const);
  return { failures: failures.filter(([at]) => at + lockout > now) };
}

function lockoutOf(of: Side, key: Deno.KvKey, { failures }: Strikes, since: number, lockout: number): Lockout {
  return { of, name: String(key.at(-1)), failures: failures.length, since, until: since + lockout };
}

/** Whoever has one address of an IPv6 /64 has them all. */
function bitsThatCount(family: 4 | 6): number {
  return family === 4 ? 32 : 64;
}

function networkOf(host: string): string {
  const ip = parseIp(host);
  if (ip === undefined) return host;
  const seen = asSeen(ip), length = bitsThatCount(seen.family);
  return seen.family === 4 ? formatIp(seen) : `${formatIp(prefixOf(seen, length))}/${length}`;
}

/** Anybody can invent names: they must stay small. */
function nameOf(login: string): string {
  const name = loginKey(login);
  return name.length <= MAX_NAME ? name : `sha256:${createHash("sha256").update(name).digest("hex")}`;
}

function tagOf(name: string): string {
  return createHash("sha256").update(name).digest("base64url").slice(0, 12);
}
