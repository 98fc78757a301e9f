/**
 * Where the link in List-Unsubscribe leads. To look at it changes nothing, because mail filters follow links; the button,
 * and a mail program by itself, POST (RFC 8058 §3.2).
 */

import type { Mailbox } from "../smtp/address.ts";
import { formatMailbox } from "../smtp/address.ts";

export interface UnsubscribeParts {
  readonly read: (token: string) => { readonly user: string; readonly address: Mailbox } | undefined;
  /** Rejects when it cannot be kept. */
  readonly unsubscribe: (address: Mailbox, user: string) => Promise<void>;
}

export interface Page {
  readonly status: number;
  /** HTML between the body tags. */
  readonly content: string;
  readonly title: string;
}

/** Octets of a form, and milliseconds for it to come. */
const MAX_FORM = 4096, PATIENCE = 10_000;

export async function unsubscribePage(request: Request, token: string, parts: UnsubscribeParts): Promise<Page> {
  const pair = parts.read(token);
  if (pair === undefined) return page(404, "Not found", "This link is not one of ours, or is not whole.");
  const about = `${formatMailbox(pair.address)} from mail of ${pair.user}`;
  switch (request.method) {
    case "GET":
    case "HEAD":
      return {
        status: 200,
        title: "Unsubscribe",
        content: `<h1>Unsubscribe</h1>
<p>Take ${escape(about)}?</p>
<form method="post"><button name="List-Unsubscribe" value="One-Click">Unsubscribe</button></form>`,
      };
    case "POST":
      break;
    default:
      return page(405, "Not so", "Only GET and POST are known here.");
  }
  const form = await formOf(request);
  if (!/List-Unsubscribe(=|"[^]{0,200}?\r\n\r\n)One-Click/.test(form)) {
    return page(400, "Not understood", "The form has to say List-Unsubscribe=One-Click.");
  }
  try {
    await parts.unsubscribe(pair.address, pair.user);
  } catch {
    return page(503, "Later", "This cannot be kept now: please try again later.");
  }
  return page(200, "Unsubscribed", `${formatMailbox(pair.address)} gets no more mail of ${pair.user}.`);
}

function page(status: number, title: string, text: string): Page {
  return { status, title, content: `<h1>${escape(title)}</h1>\n<p>${escape(text)}</p>` };
}

/** As much of it as is looked at, and no longer than that. */
async function formOf({ body }: Request): Promise<string> {
  if (body === null) return "";
  const reader = body.getReader(), decoder = new TextDecoder();
  const timer = setTimeout(() => reader.cancel().catch(() => {}), PATIENCE);
  let text = "";
  try {
    while (text.length < MAX_FORM) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // Whoever went away gets no answer.
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => {});
  }
  return text.slice(0, MAX_FORM);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ENTITIES[sign]!);
}
