/** What was said about an attempt, as one clean line; and what it means for the recipient. */

import type { Outcome, RemoteReply } from "../queue/entry.ts";

const LONGEST = 500;

/** `RemoteReply` from the reply of a server, raw as it came: several lines, any bytes, any length. */
export function replyFrom(raw: string, host: string): RemoteReply {
  const lines = raw.split(/\r\n|\r|\n/);
  const code = codeOf(raw);
  // A reply whose lines disagree is no SMTP, and acting on either code would be a guess.
  if (code === undefined) {
    return localReply(451, "4.5.0", `answered without a valid reply code: ${lines.join(" ")}`, host);
  }
  const said = lines.map((line) => line.slice(4)).filter((line) => line.trim() !== "");
  const enhanced = /^([245]\.\d{1,3}\.\d{1,3})(?:\s|$)/.exec(said[0] ?? "")?.[1];
  // RFC 2034 §4: the class of the enhanced code has to be that of the reply; a server that mixes them up has only one.
  const fits = enhanced !== undefined && Number(enhanced[0]) === Math.trunc(code / 100);
  const text = fits ? said.map((line) => line.startsWith(enhanced) ? line.slice(enhanced.length) : line) : said;
  return { code, enhanced: fits ? enhanced : `${Math.trunc(code / 100)}.0.0`, text: oneLine(text.join(" ")), host };
}

/** The code on which all lines of a reply agree. Undefined for anything that is not an SMTP reply. */
export function codeOf(raw: string): number | undefined {
  const lines = raw.split(/\r?\n/);
  const first = /^[2-5]\d\d(?=[ -]|$)/.exec(lines[0] ?? "")?.[0];
  return first !== undefined && lines.every((line) => line.startsWith(first)) ? Number(first) : undefined;
}

/** What we say in place of a server. `host` names who is meant: a server, `local` or `dns`. */
export function localReply(code: number, enhanced: string, text: string, host = "local"): RemoteReply {
  return { code, enhanced, text: oneLine(text), host: oneLine(host) };
}

/** The same reply with a remark behind its text. */
export function remarked(reply: RemoteReply, remark: string): RemoteReply {
  return remark === ""
    ? reply
    : { ...reply, text: oneLine(`${reply.text.slice(0, LONGEST - remark.length)} (${remark})`) };
}

/** RFC 5321 §4.2.1: 4yz may pass, 5yz will not, and what is neither is no verdict, so the message stays. */
export function resultOf({ code }: RemoteReply): "later" | "failed" {
  return code >= 500 && code <= 599 ? "failed" : "later";
}

/** One outcome for each of these recipients, all with the same reply. */
export function outcomes(
  recipients: readonly number[],
  reply: RemoteReply,
  result: Outcome["result"] = resultOf(reply),
): Outcome[] {
  return recipients.map((recipient) => ({ recipient, result, reply }));
}

// C0, C1, line and paragraph separators, and the signs that turn the direction of a line around.
// deno-lint-ignore no-control-regex
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+/g;

/** At most 500 characters on one line, with nothing in it that a terminal, a log or a header field could obey. */
export function oneLine(text: string): string {
  const clean = text.slice(0, 8 * LONGEST).replace(UNPRINTABLE, " ").replace(/ {2,}/g, " ").trim().toWellFormed();
  return clean.length <= LONGEST ? clean : `${clean.slice(0, LONGEST - 1).toWellFormed()}…`;
}
