/** Which messages a command means, and what it shows of them. */
import { domainOf } from "../smtp/address.ts";
import type { Envelope, Notify, RemoteReply, Source, Standing, Target } from "./entry.ts";

/** All conditions that are given must hold; a selection without any means nothing, so that a slip drops nothing. */
export interface Selection {
  readonly ids?: readonly string[];
  /** Address of the sender; empty for the null sender. */
  readonly from?: string;
  /** Address of a recipient, or of the place its mail goes to. */
  readonly to?: string;
  /** Domain of a recipient, or of the place its mail goes to. */
  readonly domain?: string;
  readonly all?: true;
}

export interface QueueRow {
  readonly id: string;
  readonly sender: string;
  readonly size: number;
  readonly arrived: number;
  readonly source: Source;
  readonly recipients: readonly RecipientRow[];
}

export interface RecipientRow {
  readonly address: string;
  readonly target: Target;
  readonly state: Standing["state"];
  readonly attempts: number;
  readonly due: number;
  /** Of one that waits: 0 when its sender has been told that it is late. */
  readonly warning?: number;
  readonly lastAttempt?: number;
  readonly reply?: RemoteReply;
  readonly notify?: readonly Notify[];
  /** Milliseconds until the place it goes to is tried again, when that was found out of reach. */
  readonly rest?: number;
}

interface Queued {
  readonly id: string;
  readonly envelope: Envelope;
  readonly standings: readonly Standing[];
  readonly size: number;
}

/** Indexes of the recipients of this message that are meant; empty when it is not meant at all. */
export function selected({ id, envelope }: Pick<Queued, "id" | "envelope">, selection: Selection): number[] {
  const { ids, from, to, domain } = selection;
  if (isEmpty(selection)) return [];
  if (ids !== undefined && !ids.includes(id)) return [];
  if (from !== undefined && !same(envelope.sender, from)) return [];
  const meant: number[] = [];
  for (const [index, { address, target }] of envelope.recipients.entries()) {
    const names = "address" in target ? [address, target.address] : [address];
    if (to !== undefined && !names.some((name) => same(name, to))) continue;
    if (domain !== undefined && !names.some((name) => same(domainOf(name), domain))) continue;
    meant.push(index);
  }
  return meant;
}

/** True when at least one recipient of the message is meant. */
export function isMeant(queued: Pick<Queued, "id" | "envelope">, selection: Selection): boolean {
  return selected(queued, selection).length > 0;
}

function isEmpty({ ids, from, to, domain, all }: Selection): boolean {
  return ids === undefined && from === undefined && to === undefined && domain === undefined && all !== true;
}

/** @param restOf milliseconds that the way to this target still rests. */
export function rowOf(entry: Queued, restOf: (target: Target) => number): QueueRow {
  const { id, envelope, standings, size } = entry;
  return {
    id,
    sender: envelope.sender,
    size,
    arrived: envelope.arrived,
    source: envelope.source,
    recipients: envelope.recipients.map(({ address, target, notify }, index) => {
      const standing = standings[index]!;
      const rest = standing.state === "waiting" ? restOf(target) : 0;
      return {
        address,
        target,
        ...standing,
        ...(notify === undefined ? {} : { notify }),
        ...(rest > 0 ? { rest } : {}),
      };
    }),
  };
}

function same(one: string, other: string): boolean {
  return one.normalize("NFC").toLowerCase() === other.normalize("NFC").toLowerCase();
}
