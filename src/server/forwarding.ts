/** Where mail for an address goes and what is held against it there, in the words of those who take it in. */

import { join } from "node:path";
import type { Destination, Forwarding, Led } from "../accept/copies.ts";
import type { Config } from "../config.ts";
import type { Target } from "../queue/entry.ts";
import { type Mailbox, parseMailbox } from "../smtp/address.ts";
import type { Found } from "../store/address_walk.ts";
import { mailFolder } from "../store/mail_folder.ts";
import type { User } from "../store/people.ts";

/**
 * The targets of an address, each with what is held against mail for it. Whoever has a mailbox here has his junk beside
 * it, and once; who forwards all his mail has it where his mailbox would be. What an alias leads to outside is nobody's,
 * so its junk is the postmaster's: whoever writes must not be able to choose a folder.
 */
export function leading(
  config: Config,
  { domain }: Mailbox,
  { targets, users, owners, via }: Pick<Found, "targets" | "users" | "owners" | "via">,
): Led {
  const { spam_limit, spam_times } = config.checks, postmaster = { local: "postmaster", domain };
  const junks = new Map<User | undefined, Target>();
  for (const target of targets) {
    const owner = owners.get(target), junk = junkOf(target);
    if (junk !== undefined && !junks.has(owner)) junks.set(owner, junk);
  }
  const destinations = targets.map((target): Destination => {
    const owner = owners.get(target), home = owner && parseMailbox(owner.address);
    const junk = target.to === "lmtp"
      ? target
      : junks.get(owner) ?? junkIn(join(config.store, "mail", mailFolder(home ?? postmaster)));
    return {
      ...forwarded(config, target, via.get(target), owner),
      spam: { limit: owner?.spamLimit ?? spam_limit, times: owner?.spamTimes ?? spam_times, junk },
    };
  });
  return { destinations, users };
}

/** Where a mailbox has its junk; undefined for what is no mailbox. A server of mailboxes goes by the mark on it. */
function junkOf(target: Target): Target | undefined {
  return target.to === "maildir" ? junkIn(target.path) : target.to === "lmtp" ? target : undefined;
}

/** Maildir++: a folder of the mailbox begins with a dot. */
function junkIn(path: string): Target {
  return { to: "maildir", path: join(path, ".Junk") };
}

function forwarded(
  { domains }: Config,
  target: Target,
  as: string | undefined,
  owner: User | undefined,
): Pick<Destination, "target" | "forwarding"> {
  if (target.to !== "remote" || as === undefined) return { target };
  const index = domains.findIndex(({ name }) => as.endsWith(`@${name}`)), domain = domains[index];
  const forwarding: Forwarding = {
    style: domain?.forward ?? "transparent",
    name: owner?.displayName ?? "",
    ...(domain?.forward_live === true && { live: `domains[${index}].forward_live` }),
  };
  // An alias is how an address is shared, and a bounce says who of them refused; where a user reads is the user's affair.
  return { target: { ...target, forward: { as, ...(owner && { confidential: true }) } }, forwarding };
}
