/**
 * Whose address stands in From (RFC 5322 §3.6.2). One pass, no recursion, no backtracking: a From of 80,000 commas
 * costs what 80,000 characters cost.
 */

import { type Mailbox, parseMailbox } from "./address.ts";

/** The addresses of an address list, in order; undefined when any part of it is not well formed. */
export function parseAddressList(value: string): Mailbox[] | undefined {
  const found: Mailbox[] = [];
  /** The address as far as it has been read, or the name in front of one; its last sign; what came after that. */
  let text = "", last = "", blank = false;
  /** Inside `<…>`, and behind it. */
  let inAngle = false, behindAngle = false, comments = 0, quoted = false;
  const begin = () => {
    text = last = "";
    blank = false;
  };
  const put = (sign: string) => {
    // RFC 5322 §3.4.1: blanks and comments may stand around a dot and the @; anywhere else they part two words.
    if (blank && !".@".includes(sign) && !".@".includes(last)) text += " ";
    blank = false;
    text += last = sign;
  };
  const finish = (): boolean => {
    if (behindAngle || text !== "") {
      const mailbox = parseMailbox(text);
      if (mailbox === undefined) return false;
      found.push(mailbox);
    }
    begin();
    behindAngle = false;
    return true;
  };
  for (let at = 0; at < value.length; at++) {
    const sign = value[at]!;
    if (comments > 0) {
      if (sign === "\\") at++;
      else if (sign === "(") comments++;
      else if (sign === ")") comments--;
    } else if (quoted) {
      text += last = sign;
      if (sign === "\\") text += value[++at] ?? "";
      else if (sign === '"') quoted = false;
    } else if (sign === "(") {
      comments++;
      blank = true;
    } else if (sign === " " || sign === "\t") {
      blank = true;
    } else if (inAngle) {
      if (sign === ">") {
        inAngle = false;
        behindAngle = true;
      } else {
        put(sign);
        quoted = sign === '"';
      }
    } else if (sign === "," || sign === ";") {
      if (!finish()) return undefined;
    } else if (behindAngle) {
      return undefined;
    } else if (sign === "<") {
      inAngle = true;
      begin();
    } else if (sign === ":") {
      // A group's name; its members count like any address. An address is no name.
      if (text.includes("@")) return undefined;
      begin();
    } else {
      put(sign);
      quoted = sign === '"';
    }
  }
  if (comments > 0 || quoted || inAngle || !finish()) return undefined;
  return found;
}
