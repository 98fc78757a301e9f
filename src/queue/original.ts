/** What comes back of a message with a note about it: its header, or the whole of it. */
import type { Content } from "./entry.ts";

export type Original =
  | { readonly part: "header"; readonly text: string }
  | {
    readonly part: "message";
    readonly bytes: Uint8Array<ArrayBuffer>;
    readonly eightBit: boolean;
    /** Its header is UTF-8 (RFC 6532). */
    readonly utf8Header: boolean;
  };

// Enough of a header to recognize the message by, and of a message what a mailbox can bear to get back.
const MOST_HEADER = 32 * 1024, MOST_WHOLE = 1 << 20;
/** RFC 5322 §2.1.1, and the CR. */
const MOST_LINE = 999;
const NUL = 0, LF = 10, CR = 13;

/** The whole message, if it may come back whole and can; else its header. `anyBits`: bytes above 127 may come, too. */
export async function originalOf(
  content: Content,
  { whole, anyBits }: { readonly whole: boolean; readonly anyBits: boolean },
): Promise<Original> {
  const message = whole && content.size <= MOST_WHOLE ? await messageOf(content) : undefined;
  if (message?.part === "message" && (anyBits || !message.eightBit)) return message;
  return { part: "header", text: await headerOf(content) };
}

/** Undefined when it cannot be read, or not stand in another message as it is. */
async function messageOf(content: Content): Promise<Original | undefined> {
  const bytes = new Uint8Array(content.size);
  let filled = 0;
  try {
    for await (const piece of content.pieces()) {
      bytes.set(piece, filled);
      filled += piece.length;
    }
  } catch {
    return undefined;
  }
  if (filled !== bytes.length) return undefined;
  let eightBit = false, headerEnd = -1, line = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === NUL || (byte === CR) !== (bytes[at + 1] === LF)) return undefined;
    if (byte >= 0x80) eightBit = true;
    line = byte === LF ? 0 : line + 1;
    if (line > MOST_LINE) return undefined;
    if (byte === CR && headerEnd < 0 && bytes[at + 2] === CR) headerEnd = at;
  }
  if (bytes[0] === LF) return undefined;
  const header = bytes.subarray(0, headerEnd < 0 ? bytes.length : headerEnd);
  const utf8Header = header.some((byte) => byte >= 0x80);
  return utf8Header && !isUtf8(header) ? undefined : { part: "message", bytes, eightBit, utf8Header };
}

/** Whole lines, at most 32 KiB; empty when it cannot be read any more. */
async function headerOf(content: Content): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const piece of content.pieces()) {
      text += decoder.decode(piece.subarray(0, MOST_HEADER + 4), { stream: true });
      if (text.includes("\r\n\r\n") || text.length > MOST_HEADER) break;
    }
  } catch {
    return "";
  }
  const end = text.indexOf("\r\n\r\n");
  const cut = end >= 0 && end <= MOST_HEADER ? end : text.lastIndexOf("\r\n", MOST_HEADER);
  // What BDAT brings may hold what no line of another message can.
  return text.slice(0, cut + 2).replace(/\0|\r(?!\n)|(?<!\r)\n/g, "?");
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
