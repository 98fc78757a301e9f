/**
 * The header under which a message is forwarded when its own would not get through, or when the domain wants it so:
 * it comes from our user then, and answers go to whom it came from.
 */

import { encodeWord } from "nodemailer/lib/mime-funcs";
import type { Version } from "../queue/entry.ts";
import { formatMailbox, parseMailbox } from "../smtp/address.ts";
import { type Field, type Header, valueOf } from "../smtp/headers.ts";
import { parseAddressList } from "../smtp/originator.ts";

export interface NewAuthor {
  /** The address of ours that the message is forwarded for. */
  readonly as: string;
  /** `author`: only who it comes from changes. `rewrite`: MailDemon's way, which shows at first sight what it is. */
  readonly style: "author" | "rewrite";
  /** The name of our user, for `rewrite`; may be empty. */
  readonly name: string;
}

/** Of the header as it stands, and what its signatures cover. */
const AUTHOR = ["from", "reply-to", "dkim-signature", "x-original-from"];
const REWRITE = [...AUTHOR, "subject", "cc", "bcc", "sender"];
/** RFC 5322 §2.1.1: lines should be no longer; a name with folded words stays below. */
const MAX_NAME = 300;

/** Undefined when the header has no one author: then nobody could say who it came from. */
export function forwardedHeader(
  start: Uint8Array,
  { fields }: Header,
  { as, style, name }: NewAuthor,
): Version | undefined {
  const value = (wanted: string) => {
    const field = fields.find((one) => one.name === wanted);
    return field && rawValue(start, field);
  };
  const froms = fields.filter((field) => field.name === "from"), [from] = froms;
  const [author, ...others] = from === undefined ? [] : parseAddressList(valueOf(start, from)) ?? [];
  if (from === undefined || author === undefined || froms.length > 1 || others.length > 0) return undefined;
  const address = formatMailbox(author), original = rawValue(start, from), answers = value("reply-to");
  switch (style) {
    case "author": {
      const lines = [
        `From: ${nameIn(valueOf(start, from)) ?? word(shown(address))} <${as}>`,
        // Who asks for answers elsewhere still gets them there.
        `Reply-To: ${answers ?? original}`,
        `X-Original-From: ${original}`,
      ];
      return { without: AUTHOR, lines: ended(lines) };
    }
    case "rewrite": {
      const subject = value("subject") ?? "";
      const lines = [
        `From: ${name === "" ? as : `${word(name)} <${as}>`}`,
        `Reply-To: ${original}`,
        `Subject: FW from ${isAscii(address) ? address : word(address)}: ${subject}`.trimEnd(),
        `X-Original-From: ${original}`,
      ];
      return { without: REWRITE, lines: ended(lines) };
    }
    default:
      return style satisfies never;
  }
}

function ended(lines: readonly string[]): string {
  return lines.map((line) => `${line}\r\n`).join("");
}

/** As it stands there, folds and all, so that nothing of it can read otherwise. */
function rawValue(start: Uint8Array, { value, to }: Field): string {
  return new TextDecoder().decode(start.subarray(value, to)).trim();
}

/** The name in front of the address, written so that it stays a name; undefined when there is none. */
function nameIn(from: string): string | undefined {
  const phrase = /^([^<>]{1,300})<[^<>]+>\s*$/.exec(from)?.[1]?.trim() ?? "";
  // RFC 5322 §3.2.5: words, quoted words and encoded words mean here what they mean there.
  if (/^(?:(?:"(?:[ !#-\[\]-~]|\\[ -~])*"|[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.]+)(?:[ \t]+|$))+$/.test(phrase)) {
    return phrase;
  }
  const plain = phrase.replace(/^"(.*)"$/, "$1").replace(/\\(.)/g, "$1").trim();
  return plain === "" ? undefined : word(plain);
}

/** An address that stands for a name: with a second @ in From, many take a message for forged. */
function shown(address: string): string {
  const mailbox = parseMailbox(address);
  return mailbox === undefined ? address : `${mailbox.local} at ${mailbox.domain}`;
}

/** A name as a quoted string, or in encoded words (RFC 2047) when it is not ASCII. */
function word(name: string): string {
  const cut = name.slice(0, MAX_NAME).toWellFormed();
  if (!isAscii(cut)) return encodeWord(cut, "B", 52);
  // deno-lint-ignore no-control-regex
  return `"${cut.replace(/[\x00-\x1f\x7f]/g, " ").replace(/["\\]/g, "\\$&")}"`;
}

function isAscii(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text);
}
