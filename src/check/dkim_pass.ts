/**
 * Says of most honest messages quickly that their DKIM signatures hold (RFC 6376 §6), and nothing else: it knows no
 * "fail". Whatever is not plain or does not hold is left to mailauth, which takes five times as long and whose word
 * counts; so this can only be wrong by saying pass where mailauth does not, and a test looks for that.
 */

import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { relaxedBody, relaxedField, simpleBody } from "../smtp/dkim_canonical.ts";
import type { PublicKeys } from "./dkim_keys.ts";
import { MAX_FROM, MAX_SIGNATURE, MAX_SIGNATURES } from "./dkim_limits.ts";
import { type Form, type PlainSignature, plainSignature } from "./dkim_tags.ts";

export interface Passed {
  /** What stands behind the @ of the one address in From. */
  readonly author: string;
  /** All signatures of the message, in their order. */
  readonly signatures: readonly Pick<PlainSignature, "domain" | "selector" | "algorithm">[];
}

export interface Signed {
  readonly message: Uint8Array;
  /** `selector._domainkey.domain`, lower case → its TXT records, or why there are none. */
  readonly records: ReadonlyMap<string, readonly string[] | string>;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** A field as it stands, without its last CRLF; each octet is a character. */
interface Line {
  readonly text: string;
  relaxed?: string;
}

type Fields = ReadonlyMap<string, readonly Line[]>;

/** Undefined: nothing is said, neither good nor bad. */
export function passed({ message, records, now }: Signed, keys: PublicKeys): Passed | undefined {
  const view = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const end = view.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const fields = readFields(view.toString("latin1", 0, end)), body = view.subarray(end + 4);
  const signed = fields?.get("dkim-signature") ?? [];
  if (fields === undefined || signed.length === 0 || signed.length > MAX_SIGNATURES || hasBareLineEnd(body)) {
    return undefined;
  }
  const author = plainAuthor(fields.get("from") ?? []);
  if (author === undefined) return undefined;
  const hashes = new Map<Form, string>(), signatures: PlainSignature[] = [];
  for (const line of signed) {
    if (line.text.length > MAX_SIGNATURE) return undefined;
    const signature = plainSignature(valueOf(relaxed(line)), now);
    if (signature === undefined || !holds(signature, line, { fields, body, hashes, records, keys })) return undefined;
    signatures.push(signature);
  }
  return {
    author,
    signatures: signatures.map(({ domain, selector, algorithm }) => ({ domain, selector, algorithm })),
  };
}

function holds(signature: PlainSignature, line: Line, { fields, body, hashes, records, keys }: {
  readonly fields: Fields;
  readonly body: Uint8Array;
  /** Of the body, as far as they are known. */
  readonly hashes: Map<Form, string>;
  readonly records: Signed["records"];
  readonly keys: PublicKeys;
}): boolean {
  const { domain, selector, algorithm, identityDomain } = signature;
  const found = records.get(`${selector}._domainkey.${domain}`.toLowerCase()) ?? [];
  // Which of several records counts is undefined (§3.6.2.2).
  const [record, ...others] = typeof found === "string" ? [] : found;
  const key = record === undefined || others.length > 0 ? undefined : keys.of(record);
  if (key?.algorithm !== algorithm) return false;
  if (key.strict && identityDomain.toLowerCase() !== domain.toLowerCase()) return false;
  const hash = hashes.get(signature.body) ?? hashOf(body, signature.body);
  hashes.set(signature.body, hash);
  if (hash !== signature.bodyHash) return false;
  const covered = Buffer.from(coveredText(signature, line, fields), "latin1");
  return key.verifies(createHash("sha256").update(covered).digest(), signature.signature);
}

// What mailauth also looks into when somebody else has signed that he saw it.
const ARC = ["arc-seal", "arc-message-signature", "arc-authentication-results"];

/** By their names, lower case, in the order in which they stand. Undefined when there is anything unusual. */
function readFields(header: string): Fields | undefined {
  // Controls, and line ends that are none.
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/.test(header)) return undefined;
  const fields = new Map<string, Line[]>();
  for (const text of header.split(/\r\n(?![ \t])/)) {
    const name = text.slice(0, Math.max(text.indexOf(":"), 0)).toLowerCase();
    if (!/^[!-9;-~]+$/.test(name)) return undefined;
    const known = fields.get(name);
    if (known === undefined) fields.set(name, [{ text }]);
    else known.push({ text });
  }
  return ARC.some((name) => fields.has(name)) ? undefined : fields;
}

const CR = 13, LF = 10;

function hasBareLineEnd(body: Uint8Array): boolean {
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (byte === LF || byte === CR && body[++at] !== LF) return true;
  }
  return false;
}

const NAME_AND_ADDRESS = /^(?:[^"(),:;<>@[\]\\]*|"[^"\\]*" ?)<([^ "(),:;<>[\]\\]+)>$/;
const ADDRESS = /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.]+@([A-Za-z0-9.-]+)$/;

/** Undefined when From is not one field with one address that needs no quotes. */
function plainAuthor([from, ...others]: readonly Line[]): string | undefined {
  if (from === undefined || others.length > 0 || from.text.length > MAX_FROM) return undefined;
  const value = valueOf(relaxed(from)), [, address = value] = NAME_AND_ADDRESS.exec(value) ?? [];
  return ADDRESS.exec(address)?.[1];
}

function hashOf(body: Uint8Array, form: Form): string {
  return createHash("sha256").update(form === "relaxed" ? relaxedBody(body) : simpleBody(body)).digest("base64");
}

/** What the signature signs (§3.7): the fields, each name's lowest first, and the signature itself without its `b=`. */
function coveredText({ header, covers }: PlainSignature, line: Line, fields: Fields): string {
  const form = header === "relaxed" ? relaxed : ({ text }: Line) => text;
  const used = new Map<string, number>();
  let text = "";
  for (const name of covers) {
    const before = used.get(name) ?? 0, field = fields.get(name)?.at(-1 - before);
    used.set(name, before + 1);
    // A name that is there more often than its field covers that there are no more of them.
    if (field !== undefined) text += `${form(field)}\r\n`;
  }
  return text + withoutSignature(form(line));
}

/** All of `b=` up to the next tag, blanks and folds with it. */
function withoutSignature(text: string): string {
  const value = text.indexOf(":") + 1;
  return text.slice(0, value) + text.slice(value).replace(/((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*/, "$1");
}

function relaxed(line: Line): string {
  return line.relaxed ??= relaxedField(line.text).line;
}

function valueOf(relaxed: string): string {
  return relaxed.slice(relaxed.indexOf(":") + 1);
}
