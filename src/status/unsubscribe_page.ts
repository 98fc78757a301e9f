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
  /** Milliseconds for a form to come. */
  readonly patience?: number;
}

export interface Page {
  readonly status: number;
  /** HTML between the body tags. */
  readonly content: string;
  readonly title: string;
}

/** Octets of a form, and `patience`. */
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
  if (await wordOf(request, parts.patience ?? PATIENCE) !== "One-Click") {
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

/** What the form says of List-Unsubscribe, in either of the two forms of RFC 8058 §3.2. */
async function wordOf(request: Request, patience: number): Promise<string | undefined> {
  const bytes = await formOf(request, patience), type = request.headers.get("content-type") ?? "";
  if (bytes === undefined) return undefined;
  try {
    // A browser names the type; who has written a program by hand may not.
    const form = await new Response(bytes, { headers: { "content-type": FORMS.test(type) ? type : URLENCODED } })
      .formData();
    const word = form.get("List-Unsubscribe");
    return typeof word === "string" ? word : undefined;
  } catch {
    return undefined;
  }
}

const URLENCODED = "application/x-www-form-urlencoded",
  FORMS = /^(multipart\/form-data|application\/x-www-form-urlencoded)\b/i;

/** Undefined when it is too long, or does not come. */
async function formOf({ body }: Request, patience: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (body === null) return undefined;
  const reader = body.getReader(), bytes = new Uint8Array(MAX_FORM);
  let length = 0, late = false;
  // To whoever reads, a cancelled body looks like one that has come to its end.
  const timer = setTimeout(() => {
    late = true;
    reader.cancel().catch(() => {});
  }, patience);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return late ? undefined : bytes.subarray(0, length);
      if (length + value.length > MAX_FORM) return undefined;
      bytes.set(value, length);
      length += value.length;
    }
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => {});
  }
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
