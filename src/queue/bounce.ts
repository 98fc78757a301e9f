/** Who is written to about a message of his, and what of it comes back to him. */
import { needsUtf8, parseMailbox } from "../smtp/address.ts";
import type { Envelope, Target } from "./entry.ts";
import type { Bounce, MakeBounce } from "./ledger.ts";
import { composeNote } from "./note.ts";
import { originalOf } from "./original.ts";
import { type Action, reportOf } from "./report.ts";
import { wantsToHear } from "./standing.ts";

export interface BounceSettings {
  /** Our name, as in EHLO. */
  readonly hostname: string;
  /** Who the bounce comes from, `postmaster@ourdomain`; answers to it reach a person. */
  readonly postmaster: string;
  /** Milliseconds after which what cannot be delivered is given up. */
  readonly giveUpAfter: number;
}

/** Where mail for an address goes; none when it cannot be answered at all. May reject: the bounce is tried again. */
export type ResolveTargets = (address: string) => Promise<readonly Target[]>;

/** The word of NOTIFY by which a sender asks for each of these. */
const ASKED_BY = {
  failed: "FAILURE",
  delayed: "DELAY",
  delivered: "SUCCESS",
  relayed: "SUCCESS",
  expanded: "SUCCESS",
} as const satisfies Record<Action, string>;

export function bounceMaker(
  { hostname, postmaster, giveUpAfter }: BounceSettings,
  resolveTargets: ResolveTargets,
  clock: () => number = Date.now,
): MakeBounce {
  return async (entry, recipients, content) => {
    const { envelope } = entry, now = clock();
    const told = recipients.map((recipient) => ({ recipient, ...reportOf(entry, recipient) }));
    const reports = told.filter(({ recipient, action }) => wantsToHear(envelope, recipient, ASKED_BY[action]));
    if (reports.length === 0) return undefined;
    const targets = await resolveTargets(envelope.sender);
    if (targets.length === 0) return undefined;
    // RFC 3461 §4.3: a note that tells of no failure has headers only.
    const whole = envelope.ret === "FULL" && reports.some(({ action }) => action === "failed");
    // A server without 8BITMIME would refuse it, and nobody is told what becomes of a bounce.
    const anyBits = targets.every(({ to }) => to !== "remote");
    const original = await originalOf(content, { whole, anyBits });
    const retryUntil = envelope.arrived + giveUpAfter;
    const message = await composeNote(entry, reports, original, {
      hostname,
      postmaster,
      now,
      ...(retryUntil > now && { retryUntil }),
    });
    const isDelay = told.every(({ action }) => action === "delayed");
    return {
      envelope: {
        ...envelopeTo(envelope.sender, targets),
        body: original.part === "message" && original.eightBit ? "8BITMIME" : "7BIT",
        source: { by: "bounce", about: { id: entry.id, recipients, ...(isDelay && { tells: "delay" }) } },
        arrived: now,
      },
      message,
    };
  };
}

function envelopeTo(
  address: string,
  targets: readonly Target[],
): Pick<Bounce["envelope"], "sender" | "recipients" | "smtputf8"> & Partial<Envelope> {
  const mailbox = parseMailbox(address);
  return {
    sender: "",
    // RFC 3461 §6.1: nobody wants to hear of the fate of a bounce.
    recipients: targets.map((target) => ({ address, target, notify: ["NEVER"] })),
    smtputf8: mailbox !== undefined && needsUtf8(mailbox),
  };
}
