/**
 * What we found, written on top of a message for who reads it next (RFC 8601, RFC 7208 §9.1), and the fields of others
 * that claim to be ours. What a peer said is quoted or replaced, so that it stays one value.
 */

import { type Field, type Header, valueOf } from "../smtp/headers.ts";
import type { Signature } from "../worker/verify.ts";
import type { DmarcFinding } from "./dmarc.ts";
import { printable } from "./printable.ts";
import type { Claim, SpfFinding } from "./spf.ts";

export interface Results {
  /** Our name. */
  readonly by: string;
  /** Left out: it was not looked at. */
  readonly spf?: SpfFinding | undefined;
  /** Empty: there was none. */
  readonly signatures?: readonly Signature[] | undefined;
  readonly dmarc?: DmarcFinding | undefined;
  /** Whether the name in HELO is that of the peer. `result`: `pass`, `fail`, `none`, `temperror`. */
  readonly helo?: { readonly result: string; readonly name: string } | undefined;
}

/** Signs of one value, and of a line before it is folded. A domain has 253 at most. */
const MAX_VALUE = 253, MAX_LINE = 76;

/** `Authentication-Results: …`, folded, with its CRLF. */
export function authenticationResults({ by, spf, signatures, dmarc, helo }: Results): string {
  const results: string[][] = [];
  // RFC 8601 §2.7.7: not a registered method. iprev is another thing: it begins with the address.
  if (helo !== undefined) results.push([`x-helo=${keyword(helo.result)}`, `smtp.helo=${value(helo.name)}`]);
  if (spf !== undefined) results.push([`spf=${spf.result}`, `smtp.${spf.identity}=${value(spf.domain)}`]);
  if (signatures?.length === 0) results.push(["dkim=none"]);
  for (const signature of signatures ?? []) results.push(dkimWords(signature));
  if (dmarc !== undefined) results.push(dmarcWords(dmarc));
  const name = `Authentication-Results: ${value(by)};`;
  if (results.length === 0) return `${name} none\r\n`;
  return `${name}\r\n${results.map((words) => fold(words)).join(";\r\n")}\r\n`;
}

function dkimWords({ result, reason, domain, selector, algorithm }: Signature): string[] {
  return [
    `dkim=${result}`,
    ...(reason === undefined ? [] : [`reason=${quoted(reason)}`]),
    ...(domain === "" ? [] : [`header.d=${value(domain)}`]),
    ...(selector === "" ? [] : [`header.s=${value(selector)}`]),
    ...(algorithm === undefined ? [] : [`header.a=${value(algorithm)}`]),
  ];
}

function dmarcWords({ result, reason, from, policy }: DmarcFinding): string[] {
  return [
    `dmarc=${result}`,
    ...(reason === undefined ? [] : [`reason=${quoted(reason)}`]),
    ...(from === "" ? [] : [`header.from=${value(from)}`]),
    // RFC 9989 §9.1
    ...(policy === undefined ? [] : [`policy.dmarc=${policy}`]),
  ];
}

/** `Received-SPF: …`, folded, with its CRLF (RFC 7208 §9.1). */
export function receivedSpf(finding: SpfFinding, claim: Claim, by: string): string {
  const { result, identity, domain } = finding;
  const words = [
    `client-ip=${value(claim.host)};`,
    ...(claim.sender === "" ? [] : [`envelope-from=${quoted(claim.sender)};`]),
    `helo=${value(claim.hello)};`,
    `receiver=${value(by)};`,
    `identity=${identity};`,
  ];
  return `Received-SPF: ${result} (${comment(by)}: ${SAID[result]} ${comment(domain)})\r\n${fold(words)}\r\n`;
}

const SAID: Readonly<Record<SpfFinding["result"], string>> = {
  pass: "host is a permitted sender of",
  fail: "host is not a permitted sender of",
  softfail: "host is probably not a permitted sender of",
  neutral: "nothing is said about the host by",
  none: "no record of",
  temperror: "cannot look up now",
  permerror: "cannot understand the record of",
};

/** The words on lines that begin with a tab. */
function fold(words: readonly string[]): string {
  let text = "", line = 0;
  for (const word of words) {
    if (text === "" || line + 1 + word.length > MAX_LINE) {
      text += `${text === "" ? "" : "\r\n"}\t${word}`;
      line = 8 + word.length;
    } else {
      text += ` ${word}`;
      line += 1 + word.length;
    }
  }
  return text;
}

/** A token (RFC 2045 §5.1) as it is; anything else in quotes. */
function value(said: string): string {
  return /^[A-Za-z0-9!#$%&'*+\-.^_`{|}~]+$/.test(said) && said.length <= MAX_VALUE ? said : quoted(said);
}

function quoted(said: string): string {
  return `"${printable(said, MAX_VALUE).replace(/["\\]/g, "\\$&")}"`;
}

function comment(said: string): string {
  return printable(said, MAX_VALUE).replace(/[()"\\]/g, "?");
}

function keyword(said: string): string {
  return /^[a-z]{1,20}$/.test(said) ? said : "none";
}

/**
 * The Authentication-Results fields that bear our name, which nobody but us may have written (RFC 8601 §5), and those
 * of which nobody can say whose they are.
 */
export function foreignResults(start: Uint8Array, { fields }: Header, hostname: string): Field[] {
  const ours = canonical(hostname);
  return fields.filter((field) => {
    if (field.name !== "authentication-results") return false;
    const id = canonical(authservId(valueOf(start, field)) ?? "");
    return id === undefined || id === ours;
  });
}

/** As others may read it: signs that look like ours, or like nothing, count as ours. Undefined: nobody can say. */
function canonical(name: string): string | undefined {
  if (/^[!-~]+$/.test(name)) return name.toLowerCase().replace(/\.$/, "");
  try {
    return new URL(`http://${name}/`).hostname.replace(/\.$/, "");
  } catch {
    return undefined;
  }
}

/** What stands behind blanks and comments: a token or a quoted string. Undefined when neither can be read. */
function authservId(text: string): string | undefined {
  const at = behindComments(text);
  if (at === undefined) return undefined;
  let id = "";
  if (text[at] !== '"') {
    for (let end = at; end < text.length && !' \t\r\n;("=/'.includes(text[end]!); end++) id += text[end];
    return id === "" ? undefined : id;
  }
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === '"') return id.trim();
    if (text[end] === "\\") end++;
    id += text[end] ?? "";
  }
  return undefined;
}

/** Offset of the first sign outside of comments; undefined when a comment does not end. */
function behindComments(text: string): number | undefined {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at]!;
    if (sign === "(") depth++;
    else if (depth > 0 && sign === ")") depth--;
    else if (depth > 0 && sign === "\\") at++;
    else if (depth === 0 && !" \t\r\n".includes(sign)) return at;
  }
  return depth === 0 ? text.length : undefined;
}
