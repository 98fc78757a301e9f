/**
 * How a recipient's standing moves on. Pure.
 *
 *   waiting ─▶ delivered            due 0
 *      │  ▲──▶ failed               due = when its sender is to be told; 0 when told, or when there is nobody to tell
 *      ▼  │──▶ dropped              due 0
 *    held
 */
import type { Envelope, Outcome, RemoteReply, Standing } from "./entry.ts";
import { isTooOld, type RetrySettings, waitBeforeRetry } from "./retry.ts";

export interface Moment {
  /** Milliseconds since 1970, as is `tellAt`: when senders of what fails now are told, unless all is done before. */
  readonly now: number;
  readonly tellAt: number;
  /** In [0, 1): one for a whole job, so that recipients that failed together are tried together. */
  readonly random: number;
}

/** True when nothing will be sent to this recipient any more. */
export function isDone({ state }: Standing): boolean {
  return state !== "waiting" && state !== "held";
}

/** True when the sender has yet to hear that this recipient failed. */
export function isOwed({ state, due }: Standing): boolean {
  return state === "failed" && due > 0;
}

/** True when the sender can and wants to hear that the recipient failed. */
export function wantsBounce(envelope: Envelope, recipient: number): boolean {
  // RFC 5321 §4.5.5 and §6.1: an answer to a bounce would bounce between two servers for ever.
  if (envelope.sender === "" || envelope.source.by === "bounce") return false;
  const notify = envelope.recipients[recipient]?.notify;
  return notify === undefined || notify.includes("FAILURE");
}

/** After an attempt. A hold or a drop that came while it was under way stays, unless the attempt settled the matter. */
export function afterAttempt(
  was: Standing,
  outcome: Outcome,
  envelope: Envelope,
  { now, tellAt, random }: Moment,
  settings: RetrySettings,
): Standing {
  const attempts = was.attempts + 1, { reply } = outcome;
  switch (outcome.result) {
    case "delivered":
      return { state: "delivered", attempts, due: 0, reply };
    case "failed":
      return was.state === "dropped" ? { ...was, attempts, reply } : failed(was, outcome, envelope, tellAt, attempts);
    case "later":
      if (was.state !== "waiting") return { ...was, attempts, reply };
      if (isTooOld({ attempts, arrived: envelope.arrived, now }, settings)) {
        return failed(was, outcome, envelope, tellAt, attempts);
      }
      return { state: "waiting", attempts, due: now + waitBeforeRetry(attempts, settings, random), reply };
    default:
      return outcome.result satisfies never;
  }
}

/** A recipient that will not be tried again, with the reply that decided it. */
export function failed(
  was: Standing,
  { recipient, reply }: { readonly recipient: number; readonly reply: RemoteReply },
  envelope: Envelope,
  tellAt: number,
  attempts = was.attempts,
): Standing {
  return { state: "failed", attempts, due: wantsBounce(envelope, recipient) ? tellAt : 0, reply };
}
