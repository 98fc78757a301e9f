/** What others have said, made fit to stand in a field or a line of a note to a sender. */

import { fromXtext } from "../smtp/xtext.ts";

// RFC 5321 §4.5.3.1.5: a line of a reply has at most 512 octets.
const MOST_TEXT = 500;

/** Nothing a peer said can begin a line of its own: no controls, no line separators of any alphabet. */
export function oneLine(text: string): string {
  return text.slice(0, MOST_TEXT).replace(/[\p{Cc}\p{Cs}\u2028\u2029]/gu, "?");
}

/** The same in printable ASCII. */
export function ascii(text: string): string {
  return oneLine(text).replace(/[^\x20-\x7e]/gu, "?");
}

/** RFC 5322 §3.3; `time` in milliseconds since 1970. */
export function date(time: number): string {
  return new Date(time).toUTCString().replace("GMT", "+0000");
}

/** `rfc822; local@domain`, and by RFC 6533 §3 for an address of more than seven bits `utf-8; …` with `\x{…}`. */
export function addressField(address: string): string {
  const line = oneLine(address);
  if (line === ascii(line)) return `rfc822; ${line}`;
  const escaped = line.replace(
    /[^\x21-\x7e]|[\\+=]/gu,
    (sign) => `\\x{${sign.codePointAt(0)!.toString(16).toUpperCase().padStart(2, "0")}}`,
  );
  return `utf-8; ${escaped}`;
}

/** An ORCPT parameter as a field has it. Undefined for what is not `type;address`: no program could read it. */
export function originalRecipient(orcpt: string): string | undefined {
  const [, type = "", address = ""] = /^([\w-]+);(.+)$/s.exec(orcpt) ?? [];
  switch (type.toLowerCase()) {
    case "":
      return undefined;
    case "rfc822":
      return addressField(fromXtext(address));
    case "utf-8":
      return addressField(fromUnitext(address));
    default:
      return `${type}; ${ascii(fromXtext(address))}`;
  }
}

/** RFC 6533 §3: `\x{E4}` for a sign. */
function fromUnitext(text: string): string {
  return text.replace(/\\x\{([0-9A-F]{2,6})\}/g, (all, hex) => {
    const sign = parseInt(hex, 16);
    return sign > 0x10ffff ? all : String.fromCodePoint(sign);
  });
}
