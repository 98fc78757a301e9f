/**
 * Dialogs as scripts: a file that reads like what went over the wire.
 *
 *     # a comment, with the clause
 *     listener: submissions          mx when not said
 *     limit: maxErrors 3             a setting of the session or the connection
 *     without: bytes, tls            runs that would miss the point of the dialog
 *     S: 250 2.1.0                   the next reply, one line, which begins so
 *     S: 250 ...                     … of any number of lines
 *     S: 250-mail.dev.test           … these lines, the last one without the hyphen
 *     C: RCPT TO:<ann@dev.test>      a line; those that follow each other go out as one group
 *     B: half a li\0\xff{A*5000}     bytes: \r \n \t \0 \xHH \\, and {TEXT*COUNT} says it so often
 *     T:                             TLS begins
 *     closes:                        the server closes
 *     hangs up:                      the client does
 *     stored: bob@remote.test -> ann@dev.test, bob@dev.test
 *     | a line of the message
 *     |B: bytes of the message
 *     stored: nothing
 */

import type { ConnectionLimits } from "../../src/accept/connection.ts";
import type { SessionSettings } from "../../src/smtp/session.ts";
import { joined, textOf } from "./every_cut.ts";
import type { Stored } from "./memory_host.ts";

export type Run = "whole" | "bytes" | "clear" | "tls";

export type Step =
  | { readonly do: "send"; readonly bytes: Uint8Array; readonly at: number }
  | { readonly do: "expect"; readonly lines: readonly string[]; readonly at: number }
  | { readonly do: "tls"; readonly at: number }
  | { readonly do: "closes"; readonly at: number }
  | { readonly do: "hangs up"; readonly at: number }
  | { readonly do: "stored"; /** Undefined: nothing. */ readonly message: Stored | undefined; readonly at: number };

export interface Dialog {
  readonly kind: SessionSettings["kind"];
  readonly limits: Partial<SessionSettings & ConnectionLimits>;
  readonly without: ReadonlySet<Run>;
  readonly steps: readonly Step[];
}

const utf8 = new TextEncoder();
const CRLF = Uint8Array.of(13, 10);

/** Throws with the number of the line that is not understood. */
export function parseDialog(script: string): Dialog {
  const limits: Record<string, number | boolean> = {}, without = new Set<Run>(), steps: Step[] = [];
  let kind: Dialog["kind"] = "mx";
  for (const [index, line] of script.split("\n").entries()) {
    const at = index + 1;
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [, key = "", value = ""] = /^(\|B:|\||[A-Za-z ]+:) ?(.*)$/.exec(line) ?? [];
    switch (key) {
      case "listener:":
        if (value !== "mx" && value !== "submission" && value !== "submissions") throw problem(at, line);
        kind = value;
        break;
      case "limit:": {
        const [name = "", amount = ""] = value.split(" ");
        limits[name] = amount === "true" || amount === "false" ? amount === "true" : Number(amount);
        break;
      }
      case "without:":
        for (const run of value.split(", ")) without.add(run as Run);
        break;
      case "C:":
        add(steps, at, joined([utf8.encode(value), CRLF]));
        break;
      case "B:":
        add(steps, at, unescape(value));
        break;
      case "S:": {
        const last = steps.at(-1);
        const goesOn = last?.do === "expect" && last.lines.at(-1)?.[3] === "-";
        if (goesOn) steps[steps.length - 1] = { ...last, lines: [...last.lines, value] };
        else steps.push({ do: "expect", lines: [value], at });
        break;
      }
      case "T:":
        steps.push({ do: "tls", at });
        break;
      case "closes:":
        steps.push({ do: "closes", at });
        break;
      case "hangs up:":
        steps.push({ do: "hangs up", at });
        break;
      case "stored:": {
        const [, sender, recipients] = /^(\S+) -> (.+)$/.exec(value) ?? [];
        const message = { sender: sender === "<>" ? "" : sender ?? "", recipients: recipients?.split(", ") ?? [] };
        if (sender === undefined && value !== "nothing") throw problem(at, line);
        steps.push({ do: "stored", message: sender === undefined ? undefined : { ...message, text: "" }, at });
        break;
      }
      case "|":
      case "|B:": {
        const last = steps.at(-1);
        if (last?.do !== "stored" || !last.message) throw problem(at, line);
        const more = key === "|" ? joined([utf8.encode(value), CRLF]) : unescape(value);
        const message = { ...last.message, text: last.message.text + textOf(more) };
        steps[steps.length - 1] = { ...last, message };
        break;
      }
      default:
        throw problem(at, line);
    }
  }
  return { kind, limits, without, steps };
}

/** True when what the server said is what the script wants. */
export function matches(said: readonly string[], wanted: readonly string[]): boolean {
  const [only = ""] = wanted;
  if (wanted.length === 1 && only.endsWith(" ...")) {
    const code = only.slice(0, 3);
    return said.every((line) => line.startsWith(code));
  }
  return said.length === wanted.length && said.every((line, index) => line.startsWith(wanted[index] ?? ""));
}

function add(steps: Step[], at: number, bytes: Uint8Array): void {
  const last = steps.at(-1);
  if (last?.do === "send") steps[steps.length - 1] = { ...last, bytes: joined([last.bytes, bytes]) };
  else steps.push({ do: "send", bytes, at });
}

const PLAIN: Readonly<Record<string, string>> = { r: "\r", n: "\n", t: "\t", "0": "\0", "\\": "\\" };

function unescape(text: string): Uint8Array {
  const bytes = textOf(utf8.encode(text))
    .replace(/\{([^{}*]+)\*(\d+)\}/g, (_, part: string, count: string) => part.repeat(Number(count)))
    .replace(
      /\\(?:x([0-9a-f]{2})|(.))/gi,
      (_, hex: string | undefined, sign: string | undefined) =>
        hex === undefined ? PLAIN[sign ?? ""] ?? sign ?? "" : String.fromCharCode(parseInt(hex, 16)),
    );
  return Uint8Array.from(bytes, (sign) => sign.charCodeAt(0));
}

function problem(at: number, line: string): Error {
  return new Error(`line ${at} is no line of a dialog: ${line}`);
}
