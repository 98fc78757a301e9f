/** One attempt for one message: looks where its recipients are, and calls who can bring it there. */

import type { Dns } from "../dns/records.ts";
import { type Log, reasonOf } from "../log.ts";
import type { Deliver, Job, Outcome, Target } from "../queue/entry.ts";
import { domainOf } from "../smtp/address.ts";
import { capture } from "./capture.ts";
import { checkContent } from "./content_check.ts";
import { copiesOf, type Copy, type ReturnPathOf } from "./forward.ts";
import { markedCopies } from "./lmtp.ts";
import { Mailboxes } from "./mailbox.ts";
import { openNetworks } from "./network.ts";
import { RELAY, Relay, type RelaySettings } from "./relay.ts";
import { localReply, outcomes } from "./remote_reply.ts";
import { findRoute, lmtpRoute, type Route, type RouteSettings } from "./route.ts";

export interface DeliverySettings extends Omit<RouteSettings, "port"> {
  /** Instead of conversations, files in this folder. */
  readonly outbox?: string;
  /** Networks that mail may go to although they are not public. */
  readonly allowPrivate: readonly string[];
  /** Port of the servers that MX records name. Default: 25. */
  readonly port?: number;
  readonly relay?: Partial<Omit<RelaySettings, "hostname">>;
}

export interface DeliveryParts {
  readonly dns: Dns;
  readonly log: Log;
  /** Addresses of this machine as they are now. */
  readonly ownAddresses: () => readonly string[];
  readonly returnPathOf: ReturnPathOf;
  /** In [0, 1). */
  readonly random?: () => number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface Delivery {
  /** Never rejects. */
  readonly deliver: Deliver;
  /** Says QUIT on the connections that wait for more mail. Call it when no delivery is under way any more. */
  close(): Promise<void>;
}

type Servers = Extract<Route, { to: "servers" }>["servers"];

/** Throws a `TypeError` when `allowPrivate` holds something that is not a network. */
export function openDelivery(settings: DeliverySettings, parts: DeliveryParts): Delivery {
  const mailboxes = new Mailboxes(settings);
  const relay = new Relay({ ...RELAY, ...settings.relay, hostname: settings.hostname });
  const judge = openNetworks({ allowPrivate: settings.allowPrivate, own: parts.ownAddresses });
  const routing = { ...settings, port: settings.port ?? 25, hostname: settings.hostname.toLowerCase() };

  const toDomain = async (job: Job, recipients: readonly number[], domain: string): Promise<Outcome[]> => {
    const route = await findRoute(domain, routing, { ...parts, judge });
    return await byCopies(job, recipients, route, copiesOf(job, recipients, parts.returnPathOf));
  };

  const toMailboxes = async (job: Job, recipients: readonly number[], server: string): Promise<Outcome[]> =>
    await byCopies(job, recipients, await lmtpRoute(server, parts), markedCopies(job, recipients));

  const byCopies = async (
    job: Job,
    recipients: readonly number[],
    route: Route,
    copies: readonly Copy[],
  ): Promise<Outcome[]> => {
    if (route.to === "nowhere") {
      const found = outcomes(recipients, route.reply);
      // Names are the same for every message of the lane, and so is the wait for a silent resolver.
      return route.reply.code < 500 ? found.map((outcome) => ({ ...outcome, unreachable: true })) : found;
    }
    const done: Outcome[] = [];
    for (const copy of copies) {
      // One that breaks must not make others go out again.
      const send = async () => await toServers(await copy.make(), copy.recipients, route.servers);
      done.push(...await unbroken(job, copy.recipients, send));
    }
    return done;
  };

  const toServers = async (job: Job, recipients: readonly number[], servers: Servers): Promise<Outcome[]> => {
    if (settings.outbox === undefined || servers[0].lmtp) return await relay.deliver(job, recipients, servers);
    const { flaw } = await checkContent(job.content);
    if (flaw !== undefined) return outcomes(recipients, localReply(554, "5.6.1", `the message holds ${flaw}`));
    return await capture(job, recipients, servers[0], { outbox: settings.outbox, ...parts });
  };

  const toLane = async (job: Job, recipients: readonly number[], target: Target): Promise<Outcome[]> => {
    switch (target.to) {
      case "maildir":
        return await mailboxes.deliver(job, recipients);
      case "remote":
        return await toDomain(job, recipients, domainOf(target.address).toLowerCase());
      case "lmtp":
        return await toMailboxes(job, recipients, target.server);
      case "nowhere":
        return nowhere(recipients, target.because);
      default:
        return target satisfies never;
    }
  };

  const deliver: Deliver = async (job) => {
    const done: Outcome[] = [];
    for (const [target, recipients] of byLane(job)) {
      done.push(...await unbroken(job, recipients, () => toLane(job, recipients, target)));
    }
    return done;
  };

  const unbroken = async (
    { id }: Job,
    recipients: readonly number[],
    work: () => Promise<Outcome[]>,
  ): Promise<Outcome[]> => {
    try {
      return await work();
    } catch (error) {
      const why = reasonOf(error);
      parts.log("error", "delivery-broke", { id, recipients: recipients.length, error: why });
      return outcomes(recipients, localReply(451, "4.3.0", why));
    }
  };

  const close = async () => {
    mailboxes.close();
    await relay.close();
  };
  return { deliver, close };
}

/** What goes to the same place has the same lane: `domain:example.org`, `mailbox:/var/mail/ann`. */
export function laneOf(target: Target): string {
  switch (target.to) {
    case "maildir":
      return `mailbox:${target.path}`;
    case "remote":
      return `domain:${domainOf(target.address).toLowerCase()}`;
    case "lmtp":
      return `lmtp:${target.server}`;
    case "nowhere":
      return `nowhere:${target.because}`;
    default:
      return target satisfies never;
  }
}

/** What only has to be said. */
function nowhere(recipients: readonly number[], because: "loop" | "expanded"): Outcome[] {
  if (because === "loop") return outcomes(recipients, LOOP);
  const reply = localReply(250, "2.1.5", "sent on to several addresses");
  return outcomes(recipients, reply, "delivered").map((outcome) => ({ ...outcome, success: because }));
}

const LOOP = localReply(554, "5.4.6", "the message goes in circles: it has been forwarded for this address before");

/** A job has one lane; should it have several, each goes its own way. */
function byLane(job: Job): Map<Target, number[]> {
  const lanes = new Map<string, readonly [Target, number[]]>();
  for (const recipient of job.recipients) {
    const target = job.envelope.recipients[recipient]?.target;
    if (target === undefined) continue;
    const lane = lanes.get(laneOf(target));
    if (lane === undefined) lanes.set(laneOf(target), [target, [recipient]]);
    else lane[1].push(recipient);
  }
  return new Map(lanes.values());
}
