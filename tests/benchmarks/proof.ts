/** Whether each message was really checked: read from the copies that were delivered. */

import { join } from "node:path";
import type { Peer } from "./postfix.ts";

/** A check, and what its field looks like when the check was made and passed. */
export type Mark = readonly [check: string, field: RegExp];

export const MARKS = {
  maildemon: {
    unsigned: [
      ["SPF", /^Authentication-Results: mail\.dev\.test;.*?\bspf=pass\b/im],
      ["DMARC", /^Authentication-Results: mail\.dev\.test;.*?\bdmarc=pass\b/im],
    ],
    signed: [
      ["SPF", /^Authentication-Results: mail\.dev\.test;.*?\bspf=pass\b/im],
      ["DKIM", /^Authentication-Results: mail\.dev\.test;.*?\bdkim=pass\b/im],
      ["DMARC", /^Authentication-Results: mail\.dev\.test;.*?\bdmarc=pass\b/im],
    ],
  },
  postfix: {
    unsigned: [],
    signed: [
      ["policyd-spf", /^Received-SPF: pass\b/im],
      ["OpenDKIM", /^Authentication-Results: mail\.dev\.test;.*?\bdkim=pass\b/im],
    ],
  },
} as const satisfies Record<string, Record<"unsigned" | "signed", readonly Mark[]>>;

const MAX_HEADER = 16_384;

/** One line for each check that did not stand in each message of this kind, or says that there was no message. */
export async function missingChecks(
  peer: Peer,
  kind: "unsigned" | "signed",
  marks: readonly Mark[],
): Promise<string[]> {
  if (marks.length === 0) return [];
  const found = new Map(marks.map(([check]) => [check, 0]));
  let messages = 0;
  for await (const { name } of Deno.readDir(peer.maildir)) {
    const header = await readHeader(join(peer.maildir, name));
    if (/^DKIM-Signature:/im.test(header) !== (kind === "signed")) continue;
    messages++;
    for (const [check, field] of marks) if (field.test(header)) found.set(check, (found.get(check) ?? 0) + 1);
  }
  if (messages === 0) return [`${peer.name} delivered no ${kind} message`];
  return [...found].filter(([, count]) => count < messages).map(([check, count]) =>
    `${peer.name}: ${check} passed, by what the header says, in ${count} of ${messages} ${kind} messages`
  );
}

/** Unfolded, with Unix line ends. */
async function readHeader(path: string): Promise<string> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(MAX_HEADER);
  const size = await file.read(bytes) ?? 0;
  const text = new TextDecoder().decode(bytes.subarray(0, size)).replaceAll("\r\n", "\n");
  const end = text.indexOf("\n\n");
  return (end < 0 ? text : text.slice(0, end)).replace(/\n[ \t]+/g, " ");
}
