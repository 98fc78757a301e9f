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
}

/** A recipient that was accepted, and what it leads to. */
export interface Accepted {
  /** As the sender wrote it. */
  readonly address: string;
  readonly destinations: readonly Destination[];
  readonly notify?: Recipient["notify"];
  readonly orcpt?: string;
}

/**
 * However many of its names a message was sent to, a mailbox gets one copy. Where its score is over the limit, it gets
 * into the junk instead: it came only because others want it, and what is spam is not forwarded.
 */
export function eachTargetOnce(accepted: readonly Accepted[], score = -Infinity): Recipient[] {
  const seen = new Map<string, Recipient>();
  for (const { address, destinations, notify, orcpt } of accepted) {
    for (const { target: wanted, spam } of destinations) {
      const target = spam !== undefined && score > spam.limit ? spammed(spam.junk, score) : wanted;
      const key = JSON.stringify(target);
      if (seen.has(key)) continue;
      seen.set(key, { address, target, ...(notify && { notify }), ...(orcpt !== undefined && { orcpt }) });
    }
  }
  return [...seen.values()];
}

function spammed(junk: Target, score: number): Target {
  return junk.to === "maildir" ? { ...junk, spam: score } : junk;
}
