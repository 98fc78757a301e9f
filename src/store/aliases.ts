/** The aliases: one address that leads to others. */

import { addressKey, formatMailbox } from "../smtp/address.ts";
import { follow } from "./address_walk.ts";
import { KEY } from "./kv.ts";
import type { Alias, Owner } from "./people.ts";
import { changePeople, demandMailbox, readOwner, Refused } from "./people.ts";
import type { People } from "./people_cache.ts";
import { readPeople } from "./people_cache.ts";
import type { PeopleSettings } from "./users.ts";
import { demandFree, demandOwnAddress, demandStraight } from "./users.ts";

export interface NewAlias {
  readonly address: string;
  readonly targets: readonly string[];
  /** Milliseconds since 1970. From then on mail to it is refused. */
  readonly until?: number;
  /** Takes the place of an alias that exists. */
  readonly replace?: boolean;
}

// One record must fit into 64 KiB. Longer lists are aliases of aliases.
const MAX_TARGETS = 100;
/** Of what is made up: none that are mistaken for another when they are read aloud. */
const SIGNS = "abcdefghjkmnpqrstuvwxyz23456789";

/** Every method that changes something throws Refused, with a sentence, when it may not be. */
export class Aliases {
  readonly #kv: Deno.Kv;
  readonly #settings: PeopleSettings;

  constructor(kv: Deno.Kv, settings: PeopleSettings) {
    this.#kv = kv;
    this.#settings = settings;
  }

  add({ address, targets, until, replace = false }: NewAlias): Promise<Alias> {
    return changePeople(this.#kv, async (change) => {
      const mailbox = demandOwnAddress(address, this.#settings.domains);
      const key = addressKey(mailbox);
      const alias: Alias = {
        address: formatMailbox(mailbox),
        targets: demandTargets(targets),
        ...until === undefined ? {} : { until },
        created: (this.#settings.now ?? Date.now)(),
      };
      const owner: Owner = { of: "alias", ...alias };
      const before = await readOwner(this.#kv, key);
      if (before?.of !== "alias" || !replace) await demandFree(this.#kv, [key]);
      const stored = readPeople(this.#kv);
      // Looked at as if it were open: a circle that begins with a later change of its date is a circle too.
      const open: Owner = { of: "alias", address: alias.address, targets: alias.targets, created: alias.created };
      const planned: People = {
        ...stored,
        owner: (asked) => asked === key ? Promise.resolve(open) : stored.owner(asked),
      };
      await demandStraight(planned, mailbox, this.#settings);
      await this.#demandKnown(planned, alias);
      change.set(KEY.address(key), owner);
      return alias;
    });
  }

  /** In order of address. */
  async list(): Promise<Alias[]> {
    const aliases: Alias[] = [];
    for await (const { value } of this.#kv.list<Owner>({ prefix: KEY.addresses })) {
      if (value.of === "user") continue;
      const { of: _, ...alias } = value;
      aliases.push(alias);
    }
    return aliases;
  }

  /** An address that nobody has had before, for one correspondent: `WORD-` and six signs that cannot be guessed. */
  async disposable(
    { word, domain, ...rest }: { readonly word: string; readonly domain: string } & Omit<NewAlias, "address">,
  ): Promise<Alias> {
    if (!/^[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9])?$/i.test(word) || word.includes("..")) {
      throw new Refused(
        `${JSON.stringify(word)} cannot begin an address: write up to 32 letters, digits, ".", "-" or "_".`,
      );
    }
    const signs = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => SIGNS[byte % SIGNS.length]).join("");
    return await this.add({ ...rest, address: `${word.toLowerCase()}-${signs}@${domain}` });
  }

  /** Closes it at once: mail to it is refused from now on, also where there is a catch-all. */
  close(address: string): Promise<Alias> {
    return changePeople(this.#kv, async (change) => {
      const [key, alias] = await this.#demandAlias(address);
      const closed: Alias = { ...alias, until: (this.#settings.now ?? Date.now)() };
      change.set(KEY.address(key), { of: "alias", ...closed } satisfies Owner);
      return closed;
    });
  }

  /** Ends it at once; the address then belongs to nobody, or to the catch-all. */
  remove(address: string): Promise<Alias> {
    return changePeople(this.#kv, async (change) => {
      const [key, alias] = await this.#demandAlias(address);
      change.delete(KEY.address(key));
      return alias;
    });
  }

  async #demandAlias(address: string): Promise<[key: string, Alias]> {
    const key = addressKey(demandMailbox(address, "The alias")), owner = await readOwner(this.#kv, key);
    if (owner?.of === "user") throw new Refused(`${address} is not an alias but an address of ${owner.login}.`);
    if (owner === undefined) throw new Refused(`There is no alias ${address}: "alias list" shows all.`);
    const { of: _, ...alias } = owner;
    return [key, alias];
  }

  /** A target that is ours must exist: with a typing mistake in it, mail would be refused long after. */
  async #demandKnown(people: People, alias: Alias): Promise<void> {
    for (const target of alias.targets) {
      const mailbox = demandMailbox(target, "The target");
      const found = await follow(people, mailbox, this.#settings.domains, this.#settings);
      if (found.targets.length === 0) {
        throw new Refused(
          `The target ${target} is in a domain of ours and leads nowhere: add the user or alias first.`,
        );
      }
    }
  }
}

function demandTargets(targets: readonly string[]): string[] {
  const byKey = new Map<string, string>();
  for (const text of targets) {
    const mailbox = demandMailbox(text, "The target");
    byKey.set(addressKey(mailbox), formatMailbox(mailbox));
  }
  if (byKey.size === 0 || byKey.size > MAX_TARGETS) {
    throw new Refused(
      `An alias has 1 to ${MAX_TARGETS} targets, not ${byKey.size}; for more, lead it to other aliases.`,
    );
  }
  return [...byKey.values()];
}
