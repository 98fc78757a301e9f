/** How many copies of a message there are, and where each gets to. */

import type { SpamLimit } from "../check/message.ts";
import type { Recipient, Target } from "../queue/entry.ts";

/** A place that mail for an address gets to. */
export interface Destination {
  readonly target: Target;
  /** Held against what comes from outside. */
  readonly spam?: SpamLimit & {
    /** Where it goes instead, when others want a message that is spam here. */ readonly junk: Target;
  };
  /** Of a target with `forward`: how the domain of ours wants it. */
  readonly forwarding?: Forwarding;
}

export interface Forwarding {
  readonly style: "transparent" | "rewrite";
  /** The name of whose mail it is; may be empty. */
  readonly name: string;
  /** Tried while the sender waits; the key of the setting that says so. */
  readonly live?: string;
}

/** What an address of ours leads to. */
export interface Led {
  readonly destinations: readonly Destination[];
  /** Logins of the users among whose mail it is. */
  readonly users: readonly string[];
}

/** A recipient that was accepted, and what it leads to. */
export interface Accepted extends Led {
  /** As the sender wrote it. */
  readonly address: string;
  readonly notify?: Recipient["notify"];
  readonly orcpt?: string;
}

/** One copy: a recipient of the queue, and how it is forwarded if it is. */
export interface Copy extends Recipient {
  readonly forwarding?: Forwarding;
}

/**
 * However many of its names a message was sent to, a mailbox gets one copy. Where its score is over the limit, it gets
 * into the junk instead: it came only because others want it, and what is spam is not forwarded.
 */
export function eachTargetOnce(accepted: readonly Accepted[], score = -Infinity): Copy[] {
  const seen = new Map<string, Copy>();
  for (const { address, destinations, notify, orcpt } of accepted) {
    const original = orcpt === undefined ? {} : { orcpt };
    for (const { target: wanted, spam, forwarding } of destinations) {
      const isSpam = spam !== undefined && score > spam.limit;
      const target = isSpam ? spammed(spam.junk, score) : wanted, key = placeOf(target);
      if (seen.has(key)) continue;
      const asks = destinations.length > 1 ? withoutSuccess(notify) : notify;
      seen.set(key, { address, target, ...asks && { notify: asks }, ...original, ...forwarding && { forwarding } });
    }
    // RFC 3461 §5.2.7.4: of several copies the sender hears once, that there are several.
    if (destinations.length > 1 && notify?.includes("SUCCESS")) {
      const target = { to: "nowhere", because: "expanded" } as const;
      seen.set(`${placeOf(target)} ${address}`, { address, target, notify: ["SUCCESS"], ...original });
    }
  }
  return [...seen.values()];
}

function withoutSuccess(notify: Recipient["notify"]): Recipient["notify"] {
  if (!notify?.includes("SUCCESS")) return notify;
  const rest = notify.filter((word) => word !== "SUCCESS");
  return rest.length > 0 ? rest : ["NEVER"];
}

/** The same for two copies that would be one too many: on which way they come does not matter. */
function placeOf(target: Target): string {
  if (target.to !== "remote") return JSON.stringify(target);
  return JSON.stringify({ to: target.to, address: target.address.toLowerCase() });
}

function spammed(junk: Target, score: number): Target {
  return junk.to === "maildir" || junk.to === "lmtp" ? { ...junk, spam: score } : junk;
}
