/** Which copies leave under another header, and those headers, signed by us: whoever gets them can verify that. */

import type { Recipient, Version } from "../queue/entry.ts";
import { domainOf } from "../smtp/address.ts";
import { fieldsNamed, type HeaderLimits, readHeader, withFieldsReplaced } from "../smtp/headers.ts";
import type { Copy } from "./copies.ts";
import { forwardedHeader, type NewAuthor } from "./forwarded_header.ts";
import { type Arrived, sizeWith, wholeWith } from "./message_bytes.ts";

export interface VersionParts {
  readonly limits: HeaderLimits;
  /** Signature lines for mail of this domain; empty when it is not ours. */
  sign(domain: string, size: number, read: () => Promise<Uint8Array>): Promise<string>;
}

export interface Outgoing {
  readonly arrived: Arrived;
  /** Its beginning as it will be stored, without the trace lines. */
  readonly start: Uint8Array;
  /** Nobody sent it: it is a bounce on its way back, and nobody's mail. */
  readonly isBounce: boolean;
  /** Under its own author it would be refused. */
  readonly diesForwarded: boolean;
}

/** Rejects when a signature cannot be made. */
export async function versionsOf(
  copies: readonly Copy[],
  outgoing: Outgoing,
  parts: VersionParts,
): Promise<{ readonly recipients: readonly Recipient[]; readonly versions: readonly Version[] }> {
  const made = new Map<string, number | undefined>(), versions: Version[] = [], recipients: Recipient[] = [];
  for (const { forwarding, ...recipient } of copies) {
    const { target } = recipient;
    const author = target.to === "remote" && target.forward !== undefined
      ? newAuthor(target.forward.as, forwarding, outgoing)
      : undefined;
    if (author === undefined || target.to !== "remote" || target.forward === undefined) {
      recipients.push(recipient);
      continue;
    }
    const key = `${author.style} ${author.as}`;
    if (!made.has(key)) {
      const version = await versionFor(author, outgoing, parts);
      made.set(key, version && versions.push(version) - 1);
    }
    const version = made.get(key);
    const forward = version === undefined ? target.forward : { ...target.forward, version };
    recipients.push({ ...recipient, target: { ...target, forward } });
  }
  return { recipients, versions };
}

function newAuthor(
  as: string,
  forwarding: Copy["forwarding"],
  { isBounce, diesForwarded }: Outgoing,
): NewAuthor | undefined {
  if (forwarding?.style === "rewrite" && !isBounce) return { as, style: "rewrite", name: forwarding.name };
  return diesForwarded ? { as, style: "author", name: "" } : undefined;
}

async function versionFor(
  author: NewAuthor,
  { arrived, start }: Outgoing,
  { limits, sign }: VersionParts,
): Promise<Version | undefined> {
  // It was read before, and may have become a little longer: the limits are for what comes from outside.
  const header = readHeader(start, { ...limits, maxHeader: Infinity, maxFields: Infinity });
  const version = typeof header === "string" ? undefined : forwardedHeader(start, header, author);
  if (version === undefined || typeof header === "string") return undefined;
  const changed = withFieldsReplaced(start, fieldsNamed(header, version.without), version.lines);
  const domain = domainOf(author.as);
  const signature = await sign(domain, sizeWith(arrived, changed), () => wholeWith(arrived, changed));
  return { ...version, lines: signature + version.lines };
}
