/** What clients send in answer to AUTH (RFC 4954): base64 and the PLAIN message. SCRAM's arithmetic is in `store/scram`. */

export type Mechanism = "PLAIN" | "LOGIN" | "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS";

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Canonical base64 of UTF-8 text; undefined when it is not that. */
export function decodeResponse(text: string): string | undefined {
  if (!BASE64.test(text)) return undefined;
  try {
    return utf8.decode(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)));
  } catch {
    return undefined;
  }
}

export function encodeChallenge(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** RFC 4616: `[authzid] NUL authcid NUL passwd`. Acting for somebody else is not offered. */
export function parsePlain(message: string): { readonly login: string; readonly password: string } | undefined {
  const parts = message.split("\0");
  const [authzid, login, password] = parts;
  if (parts.length !== 3 || !login || !password || (authzid !== "" && authzid !== login)) return undefined;
  return { login, password };
}
