/**
 * Composes the message that tells a sender what could not be delivered (RFC 3464): what people read, what programs read,
 * and the header of the original.
 */
import MimeNode from "nodemailer/lib/mime-node/index.js";
import { needsUtf8, parseMailbox } from "../smtp/address.ts";
import type { Content, RemoteReply, Target } from "./entry.ts";
import type { Bounce, MakeBounce } from "./ledger.ts";
import type { Entry } from "./spool.ts";
import { wantsBounce } from "./standing.ts";

export interface BounceSettings {
  /** Our name, as in EHLO. */
  readonly hostname: string;
  /** Who the bounce comes from, `postmaster@ourdomain`; answers to it reach a person. */
  readonly postmaster: string;
}

/** Where mail for an address goes; none when it cannot be answered at all. May reject: the bounce is tried again. */
export type ResolveTargets = (address: string) => Promise<readonly Target[]>;

// Enough of the original to recognize it by; and of what a remote server said, at most what a reply may hold.
const MOST_HEADER = 32 * 1024, MOST_TEXT = 500;

export function bounceMaker(
  settings: BounceSettings,
  resolveTargets: ResolveTargets,
  now: () => number = Date.now,
): MakeBounce {
  return async (entry, recipients, content) => {
    const { sender } = entry.envelope;
    const told = recipients.filter((recipient) => wantsBounce(entry.envelope, recipient));
    if (told.length === 0) return undefined;
    const targets = await resolveTargets(sender);
    if (targets.length === 0) return undefined;
    const message = await compose(entry, told, await headerOf(content), settings, now());
    return { envelope: envelopeOf(entry, recipients, targets, now()), message };
  };
}

function envelopeOf(
  { id, envelope: { sender } }: Pick<Entry, "id" | "envelope">,
  recipients: readonly number[],
  targets: readonly Target[],
  arrived: number,
): Bounce["envelope"] {
  const mailbox = parseMailbox(sender);
  return {
    sender: "",
    // RFC 3461 §6.1: nobody wants to hear of the fate of a bounce.
    recipients: targets.map((target) => ({ address: sender, target, notify: ["NEVER"] })),
    body: "7BIT",
    smtputf8: mailbox !== undefined && needsUtf8(mailbox),
    source: { by: "bounce", about: { id, recipients } },
    arrived,
  };
}

type Told = Pick<Entry, "id" | "envelope" | "standings">;

async function compose(
  entry: Told,
  recipients: readonly number[],
  header: string,
  { hostname, postmaster }: BounceSettings,
  now: number,
): Promise<Uint8Array> {
  const report = new MimeNode("multipart/report; report-type=delivery-status");
  report.setHeader({
    from: { name: "Mail Delivery System", address: postmaster },
    to: { name: "", address: entry.envelope.sender },
    subject: "Your message could not be delivered",
    date: date(now),
    "message-id": `<${crypto.randomUUID()}@${hostname}>`,
    // RFC 3834 §5: keeps vacation programs from answering.
    "auto-submitted": "auto-replied",
  });
  report.createChild("text/plain; charset=utf-8").setContent(explanation(entry, recipients, hostname));
  report.createChild("message/delivery-status").setContent(deliveryStatus(entry, recipients, hostname));
  report.createChild("text/rfc822-headers; charset=utf-8").setContent(header);
  return new Uint8Array(await report.build());
}

function explanation({ id, envelope, standings }: Told, recipients: readonly number[], hostname: string): string {
  const lines = [
    `This is the mail server at ${hostname}.`,
    "",
    "Your message could not be delivered to the recipients below, and will not be",
    "tried again. The header of your message is attached.",
    "",
  ];
  for (const recipient of recipients) {
    const { attempts, reply } = standings[recipient]!;
    lines.push(`<${oneLine(envelope.recipients[recipient]!.address)}>`);
    if (reply !== undefined) lines.push(`    ${oneLine(reply.host)}: ${said(reply)}`);
    if (attempts > 1) lines.push(`    after ${attempts} attempts`);
    lines.push("");
  }
  lines.push(`Received here ${date(envelope.arrived)} with the queue id ${id}.`, "");
  return lines.join("\r\n");
}

/** RFC 3464 §2: a group of fields about the message, then one for each recipient. */
function deliveryStatus({ envelope, standings }: Told, recipients: readonly number[], hostname: string): string {
  const lines = [`Reporting-MTA: dns; ${hostname}`];
  if (envelope.envid !== undefined) lines.push(`Original-Envelope-Id: ${ascii(envelope.envid)}`);
  lines.push(`Arrival-Date: ${date(envelope.arrived)}`);
  for (const index of recipients) {
    const { address, orcpt } = envelope.recipients[index]!, { reply } = standings[index]!;
    lines.push("");
    // RFC 3461 §4.2: `type;address`. Anything else is not a field that a program could read.
    if (orcpt !== undefined && /^[\w-]+;./.test(orcpt)) lines.push(`Original-Recipient: ${ascii(orcpt)}`);
    lines.push(`Final-Recipient: ${finalRecipient(address)}`, "Action: failed", `Status: ${statusOf(reply)}`);
    const remote = /^[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z0-9-]+(?= \[|$)/.exec(reply?.host ?? "")?.[0];
    if (remote !== undefined) lines.push(`Remote-MTA: dns; ${remote}`);
    if (reply !== undefined) lines.push(`Diagnostic-Code: smtp; ${ascii(said(reply))}`);
  }
  return lines.join("\r\n") + "\r\n";
}

/** RFC 6533 §3: in a report of seven bits, an address of more is written `\x{…}`. */
function finalRecipient(address: string): string {
  const line = oneLine(address);
  if (line === ascii(line)) return `rfc822; ${line}`;
  const escaped = line.replace(
    /[^\x20-\x7e]|[\\+=]/gu,
    (sign) => `\\x{${sign.codePointAt(0)!.toString(16).toUpperCase()}}`,
  );
  return `utf-8; ${escaped}`;
}

/** RFC 3463: what was refused for good keeps its code; what was only ever put off ran out of time. */
function statusOf(reply: RemoteReply | undefined): string {
  if (reply !== undefined && reply.code < 500) return "4.4.7";
  return /^5\.\d{1,3}\.\d{1,3}$/.test(reply?.enhanced ?? "") ? reply!.enhanced : "5.0.0";
}

function said({ code, enhanced, text }: RemoteReply): string {
  return oneLine([code, enhanced, text].filter((word) => word !== "").join(" "));
}

/** Nothing a peer said can begin a line of its own: no controls, no line separators of any alphabet. */
function oneLine(text: string): string {
  return text.slice(0, MOST_TEXT).replace(/[\p{Cc}\p{Cs}\u2028\u2029]/gu, "?");
}

function ascii(text: string): string {
  return oneLine(text).replace(/[^\x20-\x7e]/gu, "?");
}

/** RFC 5322 §3.3. */
function date(time: number): string {
  return new Date(time).toUTCString().replace("GMT", "+0000");
}

/** The header of the original, whole lines, at most 32 KiB; empty when it cannot be read any more. */
async function headerOf(content: Content): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const piece of content.pieces()) {
      text += decoder.decode(piece.subarray(0, MOST_HEADER + 4), { stream: true });
      if (text.includes("\r\n\r\n") || text.length > MOST_HEADER) break;
    }
  } catch {
    return "";
  }
  const end = text.indexOf("\r\n\r\n");
  if (end >= 0 && end <= MOST_HEADER) return text.slice(0, end + 2);
  return text.slice(0, text.lastIndexOf("\r\n", MOST_HEADER) + 2);
}
