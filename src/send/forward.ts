/**
 * Copies that leave because an address of ours leads elsewhere. The sender of the envelope becomes an address of ours,
 * or SPF would fail where they go (smtp/srs.ts); Delivered-To says for whom they came, by which a circle is found; and
 * everything below stays as it is, byte for byte, so that signatures hold, unless the header has a version of its own.
 */

import type { Content, Forward, Job, Recipient, Version } from "../queue/entry.ts";
import { fieldsNamed, type HeaderLimits, readHeader, withFieldsReplaced } from "../smtp/headers.ts";
import { toXtext } from "../smtp/xtext.ts";
import { oneLine } from "./remote_reply.ts";

/** `sender` as an address of the domain of `as`; senders that are ours, and the null sender, as they are. */
export type ReturnPathOf = (sender: string, as: string) => Promise<string>;

/** Some recipients of a job, and the message as it leaves for them. */
export interface Copy {
  readonly recipients: readonly number[];
  /** Holds a header in memory. Rejects when a return path cannot be made now, or the message not be read. */
  readonly make: () => Promise<Job>;
}

/** Headers of ours have been read before; a version only has to find their end. */
const LIMITS: HeaderLimits = { maxHeader: Infinity, maxFields: Infinity, maxFolds: Infinity };
const utf8 = new TextEncoder(), CR = 13;

/** The copies for these recipients, all of them at one domain. */
export function copiesOf(job: Job, recipients: readonly number[], returnPathOf: ReturnPathOf): Copy[] {
  const groups = new Map<string, number[]>();
  for (const index of recipients) {
    const recipient = job.envelope.recipients[index], forward = forwardOf(recipient);
    const key = forward === undefined ? "" : JSON.stringify([forward.as, forward.version, recipient?.address]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [index]);
    else group.push(index);
  }
  return Array.from(groups.values(), (recipients) => {
    const recipient = job.envelope.recipients[recipients[0] ?? 0], forward = forwardOf(recipient);
    if (forward === undefined || recipient === undefined) return { recipients, make: () => Promise.resolve(job) };
    return { recipients, make: () => forwarded(job, recipient, forward, returnPathOf) };
  });
}

async function forwarded(
  job: Job,
  { address }: Recipient,
  { as, version }: Forward,
  returnPathOf: ReturnPathOf,
): Promise<Job> {
  const { envelope } = job;
  const sender = await returnPathOf(envelope.sender, as);
  const recipients = envelope.recipients.map((recipient) => {
    const isNamed = recipient.orcpt !== undefined || recipient.address !== address;
    // RFC 3461 §5.2.1: who is told of its fate knows the address that the sender has written to.
    return isNamed || !isPrintable(address) ? recipient : { ...recipient, orcpt: `rfc822;${toXtext(address)}` };
  });
  const header = version === undefined ? undefined : envelope.versions?.[version];
  const content = await withHeader(job.content, `Delivered-To: ${oneLine(address)}\r\n`, header);
  return { ...job, content, envelope: { ...envelope, sender, recipients } };
}

function forwardOf(recipient: Recipient | undefined): Forward | undefined {
  return recipient?.target.to === "remote" ? recipient.target.forward : undefined;
}

/** The message with that line on top, and with the header of that version. Throws what `pieces()` throws. */
export async function withHeader(content: Content, line: string, version: Version | undefined): Promise<Content> {
  const top = utf8.encode(line);
  if (version === undefined) {
    return {
      size: top.length + content.size,
      async *pieces() {
        yield top;
        yield* content.pieces();
      },
    };
  }
  const before = await headerOf(content), changed = changedHeader(before, version);
  return {
    size: top.length + content.size - before.length + changed.length,
    async *pieces() {
      yield top;
      yield changed;
      let skip = before.length;
      for await (const piece of content.pieces()) {
        const rest = piece.subarray(Math.min(skip, piece.length));
        skip -= piece.length - rest.length;
        if (rest.length > 0) yield rest;
      }
    },
  };
}

/** The beginning that holds the whole header, in whole pieces. */
async function headerOf(content: Content): Promise<Uint8Array> {
  let start = new Uint8Array(0);
  for await (const piece of content.pieces()) {
    const longer = new Uint8Array(start.length + piece.length);
    longer.set(start);
    longer.set(piece, start.length);
    start = longer;
    const header = readHeader(start, LIMITS);
    // Half a name at the end of a piece looks like a line that is no field.
    if (typeof header !== "string" && start[header.end] === CR && header.end + 2 <= start.length) break;
  }
  return start;
}

function changedHeader(start: Uint8Array, { without, lines }: Version): Uint8Array {
  const header = readHeader(start, LIMITS);
  if (typeof header === "string") throw new Error(`the header cannot be read any more: ${header}`);
  return withFieldsReplaced(start, fieldsNamed(header, without), lines);
}

function isPrintable(address: string): boolean {
  return /^[ -~]*$/.test(address);
}
