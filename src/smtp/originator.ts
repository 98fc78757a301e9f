/**
 * Whose address stands in From (RFC 5322 §3.6.2). One pass, no recursion, no backtracking: a From of 80,000 commas
 * costs what 80,000 characters cost.
 */

import { type Mailbox, parseMailbox } from "./address.ts";

/** The addresses of an address list, in order; undefined when any part of it is not well formed. */
export function parseAddressList(value: string): Mailbox[] | undefined {
  const found: Mailbox[] = [];
  let bare = "", angle: string | undefined, inAngle = false, comments = 0, quoted = false;
  const finish = (): boolean => {
    const text = angle ?? bare.trim();
    const empty = angle === undefined && text === "";
    bare = "";
    angle = undefined;
    if (empty) return true;
    const mailbox = parseMailbox(text.replace(/\s*([.@])\s*/g, "$1"));
    if (mailbox !== undefined) found.push(mailbox);
    return mailbox !== undefined;
  };
  const put = (sign: string) => {
    if (inAngle) angle += sign;
    else bare += sign;
  };
  for (let at = 0; at < value.length; at++) {
    const sign = value[at]!;
    if (comments > 0) {
      if (sign === "\\") at++;
      else if (sign === "(") comments++;
      else if (sign === ")") comments--;
    } else if (quoted) {
      put(sign);
      if (sign === "\\") put(value[++at] ?? "");
      else if (sign === '"') quoted = false;
    } else if (sign === "(") comments++;
    else if (sign === '"') {
      put(sign);
      quoted = true;
    } else if (inAngle) {
      if (sign === ">") inAngle = false;
      else put(sign);
    } else if (sign === "<") {
      if (angle !== undefined) return undefined;
      angle = "";
      inAngle = true;
    } else if (sign === ",") {
      if (!finish()) return undefined;
    } else if (sign === ":" && angle === undefined) {
      // A group's name; its members count like any address.
      bare = "";
    } else if (sign === ";") {
      if (!finish()) return undefined;
    } else put(sign);
  }
  if (comments > 0 || quoted || inAngle || !finish()) return undefined;
  return found;
}
