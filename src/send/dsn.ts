/** What the next server is asked to tell the sender, and what is left for us to tell (RFC 3461 §5.2). */

import type { Outcome, Recipient } from "../queue/entry.ts";

/**
 * The parameters NOTIFY and ORCPT of a recipient, for a server that offers DSN. Where a forward goes is nobody's business
 * when it is confidential: then the place must not say that it has got the message.
 */
export function requestOf({ notify, orcpt, target }: Recipient): Pick<Recipient, "notify" | "orcpt"> {
  const secret = isConfidential(target) && notify?.includes("SUCCESS");
  const rest = secret ? notify?.filter((word) => word !== "SUCCESS") : notify;
  return {
    // Without NOTIFY, the server would tell of failure and delay, for which nobody has asked.
    ...rest && { notify: rest.length > 0 ? rest : ["NEVER"] },
    ...orcpt !== undefined && { orcpt },
  };
}

/** What is left to tell of a message that such a server has taken; undefined: that it lies in its mailbox. */
export function successOf({ target }: Recipient, offersDsn: boolean): Outcome["success"] {
  if (target.to === "lmtp" && !offersDsn) return undefined;
  return offersDsn && !isConfidential(target) ? "passed on" : "relayed";
}

function isConfidential(target: Recipient["target"]): boolean {
  return target.to === "remote" && target.forward?.confidential === true;
}
