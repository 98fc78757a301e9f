/** What a certificate authority says is wrong (RFC 8555 §6.7), and what to do about it. */

import { type AcmeSettings, CALLED } from "./acme_settings.ts";

/** An order that failed; the message is a sentence for the operator. */
export class OrderFailed extends Error {
  override readonly name = "OrderFailed";
  /** `retryAfter`: the authority wants to hear nothing of it for so long, milliseconds. */
  constructor(message: string, readonly retryAfter?: number) {
    super(message);
  }
}

/** A problem document (RFC 9457), or what is in its place. */
export class Problem extends Error {
  override readonly name = "Problem";
  /** `type`: the word behind the namespace of ACME, `rateLimited`; empty when there is none. */
  constructor(readonly type: string, detail: string, readonly retryAfter?: number) {
    super(detail);
  }
}

const NAMESPACE = "urn:ietf:params:acme:error:";
/** Strangers' words in a log: as much as says something. */
const MAX_DETAIL = 400;

/** `raw`: what the authority sent. */
export function problemOf(raw: unknown, otherwise: string, retryAfter?: number): Problem {
  const { type, detail, subproblems } = fieldsOf(raw);
  const parts = Array.isArray(subproblems) ? subproblems.map((one: unknown) => fieldsOf(one).detail) : [];
  const said = [detail, ...parts].filter((one) => typeof one === "string" && one !== "").join("; ") || otherwise;
  const word = typeof type === "string" && type.startsWith(NAMESPACE) ? type.slice(NAMESPACE.length) : "";
  return new Problem(word, printable(said), retryAfter);
}

function fieldsOf(raw: unknown): Readonly<Record<string, unknown>> {
  return typeof raw === "object" && raw !== null ? raw as Readonly<Record<string, unknown>> : {};
}

function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  const line = text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, " ").trim().replace(/\.$/, "");
  return line.length > MAX_DETAIL ? `${line.slice(0, MAX_DETAIL - 1)}…` : line;
}

/** RFC 9110 §10.2.3: seconds or a date. Milliseconds from `now`; undefined when there is none, or none that helps. */
export function retryAfter(header: unknown, now: number): number | undefined {
  if (typeof header !== "string") return undefined;
  const wait = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(wait) && wait > 0 ? wait : undefined;
}

/** Whatever was thrown, as what failed, where, and what to do. `name`: the one that was being proved. */
export function orderFailed(thrown: unknown, settings: AcmeSettings, name?: string): OrderFailed {
  if (thrown instanceof OrderFailed) return thrown;
  const authority = new URL(settings.directory).host;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (!(error instanceof Problem)) {
    return new OrderFailed(`${printable(error.message)}. ${reachable(error, authority)}`);
  }
  const said = name === undefined
    ? `${authority} gives no certificate for ${settings.names.join(", ")}: ${error.message}`
    : `${authority} could not see that ${name} is ours: ${error.message}`;
  return new OrderFailed(`${said}. ${advice(error.type, settings, name ?? settings.names[0]!)}`, error.retryAfter);
}

function advice(type: string, { challenge, listen }: AcmeSettings, name: string): string {
  const here = `${name} needs A or AAAA records that lead to this machine and nowhere else, and port ` +
    `${CALLED[challenge]} of each of their addresses has to lead to port ${listen.port} here`;
  switch (type) {
    case "connection":
    case "dns":
      return `${here}.`;
    case "unauthorized":
    case "incorrectResponse":
      return `Another server answers: ${here}.`;
    case "tls":
      return `Another server answers, or one in front of us opens TLS: ${here}.`;
    case "caa":
      return `Add this authority to the CAA records of ${name}, or of the domain above it.`;
    case "rateLimited":
      return "It is tried again when the authority allows it.";
    case "rejectedIdentifier":
    case "unsupportedIdentifier":
      return "Take the name out of names in [tls.acme], or choose another directory.";
    case "userActionRequired":
      return "Do what it asks for.";
    case "externalAccountRequired":
      return "It serves known customers only, which maildemon cannot be: choose another directory in [tls.acme].";
    case "invalidContact":
    case "unsupportedContact":
      return "Write another email into [tls.acme], or none.";
    default:
      return "It is tried again later.";
  }
}

/** Not the authority itself, but the way to it. */
function reachable({ message }: Error, authority: string): string {
  if (/certificate|UnknownIssuer|self.signed/i.test(message)) {
    return `The authority ${authority} is not known over HTTPS: look at the clock, and for a private one write ` +
      "directory_ca into [tls.acme].";
  }
  return `Look whether this machine can call ${authority} over HTTPS, and whether directory in [tls.acme] is right.`;
}
