/** The fixed replies of the session, so that what we say can be read in one place. Enhanced codes: RFC 3463. */

import { type Reply, reply } from "./reply.ts";
import type { Mechanism } from "./sasl.ts";

export const OK = reply(250, "2.0.0", "Ok");
export const FLUSHED = reply(250, "2.0.0", "Forgotten");
export const BYE: Reply = { ...reply(221, "2.0.0", "Bye"), close: true };
export const HELP = reply(
  214,
  "2.0.0",
  "Commands: EHLO MAIL RCPT DATA BDAT RSET NOOP QUIT AUTH STARTTLS",
  "See RFC 5321",
);
// RFC 5321 §3.5.3: we neither confirm nor deny.
export const CANNOT_VERIFY = reply(252, "2.1.5", "Send it, and we will see");
export const NO_EXPN = reply(502, "5.5.1", "Lists are not expanded here");

export const HELLO_FIRST = reply(503, "5.5.1", "Say EHLO first");
export const NESTED_MAIL = reply(503, "5.5.1", "One message at a time: finish it or say RSET");
export const NO_TRANSACTION = reply(503, "5.5.1", "Say MAIL and RCPT first");
export const TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients: send the rest in another message");
export const NEEDS_SMTPUTF8 = reply(553, "5.6.7", "This address needs SMTPUTF8");

export const GO_AHEAD = reply(354, "", "Go ahead, end with a line of one dot");
export const CHUNK_TAKEN = reply(250, "2.0.0", "Chunk taken");
export const CHUNKS_ONLY = reply(503, "5.5.1", "A message begun with BDAT ends with BDAT");
export const BINARY_NEEDS_BDAT = reply(503, "5.5.1", "BODY=BINARYMIME is sent with BDAT");
export const TOO_BIG = reply(552, "5.3.4", "Message too big");
export const BARE_LINE_END = reply(554, "5.6.0", "Message holds a CR or LF that is not part of CRLF");
export const LINE_TOO_LONG = reply(554, "5.6.0", "Message holds a line that is too long");

export const COMMAND_TOO_LONG = reply(500, "5.5.2", "Command line too long");
export const BARE_IN_COMMAND = reply(500, "5.5.2", "Command holds a CR or LF that is not part of CRLF");
export const NOT_UTF8 = reply(500, "5.5.2", "Command is not UTF-8");
export const FLOOD: Reply = { ...reply(500, "5.5.2", "No end of line in sight"), close: true };

export const TLS_READY = reply(220, "2.0.0", "Ready to start TLS");
export const TLS_ALREADY = reply(503, "5.5.1", "TLS is on already");
export const TLS_ALONE = reply(501, "5.5.4", "STARTTLS takes no argument");
export const NO_TLS = reply(502, "5.5.1", "No TLS here");
export const TLS_FIRST = reply(530, "5.7.0", "Say STARTTLS first");
export const TLS_ON_CLEAR_PORT: Reply = {
  ...reply(554, "5.5.1", "This port begins in clear: use STARTTLS"),
  close: true,
};

export const AUTH_FIRST = reply(530, "5.7.0", "Sign in first: AUTH");
export const AUTH_ALREADY = reply(503, "5.5.1", "You are signed in");
export const AUTH_NEEDS_TLS = reply(538, "5.7.11", "Say STARTTLS first: passwords do not travel in clear");
export const NO_AUTH_HERE = reply(502, "5.5.1", "No signing in on this port: use the submission port");
export const NO_SUCH_MECHANISM = reply(504, "5.5.4", "This mechanism is not offered");
export const AUTH_CANCELLED = reply(501, "5.7.0", "Signing in cancelled");
export const NOT_BASE64 = reply(501, "5.5.2", "That is not base64");
export const BAD_CREDENTIALS_FORM = reply(501, "5.5.2", "That is not a PLAIN message");

export const TALKS_TOO_EARLY: Reply = { ...reply(554, "5.5.1", "The server speaks first"), close: true };
export const TALKS_AHEAD: Reply = { ...reply(554, "5.5.1", "Wait for the reply to this command"), close: true };
export const TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors");
export const TOO_MANY_COMMANDS = reply(421, "4.7.0", "Too many commands that do nothing");
export const TOO_MANY_MESSAGES = reply(421, "4.7.0", "Enough messages for one session: call again");
export const TIMED_OUT = reply(421, "4.4.2", "Waited too long");
export const STOPPING = reply(421, "4.3.2", "The server stops: call again");

interface Offers {
  readonly kind: "mx" | "submission" | "submissions";
  readonly hostname: string;
  readonly canStartTls: boolean;
  readonly mechanisms: readonly Mechanism[];
  readonly maxMessageSize: number;
  readonly maxRecipients: number;
  readonly maxMessages: number;
}

/** The reply to EHLO: host name first (RFC 5321 §4.1.1.1). */
export function extensions(offers: Offers, secure: boolean): Reply {
  const lines = [
    offers.hostname,
    "PIPELINING",
    `SIZE ${offers.maxMessageSize}`,
    "8BITMIME",
    "SMTPUTF8",
    "CHUNKING",
    "BINARYMIME",
    "ENHANCEDSTATUSCODES",
    "DSN",
  ];
  if (offers.canStartTls && !secure) lines.push("STARTTLS");
  if (offers.kind !== "mx" && secure) lines.push(`AUTH ${offers.mechanisms.join(" ")}`);
  // RFC 9422.
  lines.push(`LIMITS RCPTMAX=${offers.maxRecipients} MAILMAX=${offers.maxMessages}`);
  return reply(250, "", ...lines);
}
