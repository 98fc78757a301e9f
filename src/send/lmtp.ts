/**
 * Copies for a server of mailboxes that a user's `lmtp:` names (RFC 2033). It adds Return-Path and Delivered-To itself:
 * final delivery is its part. What is spam for some is none for others.
 */

import type { Job } from "../queue/entry.ts";
import { type Copy, withHeader } from "./forward.ts";
import { spamLine } from "./spam_line.ts";

/** The copies for these recipients, all of them at one server. */
export function markedCopies(job: Job, recipients: readonly number[]): Copy[] {
  const marks = new Map<string, number[]>();
  for (const recipient of recipients) {
    const line = spamLine(job.envelope.recipients[recipient]?.target), some = marks.get(line);
    if (some === undefined) marks.set(line, [recipient]);
    else some.push(recipient);
  }
  return Array.from(marks, ([line, recipients]) => ({
    recipients,
    make: async () => line === "" ? job : { ...job, content: await withHeader(job.content, line, undefined) },
  }));
}
