/** What is said to an address of ours that leads nowhere. */

import { because, type Reply, reply } from "../smtp/reply.ts";

/** `forged`, `expired`: an address under which mail was forwarded; `bounces only`: one for which this is no bounce. */
export type Unreachable = "unknown" | "closed" | "circle" | "too many" | "forged" | "expired" | "bounces only";

const UNKNOWN = reply(550, "5.1.1", "No such address here");
const CLOSED = reply(550, "5.2.1", "This address is closed");
const CIRCLE = reply(550, "5.4.6", "Mail for this address would go in a circle");
const TOO_MANY = reply(550, "5.2.4", "Mail for this address would go to too many places");
const NO_RETURN = reply(550, "5.1.1", "No such return path: it was not made here, or has been changed");
const EXPIRED = reply(550, "5.1.1", "This return path has expired");
const BOUNCES_ONLY = reply(550, "5.7.1", "This is a return path: it takes bounces alone, from the null sender");

/** `index` of its domain in the configuration. */
export function refuseRecipient(why: Unreachable, address: string, index: number): Reply {
  switch (why) {
    case "unknown":
      return because(UNKNOWN, "recipient", `${address} belongs to nobody`, `domains[${index}].catch_all`);
    case "closed":
      return because(CLOSED, "recipient", `the alias ${address} is closed`);
    case "circle":
      return because(CIRCLE, "recipient", `${address} leads to itself: see "alias list"`);
    case "too many":
      return because(TOO_MANY, "recipient", `${address} leads on over more than 10 steps, or to more than 1000 places`);
    case "forged":
      return because(NO_RETURN, "return path", `the hash of ${address} is wrong`);
    case "expired":
      return because(EXPIRED, "return path", `${address} is older than 21 days`);
    case "bounces only":
      return because(BOUNCES_ONLY, "return path", `mail to ${address} has a sender`);
    default:
      return why satisfies never;
  }
}
