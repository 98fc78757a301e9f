/**
 * What an address of ours leads to.
 *
 *   address ─▶ user ─▶ its deliver items, else the domain's default_forward, else the user's Maildir
 *           ─▶ alias ─▶ each of its targets, ours (from the start again) or elsewhere
 *           ─▶ the same without +tag
 *           ─▶ abuse ─▶ postmaster ─▶ the first user of the domain, the catch-all, a Maildir of its own
 *           ─▶ catch-all of the domain
 *           ─▶ unknown
 */

import type { Mailbox } from "../smtp/address.ts";
import { addressKey, withoutTag } from "../smtp/address.ts";
import { type DirectorySettings, follow, type Found } from "./address_walk.ts";
import type { Domain } from "./domains.ts";
import type { People } from "./people_cache.ts";

export type Resolved =
  /** At least one target. */
  | ({ readonly known: true } & Pick<Found, "targets" | "users" | "owners" | "via" | "missing">)
  | { readonly known: false; readonly reason: "unknown" | "closed" | "circle" | "too many" };

export class Directory {
  readonly #people: People;
  readonly #settings: DirectorySettings;

  constructor(people: People, settings: DirectorySettings) {
    this.#people = people;
    this.#settings = settings;
  }

  /** Where mail for an address goes; an address of a domain that is not among `domains` is unknown. */
  async resolve(address: Mailbox, domains: readonly Domain[]): Promise<Resolved> {
    if (!domains.some(({ name }) => name === address.domain)) return { known: false, reason: "unknown" };
    const found = await follow(this.#people, address, domains, this.#settings);
    // Refused while the sender is still there, rather than kept in part.
    if (found.tooMany) return { known: false, reason: "too many" };
    const { targets, users, owners, via, missing } = found;
    if (targets.length > 0) return { known: true, targets, users, owners, via, missing };
    return { known: false, reason: found.circles.length > 0 ? "circle" : found.closed ? "closed" : "unknown" };
  }

  /** Whether an address is an alias, open and with or without +tag, that leads to this user among others. */
  async isAliasOf(address: Mailbox, login: string, domains: readonly Domain[]): Promise<boolean> {
    const owner = await this.#people.owner(addressKey(address)) ??
      await this.#people.owner(addressKey(withoutTag(address)));
    if (owner?.of !== "alias") return false;
    const found = await this.resolve(address, domains);
    return found.known && found.users.includes(login);
  }
}
