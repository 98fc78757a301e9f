/** One command line → one value, or the reply that says what is wrong with it. RFC 5321 §4.1. */

import { type Mailbox, needsUtf8, parseForwardPath, parseReversePath, type Recipient } from "./address.ts";
import { type Reply, reply } from "./reply.ts";

export type Command =
  | { readonly verb: "EHLO" | "HELO"; readonly name: string }
  | { readonly verb: "MAIL"; readonly sender: Sender }
  | { readonly verb: "RCPT"; readonly recipient: RecipientLine }
  | { readonly verb: "BDAT"; readonly size: number; readonly last: boolean }
  | { readonly verb: "AUTH"; readonly mechanism: string; readonly initial?: string }
  | { readonly verb: "STARTTLS"; /** RFC 3207 §4: it takes no argument. */ readonly alone: boolean }
  | { readonly verb: "DATA" | "RSET" | "NOOP" | "QUIT" | "VRFY" | "EXPN" | "HELP" };

/** MAIL FROM with its parameters. */
export interface Sender {
  /** Null for `<>`. */
  readonly path: Mailbox | null;
  /** RFC 1870: what the client announces, octets. */
  readonly size?: number;
  readonly body: "7BIT" | "8BITMIME" | "BINARYMIME";
  readonly smtputf8: boolean;
  readonly ret?: "FULL" | "HDRS";
  readonly envid?: string;
}

/** RCPT TO with its parameters. */
export interface RecipientLine {
  readonly path: Recipient;
  readonly notify?: readonly Notify[];
  readonly orcpt?: string;
}

export type Notify = "NEVER" | "SUCCESS" | "FAILURE" | "DELAY";

const UNKNOWN = reply(500, "5.5.1", "Command unknown");
/** Browsers, scanners, and proxies that are not in `proxy_protocol_from`. */
const FOREIGN = new Set([
  "GET",
  "POST",
  "PUT",
  "HEAD",
  "DELETE",
  "OPTIONS",
  "CONNECT",
  "PATCH",
  "TRACE",
  "HOST:",
  "PROXY",
]);
const NOT_SMTP: Reply = { ...reply(554, "5.5.1", "This is a mail server"), close: true };
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;
const HELLO_NAME = /^[A-Za-z0-9_.:\-\[\]]{1,255}$/;

/** A value has `verb`, a refusal has `code`. */
export function parseCommand(line: string): Command | Reply {
  const space = line.search(/[ \t]/);
  const verb = upper(space < 0 ? line : line.slice(0, space));
  const rest = space < 0 ? "" : line.slice(space + 1);
  if (FOREIGN.has(verb)) return NOT_SMTP;
  if (CONTROL.test(line)) return syntax("Control characters have no place in a command");
  switch (verb) {
    case "EHLO":
    case "HELO": {
      const name = rest.trim();
      return HELLO_NAME.test(name) ? { verb, name } : syntax(`${verb} wants the name of your host`);
    }
    case "MAIL":
      return parseMail(rest);
    case "RCPT":
      return parseRcpt(rest);
    case "BDAT":
      return parseBdat(rest.trim());
    case "AUTH": {
      const [mechanism = "", initial, ...more] = rest.trim().split(/ +/);
      if (mechanism === "" || more.length > 0) return syntax("AUTH wants a mechanism");
      return { verb, mechanism: upper(mechanism), ...(initial !== undefined && { initial }) };
    }
    case "DATA":
    case "RSET":
    case "QUIT":
      return rest.trim() === "" ? { verb } : syntax(`${verb} takes no argument`);
    case "STARTTLS":
      return { verb, alone: rest.trim() === "" };
    case "VRFY":
    case "EXPN":
      return rest.trim() !== "" ? { verb } : syntax(`${verb} wants a name`);
    case "NOOP":
    case "HELP":
      return { verb };
    default:
      return UNKNOWN;
  }
}

/** Upper case of ASCII letters alone: for `toUpperCase` U+017F is an S, and a word that is no verb becomes one. */
function upper(text: string): string {
  return text.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
}

function syntax(text: string): Reply {
  return reply(501, "5.5.4", text);
}

function parseBdat(rest: string): Command | Reply {
  const parts = /^(\d+)(?:[ \t]+(LAST))?$/i.exec(rest);
  if (!parts) return syntax("Write BDAT SIZE or BDAT SIZE LAST");
  const size = Number(parts[1]);
  if (!Number.isSafeInteger(size)) {
    // Nobody can wait for the end of such a chunk, and what follows cannot be told from commands.
    return { ...reply(552, "5.3.4", "Chunk too big"), close: true };
  }
  return { verb: "BDAT", size, last: parts[2] !== undefined };
}

function parseMail(rest: string): Command | Reply {
  const found = splitPath(rest, "FROM");
  if (!found) return syntax("Write MAIL FROM:<address>");
  const path = parseReversePath(found.path);
  if (path === undefined) return reply(501, "5.1.7", "Sender address is not well formed");
  const sender: { -readonly [K in keyof Sender]: Sender[K] } = { path, body: "7BIT", smtputf8: false };
  const wrong = eachParameter(found.parameters, (key, value) => {
    switch (key) {
      case "SIZE":
        if (!/^\d{1,20}$/.test(value)) return false;
        sender.size = Number(value);
        return true;
      case "BODY": {
        const body = upper(value);
        if (body !== "7BIT" && body !== "8BITMIME" && body !== "BINARYMIME") return false;
        sender.body = body;
        return true;
      }
      case "SMTPUTF8":
        sender.smtputf8 = true;
        return value === "";
      case "RET": {
        const ret = upper(value);
        if (ret !== "FULL" && ret !== "HDRS") return false;
        sender.ret = ret;
        return true;
      }
      case "ENVID":
        sender.envid = value;
        return value.length <= 100 && isXtext(value);
      case "AUTH":
        // RFC 4954 §5: understood, and not believed.
        return value === "<>" || isXtext(value);
      default:
        return undefined;
    }
  });
  if (wrong) return wrong;
  if (path && needsUtf8(path) && !sender.smtputf8) return reply(553, "5.6.7", "This sender address needs SMTPUTF8");
  return { verb: "MAIL", sender };
}

function parseRcpt(rest: string): Command | Reply {
  const found = splitPath(rest, "TO");
  if (!found) return syntax("Write RCPT TO:<address>");
  const path = parseForwardPath(found.path);
  if (path === undefined) return reply(501, "5.1.3", "Recipient address is not well formed");
  const recipient: { -readonly [K in keyof RecipientLine]: RecipientLine[K] } = { path };
  const wrong = eachParameter(found.parameters, (key, value) => {
    switch (key) {
      case "NOTIFY": {
        const words = upper(value).split(",");
        if (!words.every(isNotify) || (words.includes("NEVER") && words.length > 1)) return false;
        recipient.notify = words.filter(isNotify);
        return true;
      }
      case "ORCPT":
        // RFC 3461 §4.2: addr-type ";" xtext. RFC 6533 adds utf-8-addr-xtext, which is text for us.
        recipient.orcpt = value;
        return value.length <= 500 && /^[A-Za-z0-9-]+;/.test(value) && isXtext(value.slice(value.indexOf(";") + 1));
      default:
        return undefined;
    }
  });
  return wrong ?? { verb: "RCPT", recipient };
}

function isNotify(word: string): word is Notify {
  return word === "NEVER" || word === "SUCCESS" || word === "FAILURE" || word === "DELAY";
}

/** `FROM:<…> A=1 B` → path with brackets and the rest. Quoted local parts may hold `>` and blanks. */
function splitPath(rest: string, keyword: string): { path: string; parameters: string } | undefined {
  const start = rest.trimStart();
  if (upper(start.slice(0, keyword.length + 1)) !== `${keyword}:`) return undefined;
  // A blank behind the colon is wrong (RFC 5321 §3.3) and common; it changes nothing.
  const tail = start.slice(keyword.length + 1).trimStart();
  if (tail[0] !== "<") return undefined;
  let quoted = false;
  for (let at = 1; at < tail.length; at++) {
    const sign = tail[at];
    if (quoted && sign === "\\") at++;
    else if (sign === '"') quoted = !quoted;
    else if (sign === ">" && !quoted) {
      const parameters = tail.slice(at + 1);
      if (parameters !== "" && !/^[ \t]/.test(parameters)) return undefined;
      return { path: tail.slice(0, at + 1), parameters };
    }
  }
  return undefined;
}

/** `take` says true (fine), false (bad value) or undefined (not known). Gives the refusal, if any. */
function eachParameter(
  text: string,
  take: (key: string, value: string) => boolean | undefined,
): Reply | undefined {
  const seen = new Set<string>();
  for (const word of text.split(/[ \t]+/)) {
    if (word === "") continue;
    const equals = word.indexOf("=");
    const key = upper(equals < 0 ? word : word.slice(0, equals));
    if (seen.has(key)) return syntax(`Parameter ${key} is given twice`);
    seen.add(key);
    const taken = take(key, equals < 0 ? "" : word.slice(equals + 1));
    if (taken === undefined) return reply(555, "5.5.4", `Parameter ${key} is not known here`);
    if (!taken) return syntax(`Parameter ${key} has a value that is not allowed`);
  }
  return undefined;
}

/** RFC 3461 §4: printable, `+` only as `+HH`; and what it decodes to may not break a header line either. */
function isXtext(text: string): boolean {
  return /^(?:[!-*,-<>-~\u0080-\uffff]|\+[0-9A-F]{2})+$/.test(text) && !/\+(?:[01][0-9A-F]|7F)/.test(text);
}
