/** The part of a note that programs read, message/delivery-status (RFC 3464), in seven bits (RFC 6533 §3). */
import { fromXtext } from "../smtp/xtext.ts";
import type { Envelope, RemoteReply } from "./entry.ts";
import { addressField, ascii, date, oneLine, originalRecipient } from "./field_text.ts";
import type { Report } from "./report.ts";

export interface StatusSettings {
  /** Our name, as in EHLO. */
  readonly hostname: string;
  /** Milliseconds since 1970, when what is late will be given up; absent when that cannot be said. */
  readonly retryUntil?: number;
}

/** RFC 5322 §2.1.1: a line has at most 998 octets. An address of many odd signs grows eightfold. */
const MOST_FIELD = 900;

/** RFC 3464 §2: a group of fields about the message, then one for each recipient. */
export function deliveryStatus(
  { envid, arrived }: Envelope,
  reports: readonly Report[],
  { hostname, retryUntil }: StatusSettings,
): string {
  const message = [
    `Reporting-MTA: dns; ${hostname}`,
    envid !== undefined && `Original-Envelope-Id: ${ascii(fromXtext(envid))}`,
    `Arrival-Date: ${date(arrived)}`,
  ];
  return [message, ...reports.map((report) => fieldsOf(report, retryUntil))]
    .map((group) => group.filter((field) => typeof field === "string").map((field) => `${field}\r\n`).join(""))
    .join("\r\n");
}

/** What was said to us: `550 5.1.1 No such user`. */
export function said({ code, enhanced, text }: RemoteReply): string {
  return oneLine([code, enhanced, text].filter((word) => word !== "").join(" "));
}

/** RFC 3464 §2.3, in its order. */
function fieldsOf(report: Report, retryUntil: number | undefined): (string | false | undefined)[] {
  const { action, address, forwardedTo, orcpt, lastAttempt, reply } = report;
  const original = orcpt !== undefined
    ? originalRecipient(orcpt)
    : forwardedTo !== undefined
    ? addressField(address)
    : undefined;
  const remote = /^[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z0-9-]+(?= \[|$)/.exec(reply?.host ?? "")?.[0];
  const isTrouble = action === "failed" || action === "delayed";
  return [
    original !== undefined && original.length < MOST_FIELD && `Original-Recipient: ${original}`,
    `Final-Recipient: ${addressField(forwardedTo ?? address)}`,
    `Action: ${action}`,
    `Status: ${statusOf(report)}`,
    remote !== undefined && `Remote-MTA: dns; ${remote}`,
    // What our own mailboxes say when all is well names folders.
    isTrouble && reply !== undefined && `Diagnostic-Code: smtp; ${ascii(said(reply))}`,
    lastAttempt !== undefined && `Last-Attempt-Date: ${date(lastAttempt)}`,
    action === "delayed" && retryUntil !== undefined && `Will-Retry-Until: ${date(retryUntil)}`,
  ];
}

/** RFC 3463: what was said, when it fits; what was only ever put off ran out of time. */
function statusOf({ action, reply }: Report): string {
  const enhanced = /^[245]\.\d{1,3}\.\d{1,3}$/.exec(reply?.enhanced ?? "")?.[0] ?? "";
  switch (action) {
    case "failed":
      if (reply !== undefined && reply.code < 500) return "4.4.7";
      return enhanced.startsWith("5") ? enhanced : "5.0.0";
    case "delayed":
      return enhanced.startsWith("4") ? enhanced : "4.0.0";
    case "delivered":
    case "relayed":
    case "expanded":
      return enhanced.startsWith("2") ? enhanced : "2.0.0";
    default:
      return action satisfies never;
  }
}
