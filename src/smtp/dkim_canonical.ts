/**
 * The forms in which DKIM signs a message (RFC 6376 §3.4), for who signs and for who verifies. Line ends are CRLF; a
 * CR or LF that stands alone is text like any other.
 */

/** §3.4.2: `text` is a field without its last CRLF, each octet a character. */
export function relaxedField(text: string): { readonly name: string; readonly line: string } {
  const colon = text.indexOf(":");
  const name = text.slice(0, colon).trim().toLowerCase();
  const value = text.slice(colon + 1).replaceAll("\r\n", "").replace(/[ \t]+/g, " ");
  return { name, line: `${name}:${value.replace(/^ | $/g, "")}` };
}

const CR = 13, LF = 10, TAB = 9, SPACE = 32;

/** §3.4.4: runs of blanks become one, those before a line end and empty lines at the end go. */
export function relaxedBody(body: Uint8Array): Uint8Array {
  const relaxed = new Uint8Array(body.length + 2);
  let size = 0, breaks = 0, blank = false;
  for (let at = 0; at < body.length;) {
    let byte = body[at] as number;
    if (byte === SPACE || byte === TAB) {
      blank = true;
      at++;
    } else if (byte === CR && body[at + 1] === LF) {
      blank = false;
      breaks++;
      at += 2;
    } else {
      for (; breaks > 0; breaks--) {
        relaxed[size++] = CR;
        relaxed[size++] = LF;
      }
      if (blank) relaxed[size++] = SPACE;
      blank = false;
      // Most of it is words: on its own this loop takes half of the time.
      do {
        relaxed[size++] = byte;
        byte = body[++at] as number;
      } while (byte > SPACE);
    }
  }
  if (size > 0) {
    relaxed[size++] = CR;
    relaxed[size++] = LF;
  }
  return relaxed.subarray(0, size);
}

/** §3.4.3: exactly one CRLF at the end, also of an empty body. It may be a view of `body`. */
export function simpleBody(body: Uint8Array): Uint8Array {
  let end = body.length;
  while (body[end - 2] === CR && body[end - 1] === LF) end -= 2;
  if (end < body.length) return body.subarray(0, end + 2);
  const ended = new Uint8Array(end + 2);
  ended.set(body);
  ended.set([CR, LF], end);
  return ended;
}
