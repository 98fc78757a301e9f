/** Which hosts a certificate is for. The `checkHost` of Deno knows neither wildcards nor capital letters. */

import type { X509Certificate } from "node:crypto";

/** RFC 9525 §6.3: without regard to case, and `*` stands for one whole label at the left. */
export function isFor(leaf: X509Certificate, host: string): boolean {
  const name = host.toLowerCase(), [label = ""] = name.split("."), wildcard = `*${name.slice(label.length)}`;
  return namesOf(leaf).some((one) => one === name || (label !== "" && one === wildcard));
}

/** In lower case. A certificate of our own making may have nothing but a common name. */
function namesOf({ subjectAltName, subject }: X509Certificate): readonly string[] {
  if (subjectAltName === undefined) return /(?:^|\n|, ?)CN=([^\n,]+)/.exec(subject)?.slice(1).map(lower) ?? [];
  return subjectAltName.split(", ").filter((name) => name.startsWith("DNS:")).map((name) => lower(name.slice(4)));
}

function lower(text: string): string {
  return text.toLowerCase();
}
