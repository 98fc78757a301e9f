/** Text in the parameters of DSN (RFC 3461 §4): printable ASCII, and `+HH` for a byte of anything else. */

export function toXtext(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => {
    const plain = byte > 32 && byte < 127 && byte !== 43 && byte !== 61;
    return plain ? String.fromCharCode(byte) : `+${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
}

/** What is no xtext stays as it is. */
export function fromXtext(text: string): string {
  if (!/^(?:[^+]|\+[0-9A-F]{2})*$/.test(text)) return text;
  const bytes = new TextEncoder().encode(text), plain: number[] = [];
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] !== 0x2b) plain.push(bytes[at]!);
    else plain.push(parseInt(String.fromCharCode(bytes[++at]!, bytes[++at]!), 16));
  }
  return new TextDecoder().decode(Uint8Array.from(plain));
}
