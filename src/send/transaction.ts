/** One message over one connection: what is asked for, how it reaches the wire, and what the replies to it mean. Pure. */

import type { Content, Notify, RemoteReply } from "../queue/entry.ts";
import { toXtext } from "../smtp/xtext.ts";
import { codeOf, localReply, replyFrom } from "./remote_reply.ts";

export interface Transaction {
  readonly sender: string;
  /** At most 100. */
  readonly recipients: readonly {
    readonly address: string;
    readonly notify?: readonly Notify[];
    readonly orcpt?: string;
  }[];
  readonly ret?: "FULL" | "HDRS";
  readonly envid?: string;
  readonly eightBit: boolean;
  readonly smtputf8: boolean;
  readonly content: Content;
  /** Each recipient has an answer of its own behind the final dot. */
  readonly lmtp?: true;
}

/** Raw replies, as far as they came. */
export interface Replies {
  readonly mail: string | undefined;
  /** In the order of the recipients. */
  readonly rcpt: readonly string[];
  readonly data: string | undefined;
  /** What was said before the message had been sent whole. */
  readonly early: string | undefined;
  /** One; with LMTP, one for each recipient that was accepted, in their order (RFC 2033 §4.2). */
  readonly final: readonly string[];
}

export interface Verdict {
  readonly delivered: boolean;
  readonly reply: RemoteReply;
}

/**
 * One verdict for each recipient. `lost` stands for each reply that did not come, `fault` for what kept us from
 * sending the message itself.
 */
export function verdictsOf(
  { recipients, lmtp }: Transaction,
  replies: Replies,
  { peer, lost, fault }: { readonly peer: string; readonly lost: RemoteReply; readonly fault?: RemoteReply },
): Verdict[] {
  const said = (raw: string | undefined, step: string) => raw === undefined ? lost : inWords(raw, step, peer);
  let accepted = 0;
  return recipients.map((_, index) => {
    const rcpt = replies.rcpt[index];
    if (!isSuccess(replies.mail)) return { delivered: false, reply: said(replies.mail, "MAIL") };
    if (!isSuccess(rcpt)) return { delivered: false, reply: said(rcpt, "RCPT") };
    return verdictOfMessage(replies, replies.final[lmtp ? accepted++ : 0], said, peer, fault);
  });
}

function verdictOfMessage(
  replies: Replies,
  final: string | undefined,
  said: (raw: string | undefined, step: string) => RemoteReply,
  peer: string,
  fault: RemoteReply | undefined,
): Verdict {
  const { data, early } = replies;
  if (fault !== undefined) return { delivered: false, reply: fault };
  if (!mayHaveBody(replies)) return { delivered: false, reply: said(data, "DATA") };
  // A refusal can come early. A success cannot: what it has not got, the server has not taken.
  if (early !== undefined) return { delivered: false, reply: said(early, "an unfinished message") };
  if (isSuccess(final)) return { delivered: true, reply: replyFrom(final, peer) };
  return { delivered: false, reply: said(final, "the message") };
}

/** The message may follow: everything so far is what a server says that will now take it. */
export function mayHaveBody({ mail, rcpt, data }: Replies): boolean {
  return isSuccess(mail) && rcpt.some(isSuccess) && rcpt.every((raw) => isSuccess(raw) || isRefusal(raw)) &&
    Math.trunc((codeOf(data ?? "") ?? 0) / 100) === 3;
}

/** How many recipients the server has accepted. */
export function acceptedBy({ rcpt }: Replies): number {
  return rcpt.filter(isSuccess).length;
}

/** Both sides surely agree that the transaction is over or can be reset. */
export function isInStep({ mail, rcpt, data, early, final }: Replies): boolean {
  const codes = [mail, ...rcpt, ...final].filter((raw) => raw !== undefined);
  return early === undefined && codes.every((raw) => isSuccess(raw) || (isRefusal(raw) && codeOf(raw) !== 421)) &&
    (data === undefined || isRefusal(data) || final.length > 0);
}

/**
 * RFC 5321 §4.2.1 gives success to all 2yz. But 22z speaks of the connection, not of the mail: a server that answers
 * MAIL with 220 or the final dot with 221 is talking about something else, and a misunderstanding must not lose mail.
 */
function isSuccess(raw: string | undefined): raw is string {
  const code = codeOf(raw ?? "") ?? 0;
  return code >= 200 && code < 300 && Math.trunc(code / 10) !== 22;
}

function isRefusal(raw: string): boolean {
  return (codeOf(raw) ?? 0) >= 400;
}

/** The reply itself when it is a refusal; an answer that does not fit its question is put into words. */
export function inWords(raw: string, step: string, peer: string): RemoteReply {
  const reply = replyFrom(raw, peer);
  return reply.code >= 400 ? reply : localReply(451, "4.5.0", `answered ${reply.code} to ${step}: ${reply.text}`, peer);
}

/**
 * Completes the lines MAIL and RCPT as nodemailer writes them. It has no door for this: it knows SMTPUTF8 only for
 * addresses, not for headers (RFC 6531 §3.4), and DSN parameters only for all recipients alike (RFC 3461 §4.1).
 */
export function parametersOf(transaction: Transaction, offers: ReadonlyMap<string, string>): (line: string) => string {
  const dsn = offers.has("DSN");
  let recipient = 0;
  return (line) => {
    const more: string[] = [];
    if (line.startsWith("MAIL FROM:")) {
      if (transaction.smtputf8 && !/ SMTPUTF8( |$)/.test(line)) more.push("SMTPUTF8");
      if (dsn && transaction.ret !== undefined) more.push(`RET=${transaction.ret}`);
      if (dsn && transaction.envid !== undefined) more.push(`ENVID=${xtext(transaction.envid)}`);
    } else if (line.startsWith("RCPT TO:")) {
      const { notify, orcpt } = transaction.recipients[recipient++] ?? {};
      if (dsn && notify !== undefined && notify.length > 0) more.push(`NOTIFY=${notify.join(",")}`);
      if (dsn && orcpt !== undefined) more.push(`ORCPT=${originalRecipient(orcpt)}`);
    }
    return [line, ...more].join(" ");
  };
}

/** RFC 3461 §4.2: `type;xtext`. */
function originalRecipient(text: string): string {
  const cut = text.indexOf(";");
  return cut < 0
    ? `rfc822;${xtext(text)}`
    : `${text.slice(0, cut).replace(/[^\w-]/g, "")};${xtext(text.slice(cut + 1))}`;
}

/** Leaves what is xtext already, so that a parameter passes through as it came. */
function xtext(text: string): string {
  return /^(?:[!-*,-<>-~]|\+[0-9A-F]{2})*$/.test(text) ? text : toXtext(text);
}
