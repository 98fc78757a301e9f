/**
 * Mail that comes back to an address that has forwarded it: `Delivered-To` names that address, which we put there when
 * it left. Counting Received lines would end the circle too, a hundred rounds later.
 */

import { addressKey, parseMailbox } from "../smtp/address.ts";
import { type Header, valueOf } from "../smtp/headers.ts";
import { because, reply } from "../smtp/reply.ts";
import type { Accepted } from "./copies.ts";

export const LOOP = because(
  reply(554, "5.4.6", "Mail loop: this message has been forwarded for this address before"),
  "loop",
  "Delivered-To names the recipient",
);

/** The recipients, those that the message comes back to with no target but the end of it. */
export function endingLoops(accepted: readonly Accepted[], start: Uint8Array, { fields }: Header): readonly Accepted[] {
  const before = new Set<string>();
  for (const field of fields) {
    const mailbox = field.name === "delivered-to" ? parseMailbox(valueOf(start, field)) : undefined;
    if (mailbox !== undefined) before.add(addressKey(mailbox));
  }
  if (before.size === 0) return accepted;
  return accepted.map((one) => {
    const mailbox = parseMailbox(one.address);
    const isBack = mailbox !== undefined && before.has(addressKey(mailbox)) && one.destinations.some(isForward);
    return isBack ? { ...one, destinations: [{ target: { to: "nowhere", because: "loop" } }] } : one;
  });
}

/** True when a recipient leads nowhere else. */
export function isLoop({ destinations }: Accepted): boolean {
  return destinations.length > 0 &&
    destinations.every(({ target }) => target.to === "nowhere" && target.because === "loop");
}

/** Who only keeps his mail may send himself what lies in his mailbox as often as he likes. */
function isForward({ target }: Accepted["destinations"][number]): boolean {
  return target.to === "remote" && target.forward !== undefined;
}
