/** What the server says: a value, made in one place, written in one place. */

export interface Reply {
  /** RFC 5321 §4.2: three digits. */
  readonly code: number;
  /** RFC 3463 `class.subject.detail`; absent where RFC 2034 wants none (220, 221 of HELO, 334, 354). */
  readonly enhanced?: string;
  /** At least one line, without code and line end. */
  readonly lines: readonly string[];
  /** The connection ends after this reply. 421 always ends it. */
  readonly close?: true;
  /** Milliseconds that a greeting keeps its peer waiting. */
  readonly delay?: number;
  /** Why it is a refusal: for the story of the message, never for the peer. */
  readonly because?: Cause;
}

/** What decided, in the words of `maildemon why`. */
export interface Cause {
  /** `spf`, `ban`, `unknown recipient`. */
  readonly rule: string;
  /** The values it had before it. Holds what peers said, as they said it. */
  readonly found: string;
  /** The key of the configuration, `checks.spf`; absent when no setting could have decided otherwise. */
  readonly setting?: string;
}

/** `reply(250, "2.1.0", "Sender accepted")`. An empty `enhanced` means none. */
export function reply(code: number, enhanced: string, ...lines: readonly string[]): Reply {
  const said = lines.length > 0 ? lines : [""];
  return enhanced === "" ? { code, lines: said } : { code, enhanced, lines: said };
}

/** The same reply with its reason. */
export function because(said: Reply, rule: string, found: string, setting?: string): Reply {
  return { ...said, because: { rule, found, ...(setting !== undefined && { setting }) } };
}

/** The same reply, after which the connection ends. */
export function closing(last: Reply): Reply {
  return { ...last, close: true };
}

export function isPositive(answer: Reply): boolean {
  return answer.code < 400;
}

/** The bytes on the wire as text. Nothing that a peer or a resolver said can break out of its line. */
export function formatReply({ code, enhanced, lines }: Reply): string {
  const prefix = enhanced === undefined ? "" : `${enhanced} `;
  const last = lines.length - 1;
  let wire = "";
  for (const [index, line] of lines.entries()) {
    wire += `${code}${index === last ? " " : "-"}${prefix}${printable(line)}\r\n`;
  }
  return wire;
}

// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x1f\x7f]/g;

function printable(line: string): string {
  return line.replace(CONTROL, "?");
}
