/** The way from an address of ours to all the places where its mail gets to (the drawing stands in directory.ts). */

import { join } from "node:path";
import type { Target } from "../queue/entry.ts";
import type { Mailbox } from "../smtp/address.ts";
import { addressKey, formatMailbox, parseMailbox, withoutTag } from "../smtp/address.ts";
import { demandDelivery, folderOf } from "./delivery.ts";
import type { Domain } from "./domains.ts";
import { mailFolder } from "./mail_folder.ts";
import type { Alias, User } from "./people.ts";
import { Refused } from "./people.ts";
import type { People } from "./people_cache.ts";

/** What was found on the way, good and bad. */
export interface Found {
  /** Each once. */
  readonly targets: readonly Target[];
  /** Logins of the users among whose mail it is. */
  readonly users: readonly string[];
  /** Whose delivery each target is; an alias that leads elsewhere is nobody's. */
  readonly owners: ReadonlyMap<Target, User>;
  /** Which address of ours leads to each target elsewhere: the last one on the way. */
  readonly via: ReadonlyMap<Target, string>;
  /** Addresses of ours that it should have reached too and that lead nowhere. */
  readonly missing: readonly string[];
  /** Each as the addresses in order, the first one again at the end. */
  readonly circles: readonly (readonly string[])[];
  /** More than ten steps, or more than a thousand targets. */
  readonly tooMany: boolean;
  /** An alias whose time is over stands on the way. */
  readonly closed: boolean;
}

export interface DirectorySettings {
  /** The data folder. */
  readonly store: string;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const MAX_STEPS = 10, MAX_TARGETS = 1_000;

/** Follows an address to all its ends. An address elsewhere is its own end. */
export async function follow(
  people: People,
  address: Mailbox,
  domains: readonly Domain[],
  settings: DirectorySettings,
): Promise<Found> {
  const walk = new Walk(people, domains, settings);
  await walk.address(address, []);
  return walk.found();
}

/** A place on the way: a user, an alias or the catch-all of a domain. */
interface Step {
  readonly key: string;
  readonly name: string;
}

class Walk {
  readonly #people: People;
  readonly #domains: ReadonlyMap<string, Domain>;
  readonly #mail: string;
  readonly #now: number;
  readonly #seen = new Set<string>();
  readonly #targets = new Map<string, Target>();
  readonly #users = new Set<string>();
  readonly #owners = new Map<Target, User>();
  readonly #via = new Map<Target, string>();
  /** The user whose deliveries are followed; the address of ours that is followed. */
  #owner: User | undefined;
  #at = "";
  readonly #missing = new Set<string>();
  readonly #circles: string[][] = [];
  #tooMany = false;
  #closed = false;

  constructor(people: People, domains: readonly Domain[], { store, now = Date.now }: DirectorySettings) {
    this.#people = people;
    this.#domains = new Map(domains.map((domain) => [domain.name, domain]));
    this.#mail = join(store, "mail");
    this.#now = now();
  }

  found(): Found {
    return {
      targets: [...this.#targets.values()],
      users: [...this.#users],
      owners: this.#owners,
      via: this.#via,
      missing: [...this.#missing],
      circles: this.#circles,
      tooMany: this.#tooMany,
      closed: this.#closed,
    };
  }

  async address(address: Mailbox, path: readonly Step[]): Promise<void> {
    const domain = this.#domains.get(address.domain);
    if (domain === undefined) return this.#add({ to: "remote", address: formatMailbox(address) });
    await this.#local(address, domain, path);
    // They exist also when what was set up for them leads nowhere.
    if (path.length === 0 && this.#targets.size === 0 && roleOf(address)) await this.#postmaster(domain, path);
  }

  async #local(address: Mailbox, domain: Domain, path: readonly Step[]): Promise<void> {
    const plain = withoutTag(address);
    const owner = await this.#people.owner(addressKey(address)) ??
      (plain === address ? undefined : await this.#people.owner(addressKey(plain)));
    const role = roleOf(address);
    if (owner?.of === "user") {
      const user = await this.#userOf(owner.login);
      if (user !== undefined) return this.#user(user, domain, path);
    } else if (owner?.of === "alias") {
      if (owner.until === undefined || owner.until > this.#now) return this.#alias(owner, path);
      if (role === undefined) {
        this.#closed = true;
        return void this.#missing.add(formatMailbox(address));
      }
    }
    if (role === "abuse") return this.address({ ...address, local: "postmaster" }, path);
    if (role === "postmaster") return this.#postmaster(domain, path);
    if (domain.catchAll !== undefined) return this.#catchAll(domain.catchAll, domain, path);
    this.#missing.add(formatMailbox(address));
  }

  async #postmaster(domain: Domain, path: readonly Step[]): Promise<void> {
    const user = await this.#people.firstUser(domain.name);
    if (user !== undefined) await this.#user(user, domain, path);
    if (this.#targets.size === 0 && domain.catchAll !== undefined) await this.#catchAll(domain.catchAll, domain, path);
    if (this.#targets.size === 0) this.#add(this.#folder({ local: "postmaster", domain: domain.name }));
  }

  async #catchAll(to: string, domain: Domain, path: readonly Step[]): Promise<void> {
    const next = this.#step({ key: `catch-all ${domain.name}`, name: `*@${domain.name}` }, path);
    const mailbox = parseMailbox(to);
    if (next === undefined) return;
    this.#at = formatMailbox({ local: "postmaster", domain: domain.name });
    if (mailbox === undefined) this.#missing.add(to);
    else await this.address(mailbox, next);
  }

  async #alias(alias: Alias, path: readonly Step[]): Promise<void> {
    const next = this.#step(
      { key: `alias ${alias.address.normalize("NFC").toLowerCase()}`, name: alias.address },
      path,
    );
    if (next === undefined) return;
    for (const target of alias.targets) {
      const mailbox = parseMailbox(target);
      this.#at = alias.address;
      if (mailbox === undefined) this.#missing.add(target);
      else await this.address(mailbox, next);
    }
  }

  async #user(user: User, domain: Domain, path: readonly Step[]): Promise<void> {
    const login = parseMailbox(user.address);
    if (login === undefined) return void this.#missing.add(user.address);
    this.#users.add(user.address);
    const before = this.#owner;
    this.#owner = user;
    await this.#deliveries(user, login, domain, path);
    this.#owner = before;
  }

  async #deliveries(user: User, login: Mailbox, domain: Domain, path: readonly Step[]): Promise<void> {
    const own = this.#folder(login);
    const key = `user ${addressKey(login)}`;
    // The domain forwards to a user who has no delivery either: that is where the mail is meant to stay.
    if (user.deliver.length === 0 && path.some((step) => step.key === key)) return this.#add(own);
    const next = this.#step({ key, name: user.address }, path);
    if (next === undefined) return;
    const home = this.#domains.get(login.domain) ?? domain;
    const forward = home.defaultForward === undefined ? ["maildir"] : [`forward:${home.defaultForward}`];
    for (const item of user.deliver.length > 0 ? user.deliver : forward) {
      this.#at = user.address;
      await this.#delivery(item, { own, login: formatMailbox(login) }, next);
    }
  }

  async #delivery(
    item: string,
    { own, login }: { readonly own: Target; readonly login: string },
    path: readonly Step[],
  ): Promise<void> {
    try {
      const delivery = demandDelivery(item);
      switch (delivery.by) {
        case "own maildir":
          return this.#add(own);
        case "maildir":
          return this.#add({ to: "maildir", path: folderOf(delivery.path, this.#mail) });
        case "lmtp":
          return this.#add({ to: "lmtp", server: delivery.server, address: login });
        case "forward":
          return await this.address(delivery.to, path);
        default:
          delivery satisfies never;
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#missing.add(item);
    }
  }

  #folder(mailbox: Mailbox): Target {
    return { to: "maildir", path: join(this.#mail, mailFolder(mailbox)) };
  }

  async #userOf(login: string): Promise<User | undefined> {
    const mailbox = parseMailbox(login);
    return mailbox && await this.#people.user(mailbox);
  }

  /** The path with this step; undefined when there is nothing to follow: a circle, too far, or been here before. */
  #step(step: Step, path: readonly Step[]): readonly Step[] | undefined {
    const before = path.findIndex(({ key }) => key === step.key);
    if (before >= 0) {
      this.#circles.push([...path.slice(before), step].map(({ name }) => name));
      return undefined;
    }
    if (this.#seen.has(step.key)) return undefined;
    if (path.length >= MAX_STEPS || this.#tooMany) {
      this.#tooMany = true;
      return undefined;
    }
    this.#seen.add(step.key);
    return [...path, step];
  }

  #add(target: Target): void {
    const key = keyOf(target);
    if (!this.#targets.has(key) && this.#targets.size >= MAX_TARGETS) this.#tooMany = true;
    else if (!this.#targets.has(key)) {
      this.#targets.set(key, target);
      if (this.#owner !== undefined) this.#owners.set(target, this.#owner);
      if (target.to === "remote") this.#via.set(target, this.#at);
    }
  }
}

/** RFC 5321 §4.5.1 and RFC 2142: these exist in each domain, whatever has been set up. */
function roleOf(address: Mailbox): "postmaster" | "abuse" | undefined {
  const local = withoutTag(address).local.toLowerCase();
  return local === "postmaster" || local === "abuse" ? local : undefined;
}

/** Other people's local parts may differ by case alone (RFC 5321 §2.4), but nobody wants the same mail twice. */
function keyOf(target: Target): string {
  switch (target.to) {
    case "maildir":
      return `maildir ${target.path}`;
    case "lmtp":
      return `lmtp ${target.server} ${target.address.toLowerCase()}`;
    case "remote":
      return `remote ${target.address.toLowerCase()}`;
    case "nowhere":
      return `nowhere ${target.because}`;
    default:
      return target satisfies never;
  }
}
