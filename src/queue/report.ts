/**
 * What may be said to a sender about one recipient. Decided here once, for people and for programs: where a confidential
 * forward goes, neither of them reads.
 */
import { domainToASCII, domainToUnicode } from "node:url";
import type { Recipient, RemoteReply, Standing } from "./entry.ts";
import type { Entry } from "./spool.ts";

/** RFC 3464 §2.3.3. */
export type Action = "failed" | "delayed" | "delivered" | "relayed" | "expanded";

export interface Report {
  readonly action: Action;
  /** As the sender wrote it. */
  readonly address: string;
  /** Where an address of ours has sent it on to. */
  readonly forwardedTo?: string;
  readonly orcpt?: string;
  readonly attempts: number;
  readonly lastAttempt?: number;
  /** The answer to the last attempt; without `host` when that is nobody's business. */
  readonly reply?: RemoteReply;
}

export type Told = Pick<Entry, "id" | "envelope" | "standings">;

export function reportOf({ envelope, standings }: Told, recipient: number): Report {
  const { address, target, orcpt } = envelope.recipients[recipient]!, standing = standings[recipient]!;
  const { attempts, lastAttempt, reply } = standing;
  const known = {
    action: actionOf(standing),
    address,
    attempts,
    ...(orcpt !== undefined && { orcpt }),
    ...(lastAttempt !== undefined && { lastAttempt }),
  };
  const sayable = reply && discreet(reply, envelope.recipients[recipient]!);
  const isShown = target.to === "remote" && target.forward !== undefined && !target.forward.confidential;
  return { ...known, ...(isShown && { forwardedTo: target.address }), ...(sayable && { reply: sayable }) };
}

/** What a note says of a recipient who stands so. */
function actionOf({ state, success }: Standing): Action {
  switch (state) {
    case "failed":
    case "dropped":
      return "failed";
    case "waiting":
    case "held":
      return "delayed";
    case "delivered":
      return success ?? "delivered";
    default:
      return state satisfies never;
  }
}

/**
 * The answer as its sender may hear it. Of a confidential forward nothing that names the place: servers love to repeat the
 * address, and their own name. What still names it when the address is replaced is left out.
 */
export function discreet(reply: RemoteReply, { address: ours, target: place }: Recipient): RemoteReply {
  if (place.to !== "remote" || !place.forward?.confidential) return reply;
  const target = place.address;
  const cut = target.lastIndexOf("@"), domain = target.slice(cut + 1);
  const whole = reply.text.replace(/\S*…$/, "…"); // Half an address may be left at the end of what was too long.
  const rest = whole.replaceAll(anyCase(target), " ");
  // `local` and `dns` are words of ours; a place has a dot or a colon in its name.
  const hosts = reply.host.split(/[\s[\]]+/).filter((name) => /[.:]/.test(name));
  const places = [target.slice(0, cut), domain, domainToASCII(domain), domainToUnicode(domain), ...hosts];
  const names = places.some((name) => name !== "" && word(name).test(rest));
  return { ...reply, host: "", text: names ? "" : whole.replaceAll(anyCase(target), () => ours) };
}

function anyCase(text: string): RegExp {
  return new RegExp(escaped(text), "gi");
}

function word(text: string): RegExp {
  return new RegExp(`(?<![\\p{L}\\p{N}])${escaped(text)}(?![\\p{L}\\p{N}])`, "iu");
}

/** So that each sign stands for itself in a pattern. */
function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
