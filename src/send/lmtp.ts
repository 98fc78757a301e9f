/**
 * To the server of mailboxes that a user's `lmtp:` names (RFC 2033). It answers for each recipient, and adds Return-Path
 * and Delivered-To itself: final delivery is its part.
 */

import type { Dns } from "../dns/records.ts";
import type { Job, Outcome } from "../queue/entry.ts";
import { withHeader } from "./forward.ts";
import type { Relay } from "./relay.ts";
import { outcomes } from "./remote_reply.ts";
import { lmtpRoute } from "./route.ts";
import { spamLine } from "./spam_line.ts";

/** One outcome for each of these recipients, all at this server. Rejects when the content cannot be read. */
export async function deliverByLmtp(
  job: Job,
  recipients: readonly number[],
  server: string,
  { relay, dns }: { readonly relay: Relay; readonly dns: Dns },
): Promise<Outcome[]> {
  const route = await lmtpRoute(server, { dns });
  if (route.to === "nowhere") return outcomes(recipients, route.reply).map((one) => ({ ...one, unreachable: true }));
  const done: Outcome[] = [];
  for (const [line, some] of byMark(job, recipients)) {
    const content = line === "" ? job.content : await withHeader(job.content, line, undefined);
    done.push(...await relay.deliver({ ...job, content }, some, route.servers));
  }
  return done;
}

/** What is spam for some is none for others. */
function byMark({ envelope }: Job, recipients: readonly number[]): Map<string, number[]> {
  const marks = new Map<string, number[]>();
  for (const recipient of recipients) {
    const line = spamLine(envelope.recipients[recipient]?.target), some = marks.get(line);
    if (some === undefined) marks.set(line, [recipient]);
    else some.push(recipient);
  }
  return marks;
}
