/** How spam is marked that somebody gets because others wanted it. */

import type { Target } from "../queue/entry.ts";

/** `X-Spam: …` with its CRLF; empty when it is none. */
export function spamLine(target: Target | undefined): string {
  const spam = target?.to === "maildir" || target?.to === "lmtp" ? target.spam : undefined;
  return spam === undefined ? "" : `X-Spam: yes, score=${spam}\r\n`;
}
