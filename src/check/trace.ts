/** The lines that every server adds on top: RFC 5321 §4.4. What a peer said of itself is written so that it stays a word. */

export interface Trace {
  /** The name in EHLO or HELO. */
  readonly hello: { readonly name: string; readonly extended: boolean };
  /** Address of the peer. */
  readonly host: string;
  readonly tls?: { readonly protocol: string; readonly cipher: string };
  readonly authenticated: boolean;
  readonly smtputf8: boolean;
  /** Our name. */
  readonly by: string;
  readonly id: string;
  /** Named when there is exactly one: a second one would tell each of the other (RFC 5321 §7.2). */
  readonly recipient?: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** `Received: …`, folded, with its CRLF. */
export function receivedLine(trace: Trace): string {
  const { hello, host, tls, by, id, recipient, at } = trace;
  const using = tls ? ` (${word(tls.protocol)} ${word(tls.cipher)})` : "";
  const to = recipient === undefined ? "" : ` for <${recipient}>`;
  return `Received: from ${word(hello.name)} (${literal(host)})\r\n` +
    `\tby ${by} with ${protocolKeyword(trace)}${using}\r\n` +
    `\tid ${id}${to}; ${formatDate(at)}\r\n`;
}

/** RFC 3848 and RFC 6531 §4.3. */
function protocolKeyword({ hello, tls, authenticated, smtputf8 }: Trace): string {
  if (!hello.extended) return "SMTP";
  return `${smtputf8 ? "UTF8SMTP" : "ESMTP"}${tls ? "S" : ""}${authenticated ? "A" : ""}`;
}

/** RFC 5322 §3.3, in UTC: `Sun, 22 Nov 2026 03:04:05 +0000`. */
export function formatDate(at: number): string {
  return new Date(at).toUTCString().replace("GMT", "+0000");
}

function literal(host: string): string {
  return host.includes(":") ? `[IPv6:${host}]` : `[${host}]`;
}

function word(said: string): string {
  return said.replace(/[^A-Za-z0-9._:\-\[\]]/g, "?").slice(0, 255);
}
