/** How a reader gets off a newsletter: fields that mail programs show as a button (RFC 2369 §3.2, RFC 8058). */

import { formatMailbox, type Mailbox } from "../smtp/address.ts";

/** Lines with their CRLF, to stand on top. `link`: of the one recipient; without, only mail unsubscribes. */
export function listFields(from: Mailbox, link: string | undefined): string {
  const address = formatMailbox(from), cut = address.lastIndexOf("@");
  // RFC 6068 §2: a quoted local part keeps its quotes.
  const mail = `<mailto:${encodeURIComponent(address.slice(0, cut))}${address.slice(cut)}?subject=unsubscribe>`;
  if (link === undefined) return `List-Unsubscribe: ${mail}\r\n`;
  return `List-Unsubscribe: <${link}>,\r\n ${mail}\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n`;
}
