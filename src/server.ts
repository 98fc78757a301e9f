/**
 * The composition root: every part is opened here, in the order in which a message meets it, and closed so that
 * nothing that was promised is dropped. Nobody else knows them all.
 */

import type { Caller } from "./accept/caller.ts";
import { Connection } from "./accept/connection.ts";
import { type Connect, Guests, Listener } from "./accept/listener.ts";
import { prepend } from "./accept/originate.ts";
import { TRUSTING } from "./accept/scrutiny.ts";
import type { Config } from "./config.ts";
import type { Log } from "./log.ts";
import { bounceMaker } from "./queue/bounce.ts";
import { defaultQueue, Queue } from "./queue/queue.ts";
import { type Inspection, openDns, openInspection, openStories } from "./inspection.ts";
import { openReception, type Reception } from "./reception.ts";
import { type Delivery, laneOf } from "./send/deliver.ts";
import { openSending } from "./sending.ts";
import { parseNetwork } from "./smtp/network.ts";
import { Session } from "./smtp/session.ts";
import { Control } from "./status/control.ts";
import { Counters } from "./status/metrics.ts";
import { openStatus, type StatusServer } from "./status/page.ts";
import { queueHandlers } from "./status/queue_requests.ts";
import { sendHandler } from "./status/send_request.ts";
import type { UnsubscribeParts } from "./status/unsubscribe_page.ts";
import type { Decision, Stories } from "./store/stories.ts";
import { Certificates } from "./tls/certificates.ts";
import { VERSION } from "./version.ts";

/** When the server stops: milliseconds for messages that are arriving, for deliveries, and for the last QUITs. */
const SESSION_PATIENCE = 9_000, DELIVERY_PATIENCE = 6_000, QUIT_PATIENCE = 2_000;
/** And for the last pages: half a request, which strangers can send too, would be waited for without end. */
const PAGE_PATIENCE = 1_000;

/** A sender waits ten minutes for the answer to a message (RFC 5321 §4.5.3.2.6), and some less: milliseconds. */
const LIVE_PATIENCE = 45_000;

export interface Running {
  readonly listeners: readonly { readonly kind: string; readonly host: string; readonly port: number }[];
  /** Port of the status page; absent when it is off. */
  readonly statusPort?: number;
  /** Settles when all is on disk and every file and socket is closed, after about 20 seconds at the latest. */
  stop(): Promise<void>;
}

/** Opens everything or nothing: what is open when a part cannot be opened is closed again, and the reason rejected. */
export async function openServer(config: Config, plainLog: Log): Promise<Running> {
  const counters = new Counters(), counting = counters.counting(plainLog);
  const stories = openStories(config, counting), log = stories.listening(counting);
  const closers: (() => void | Promise<void>)[] = [];
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        log("error", "close-failed", { error: error instanceof Error ? error.message : String(error) });
      }
    }
  };
  try {
    closers.push(() => stories.close());
    return { ...await open(config, { log, counters, stories }, closers), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function open(
  config: Config,
  { log, counters, stories }: { readonly log: Log; readonly counters: Counters; readonly stories: Stories },
  closers: (() => void | Promise<void>)[],
): Promise<Omit<Running, "stop">> {
  const opened = <T>(part: T, close: (part: T) => void | Promise<void>): T => {
    closers.push(() => close(part));
    return part;
  };
  for (const { line, message } of config.warnings) log("warning", "config", { file: config.file, line, message });

  const certificates = config.certificates.length === 0
    ? undefined
    : new Certificates(config.certificates.map(({ chain, key }) => ({ certificate: chain, key })));
  const reception = opened(
    await openReception(config, {
      log,
      accepted: (entry) => queue.accepted(entry),
      firstAttempt: (entry) => queue.firstAttempt(entry, LIVE_PATIENCE),
      tell: (decision) => told(decision, stories, log),
    }, certificates),
    (reception) => reception.close(),
  );
  const dns = opened(await openDns(config), (dns) => dns.close());
  const inspection = opened(
    await openInspection(config, { kv: reception.kv, dns, log, as: "server" }),
    (inspection) => inspection.close(),
  );
  const delivery = opened(
    openSending(config, { dns, log, returnPathOf: reception.returnPathOf }),
    (delivery) => within(QUIT_PATIENCE, delivery.close()),
  );
  const queue: Queue = openQueue(config, reception, delivery, log);
  const handlers = queueHandlers(queue).set("send", sendHandler(reception));
  opened(
    await Control.open({ store: config.store, handlers, log, maxSize: config.limits.max_message_size }),
    (control) => control.close(),
  );
  opened(queue, (queue) => queue.stop(DELIVERY_PATIENCE));
  const webhook = reception.unsubscribing.run?.();
  if (webhook) opened(webhook, (webhook) => webhook.close());
  const guests = opened(
    new Guests({
      maxConnections: config.limits.max_connections,
      maxConnectionsPerHost: config.limits.max_connections_per_host,
    }),
    (guests) => guests.close(SESSION_PATIENCE),
  );
  const connect = connecting(config, reception, inspection, certificates, log);
  const listeners = config.listeners.map(({ address, kind, proxy_protocol_from }) => {
    const proxies = proxy_protocol_from.map(parseNetwork).filter((network) => network !== undefined);
    const settings = { host: address.hostname, port: address.port, kind, proxies };
    return opened(new Listener(settings, guests, connect, log), (listener) => listener.close());
  });
  const status = openPage(config, { guests, queue, listeners, counters, unsubscribe: reception.unsubscribing.page });
  if (status) opened(status, (status) => within(PAGE_PATIENCE, status.close()));

  closers.push(() => queue.hurry());

  queue.start();
  for (const listener of listeners) {
    listener.run();
    log("info", "listening", { ...listener.address });
  }
  return { listeners: listeners.map(({ address }) => address), ...(status && { statusPort: status.port }) };
}

/** Waits no longer than that: what is left is a courtesy. */
async function within(patience: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([work, new Promise<void>((done) => timer = setTimeout(done, patience))]);
  clearTimeout(timer);
}

/** What was refused is a line of the log, too; the rest of the story is not. */
function told(decision: Decision, stories: Stories, log: Log): void {
  stories.decision(decision);
  if (decision.id !== undefined) return;
  const { connection, host, user, from, to, reply, steps } = decision;
  const rule = steps.find(({ decides }) => decides !== undefined)?.check;
  log("info", "refused", {
    connection,
    host,
    user,
    from,
    to: to.length > 1 ? `${to.length} recipients` : to[0],
    rule,
    reply,
  });
}

/** What becomes of a connection that was let in. */
function connecting(
  config: Config,
  reception: Reception,
  inspection: Inspection,
  certificates: Certificates | undefined,
  log: Log,
): Connect {
  const { hostname, limits, auth } = config;
  const times = {
    commandTimeout: limits.command_timeout,
    dataTimeout: limits.data_timeout,
    sessionTimeout: limits.session_timeout,
    minDataRate: limits.min_data_rate,
    greetDelay: limits.greet_delay,
    ...(certificates && { contextFor: (name: string | undefined) => certificates.contextFor(name) }),
  };
  let connections = 0;
  return (stream, peer) => {
    const caller: Caller = { id: (++connections).toString(36), ...peer };
    const session = new Session({
      kind: peer.kind,
      hostname,
      secure: peer.kind === "submissions",
      canStartTls: certificates !== undefined,
      mechanisms: auth.mechanisms,
      maxMessageSize: limits.max_message_size,
      maxLine: limits.max_line,
      maxCommand: limits.max_command,
      maxRecipients: limits.max_recipients,
      maxMessages: limits.max_messages_per_session,
      maxErrors: limits.max_errors,
    });
    const scrutiny = caller.kind === "mx" ? inspection.scrutinyOf(caller) : TRUSTING;
    const host = reception.hostFor(caller, scrutiny);
    return new Connection(caller, stream, session, host, times, log);
  };
}

function openQueue(config: Config, { spool, ...reception }: Reception, delivery: Delivery, log: Log): Queue {
  const { hostname, outbound } = config, domain = config.domains[0]?.name ?? hostname;
  const bounce = bounceMaker(
    { hostname, postmaster: `postmaster@${domain}`, giveUpAfter: outbound.give_up_after },
    reception.resolveTargets,
  );
  return new Queue({
    ...defaultQueue,
    retry: {
      ...defaultQueue.retry,
      intervals: outbound.retry,
      giveUpAfter: outbound.give_up_after,
      leastAttempts: outbound.min_attempts,
    },
    warnAfter: outbound.warn_after,
    lanes: {
      ...defaultQueue.lanes,
      concurrency: outbound.concurrency,
      concurrencyPerDomain: outbound.concurrency_per_domain,
      // A place that cannot be reached is left alone as long as a message that was deferred.
      restFirst: Math.min(defaultQueue.lanes.restFirst, ...outbound.retry),
      restLongest: Math.min(defaultQueue.lanes.restLongest, Math.max(...outbound.retry)),
    },
  }, {
    spool,
    deliver: delivery.deliver,
    laneOf,
    // Who asks others to refuse what is not signed (DMARC) has to sign this too: SPF knows no sender here.
    makeBounce: async (...about) => {
      const made = await bounce(...about);
      if (made === undefined) return undefined;
      const { message } = made;
      return {
        ...made,
        message: prepend(await reception.sign(domain, message.length, () => Promise.resolve(message)), message),
      };
    },
    log,
  });
}

function openPage(
  config: Config,
  parts: {
    guests: Guests;
    queue: Queue;
    listeners: readonly Listener[];
    counters: Counters;
    unsubscribe: UnsubscribeParts | undefined;
  },
): StatusServer | undefined {
  const { listen, token_file } = config.status;
  if (listen === undefined) return undefined;
  const began = performance.now();
  const token = token_file === undefined ? undefined : config.secrets.get(token_file);
  return openStatus({ ...listen, ...(token !== undefined && { token }) }, {
    name: config.hostname,
    version: VERSION,
    listeners: () => parts.listeners.map(({ address }) => address),
    gauges: () => {
      const { messages, running, resting, oldest } = parts.queue.stats();
      return {
        connections: parts.guests.size,
        queued: messages,
        delivering: running,
        resting,
        oldest: oldest === undefined ? 0 : Math.max(0, Math.round((Date.now() - oldest) / 1000)),
        uptime: Math.round((performance.now() - began) / 1000),
        memory: Deno.memoryUsage().rss,
      };
    },
    counters: parts.counters,
    ready: () => true,
    unsubscribe: parts.unsubscribe,
  });
}
