/** How a secret file is called among the credentials that systemd hands to the service. */

import { createHash } from "node:crypto";
import { basename } from "node:path";

// systemd takes names of 255 bytes without a colon.
const MAX_NAME = 100;

/** `example.com.s2026a.pem-3f2a91c0d4e5` for an absolute path: its last part, for people, and a hash of the whole. */
export function credentialName(path: string): string {
  const last = basename(path).replaceAll(/[^A-Za-z0-9._-]/g, "_").slice(0, MAX_NAME);
  return `${last}-${createHash("sha256").update(path).digest("hex").slice(0, 12)}`;
}
