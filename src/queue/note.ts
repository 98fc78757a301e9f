/**
 * The message that tells a sender what has become of his (RFC 3464): what people read, what programs read, and the
 * original or its header.
 */
import { Buffer } from "node:buffer";
import MimeNode from "nodemailer/lib/mime-node/index.js";
import { deliveryStatus, said, type StatusSettings } from "./delivery_status.ts";
import type { Envelope } from "./entry.ts";
import { date, oneLine } from "./field_text.ts";
import type { Original } from "./original.ts";
import type { Action, Report } from "./report.ts";

export interface NoteSettings extends StatusSettings {
  /** Who the note comes from, `postmaster@ourdomain`; answers to it reach a person. */
  readonly postmaster: string;
  readonly now: number;
}

export async function composeNote(
  { id, envelope }: { readonly id: string; readonly envelope: Envelope },
  reports: readonly Report[],
  original: Original,
  settings: NoteSettings,
): Promise<Uint8Array> {
  const eightBit = original.part === "message" && original.eightBit;
  const note = new MimeNode("multipart/report; report-type=delivery-status");
  note.setHeader({
    from: { name: "Mail Delivery System", address: settings.postmaster },
    to: { name: "", address: envelope.sender },
    subject: subjectOf(reports),
    date: date(settings.now),
    "message-id": `<${crypto.randomUUID()}@${settings.hostname}>`,
    // RFC 3834 §5: keeps vacation programs from answering.
    "auto-submitted": "auto-replied",
    // RFC 2045 §6.4: what has a part of eight bits has eight bits.
    ...(eightBit && { "content-transfer-encoding": "8bit" }),
  });
  note.createChild("text/plain; charset=utf-8").setContent(explanation(id, envelope, reports, original, settings));
  note.createChild("message/delivery-status").setContent(deliveryStatus(envelope, reports, settings));
  if (original.part === "header") {
    note.createChild("text/rfc822-headers; charset=utf-8").setContent(original.text);
  } else {
    // RFC 6532 §3.7: message/rfc822 has headers in ASCII.
    const part = note.createChild(original.utf8Header ? "message/global" : "message/rfc822");
    if (eightBit) part.setHeader("content-transfer-encoding", "8bit");
    part.setContent(Buffer.from(original.bytes.buffer));
  }
  return new Uint8Array(await note.build());
}

/** In the order in which a note tells of them: what is bad first. */
const WORDS: Readonly<Record<Action, { readonly subject: string; readonly text: readonly string[] }>> = {
  failed: {
    subject: "Your message could not be delivered",
    text: [
      "Your message could not be delivered to the recipients below, and will not be",
      "tried again.",
    ],
  },
  delayed: {
    subject: "Your message is late",
    text: [
      "Your message could not be delivered yet to the recipients below. It is still",
      "tried: there is nothing that you have to do.",
    ],
  },
  relayed: {
    subject: "Your message was sent on",
    text: [
      "Your message was sent on for the recipients below to servers that do not tell",
      "whether it arrives.",
    ],
  },
  expanded: {
    subject: "Your message was sent on",
    text: [
      "Your message was sent on to the several addresses for which each of the",
      "recipients below stands. You will not hear whether it arrives at all of them.",
    ],
  },
  delivered: {
    subject: "Your message was delivered",
    text: ["Your message was delivered to the recipients below."],
  },
};

const ACTIONS = Object.keys(WORDS) as Action[];

function subjectOf(reports: readonly Report[]): string {
  const subjects = new Set(reports.map(({ action }) => WORDS[action].subject));
  if (subjects.size === 1) return [...subjects].join();
  const isBad = reports.some(({ action }) => action === "failed");
  return isBad ? "Your message could not be delivered to everybody" : "What became of your message";
}

function explanation(
  id: string,
  { arrived }: Envelope,
  reports: readonly Report[],
  original: Original,
  { hostname, retryUntil }: NoteSettings,
): string {
  const lines = [`This is the mail server at ${hostname}.`, ""];
  for (const action of ACTIONS) {
    const some = reports.filter((report) => report.action === action);
    if (some.length === 0) continue;
    lines.push(...WORDS[action].text);
    if (action === "delayed" && retryUntil !== undefined) lines.push(`It will be given up on ${date(retryUntil)}.`);
    lines.push("");
    for (const report of some) lines.push(...linesOf(report), "");
  }
  lines.push(
    original.part === "message" ? "Your message is attached." : "The header of your message is attached.",
    "",
    `Received here ${date(arrived)} with the queue id ${id}.`,
    "",
  );
  return lines.join("\r\n");
}

function linesOf({ action, address, forwardedTo, attempts, reply }: Report): string[] {
  const lines = [`<${oneLine(address)}>`];
  if (forwardedTo !== undefined) lines.push(`    sent on to <${oneLine(forwardedTo)}>`);
  if (action === "failed" || action === "delayed") {
    if (reply !== undefined) lines.push(`    ${oneLine(reply.host) || "the next server"}: ${said(reply)}`);
    if (attempts > 1) lines.push(`    after ${attempts} attempts`);
  } else if (action === "relayed" && reply !== undefined && reply.host !== "") {
    lines.push(`    by way of ${oneLine(reply.host)}`);
  }
  return lines;
}
