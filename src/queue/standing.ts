/**
 * How a recipient's standing moves on. Pure.
 *
 *   waiting ─▶ delivered            due = when its sender is to be told; 0 when told, or when there is nobody to tell
 *      │  ▲──▶ failed               the same
 *      ▼  │──▶ dropped              due 0
 *    held
 *
 * While it waits, `warning` is absent, then when its sender is to be told that it is late, then 0: told.
 */
import type { Adopting, Envelope, Notify, Outcome, RemoteReply, Standing } from "./entry.ts";
import { isTooOld, type RetrySettings, waitBeforeRetry } from "./retry.ts";

export interface Patience {
  readonly retry: RetrySettings;
  /** Milliseconds since arrival after which the sender hears that a message is late. */
  readonly warnAfter: number;
}

export interface Moment {
  /** Milliseconds since 1970, as is `tellAt`: when senders of what ends now are told, unless all is done before. */
  readonly now: number;
  readonly tellAt: number;
  /** In [0, 1): one for a whole job, so that recipients that failed together are tried together. */
  readonly random: number;
}

/** True when nothing will be sent to this recipient any more. */
export function isDone({ state }: Standing): boolean {
  return state !== "waiting" && state !== "held";
}

/** True when the sender has yet to hear how it ended for this recipient. */
export function isOwed({ state, due }: Standing): boolean {
  return (state === "failed" || state === "delivered") && due > 0;
}

/** When the sender is to be told, milliseconds since 1970; 0 when there is nothing to tell. */
export function tellAt(standing: Standing): number {
  if (isOwed(standing)) return standing.due;
  return standing.state === "waiting" ? standing.warning ?? 0 : 0;
}

/** True when a note of that kind says of this recipient what its sender has not heard yet. */
export function isNews(standing: Standing, tells: "end" | "delay"): boolean {
  return tells === "end" ? isOwed(standing) : !isDone(standing) && standing.warning !== 0;
}

/** The sender has heard of it. */
export function told(was: Standing): Standing {
  return isDone(was) ? { ...was, due: 0 } : { ...was, warning: 0 };
}

/** True when the sender can be told of such an event, and wants to be. */
export function wantsToHear(envelope: Envelope, recipient: number, event: Exclude<Notify, "NEVER">): boolean {
  // RFC 5321 §4.5.5 and §6.1: an answer to a bounce would bounce between two servers for ever.
  if (envelope.sender === "" || envelope.source.by === "bounce" || envelope.believed === false) return false;
  const notify = envelope.recipients[recipient]?.notify;
  // RFC 3461 §5.2.3, §5.2.5, §5.2.6: who says nothing hears of failure and delay, and never of success.
  return notify === undefined ? event !== "SUCCESS" : notify.includes(event);
}

/** After an attempt. A hold or a drop that came while it was under way stays, unless the attempt settled the matter. */
export function afterAttempt(
  was: Standing,
  outcome: Outcome,
  envelope: Envelope,
  { now, tellAt, random }: Moment,
  { retry, warnAfter }: Patience,
): Standing {
  const { recipient, reply } = outcome;
  const tried: Standing = { ...was, attempts: was.attempts + 1, lastAttempt: now, reply };
  switch (outcome.result) {
    case "delivered":
      return delivered(tried, outcome, envelope, tellAt);
    case "failed":
      return was.state === "dropped" ? tried : failed(tried, { recipient, reply }, envelope, tellAt);
    case "later": {
      if (was.state !== "waiting") return tried;
      if (isTooOld({ attempts: tried.attempts, arrived: envelope.arrived, now }, retry)) {
        return failed(tried, { recipient, reply }, envelope, tellAt);
      }
      const due = now + waitBeforeRetry(tried.attempts, retry, random);
      return { ...tried, due, ...warningOf(was, recipient, envelope, { now, nextLook: due, warnAfter }) };
    }
    default:
      return outcome.result satisfies never;
  }
}

/** A recipient that will not be tried again, with the reply that decided it. */
export function failed(
  { attempts, lastAttempt }: Standing,
  { recipient, reply }: { readonly recipient: number; readonly reply: RemoteReply },
  envelope: Envelope,
  tellAt: number,
): Standing {
  const due = wantsToHear(envelope, recipient, "FAILURE") ? tellAt : 0;
  return { state: "failed", attempts, due, ...(lastAttempt !== undefined && { lastAttempt }), reply };
}

/**
 * One that waits behind a probe of its lane that failed: counts as tried with it, as far as its sender is concerned.
 * Undefined when there is nothing to tell before `nextLook`, when the lane will have been tried again.
 */
export function afterProbe(
  was: Standing,
  { recipient, reply }: { readonly recipient: number; readonly reply: RemoteReply },
  envelope: Envelope,
  times: { readonly now: number; readonly nextLook: number; readonly warnAfter: number },
): Standing | undefined {
  if (was.state !== "waiting" || was.warning !== undefined) return undefined;
  const { warning } = warningOf(was, recipient, envelope, times);
  return warning === undefined ? undefined : { ...was, warning, lastAttempt: times.now, reply };
}

/** One that another server has yet: nothing is sent and nobody is told. Undefined when there is nothing left to do. */
export function arriving(standing: Standing, from: Omit<Adopting, "standing">): Standing | undefined {
  if (isDone(standing) && !isOwed(standing)) return undefined;
  const { attempts, lastAttempt, reply } = standing;
  return {
    state: "held",
    attempts,
    due: 0,
    ...(lastAttempt !== undefined && { lastAttempt }),
    ...(reply && { reply }),
    adopting: { ...from, standing },
  };
}

/** One that is being adopted, and from where; undefined when it is ours, or when somebody here gave it up meanwhile. */
export function adoptionOf({ state, adopting }: Standing): Adopting | undefined {
  return state === "held" ? adopting : undefined;
}

/** One that was held and may go. Whether it is late is decided by what its next attempt brings. */
export function released({ warning, adopting, ...was }: Standing, now: number): Standing {
  // Somebody has decided that the other server will never send it.
  if (adopting !== undefined) {
    const { standing } = adopting;
    return isDone(standing) ? standing : released(standing, now);
  }
  return { ...was, state: "waiting", due: now, ...(warning === 0 && { warning }) };
}

function delivered(
  { state, attempts, lastAttempt, reply }: Standing,
  { recipient, success }: Outcome,
  envelope: Envelope,
  tellAt: number,
): Standing {
  const end = {
    state: "delivered",
    attempts,
    ...(lastAttempt !== undefined && { lastAttempt }),
    ...(reply && { reply }),
  } as const;
  const silent = state === "dropped" || success === "passed on" || !wantsToHear(envelope, recipient, "SUCCESS");
  return silent ? { ...end, due: 0 } : { ...end, due: tellAt, ...(success !== undefined && { success }) };
}

/** Set only when its time comes before anybody looks again: what gets through by then is not written about. */
function warningOf(
  { warning }: Standing,
  recipient: number,
  envelope: Envelope,
  { now, nextLook, warnAfter }: { readonly now: number; readonly nextLook: number; readonly warnAfter: number },
): { readonly warning?: number } {
  if (warning !== undefined) return { warning };
  const late = Math.max(now, envelope.arrived + warnAfter);
  return late <= nextLook && wantsToHear(envelope, recipient, "DELAY") ? { warning: late } : {};
}
