/**
 * The composition root: every part is opened here, in the order in which a message meets it, and closed so that
 * nothing that was promised is dropped. Nobody else knows them all.
 */

import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Caller } from "./accept/caller.ts";
import { Connection } from "./accept/connection.ts";
import { Intake, type IntakeParts } from "./accept/intake.ts";
import { type Connect, Guests, Listener } from "./accept/listener.ts";
import { Policy, type PolicyParts } from "./accept/policy.ts";
import { Scrutiny } from "./check/scrutiny.ts";
import { domainsOf } from "./cli/with_people.ts";
import type { Config } from "./config.ts";
import { Resolver } from "./dns/resolver.ts";
import { type Server, systemServers } from "./dns/servers.ts";
import type { Log } from "./log.ts";
import { bounceMaker, type ResolveTargets } from "./queue/bounce.ts";
import { defaultQueue, Queue } from "./queue/queue.ts";
import { Spool } from "./queue/spool.ts";
import { type Delivery, laneOf, openDelivery } from "./send/deliver.ts";
import { Signer } from "./send/sign.ts";
import { formatMailbox, type Mailbox, parseMailbox } from "./smtp/address.ts";
import type { Exchange } from "./smtp/effect.ts";
import { parseNetwork } from "./smtp/network.ts";
import { Session } from "./smtp/session.ts";
import { Counters } from "./status/metrics.ts";
import { openStatus, type StatusServer } from "./status/page.ts";
import { Directory } from "./store/directory.ts";
import { openKv } from "./store/kv.ts";
import { Logins } from "./store/logins.ts";
import { addressKeysOf, PeopleCache } from "./store/people_cache.ts";
import { ScramExchange } from "./store/scram.ts";
import { secret } from "./store/secrets.ts";
import { countSent } from "./store/sent.ts";
import { Certificates } from "./tls/certificates.ts";
import { VERSION } from "./cli/version.ts";
import { WORKER_POOL, WorkerPool } from "./worker/pool.ts";
import type { Signature, VerifyRequest } from "./worker/verify.ts";

/** A message that is arriving may end within this time when the server stops, milliseconds; deliveries, in theirs. */
const SESSION_PATIENCE = 10_000, DELIVERY_PATIENCE = 8_000;

export interface Running {
  readonly listeners: readonly { readonly kind: string; readonly host: string; readonly port: number }[];
  /** Port of the status page; absent when it is off. */
  readonly statusPort?: number;
  readonly queue: Queue;
  /** Settles when all is on disk and every file and socket is closed, after about 20 seconds at the latest. */
  stop(): Promise<void>;
}

/** Opens everything or nothing: what is open when a part cannot be opened is closed again, and the reason rejected. */
export async function openServer(config: Config, log: Log): Promise<Running> {
  const counters = new Counters();
  const closers: (() => void | Promise<void>)[] = [];
  const closeAll = async () => {
    for (const close of closers.reverse()) {
      try {
        await close();
      } catch (error) {
        log("error", "close-failed", { error: error instanceof Error ? error.message : String(error) });
      }
    }
  };
  try {
    return await open(config, counters.counting(log), counters, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function open(
  config: Config,
  log: Log,
  counters: Counters,
  closers: (() => void | Promise<void>)[],
  stop: () => Promise<void>,
): Promise<Running> {
  for (const warning of config.warnings) log("warning", "config", { line: warning.line, about: warning.message });
  const kv = await openKv({ store: config.store, ...(config.kv !== undefined && { kv: config.kv }) });
  closers.push(() => kv.close());
  const people = await PeopleCache.open(kv, { log });
  closers.push(() => people.close());
  const spool = await Spool.open({ folder: join(config.store, "queue"), log });
  closers.push(() => spool.close());
  const dns = new Resolver({ servers: await nameServers(config), trustAd: config.dns.trust_ad });
  closers.push(() => dns.close());
  const signer = new Signer(config.dkim);
  closers.push(() => signer.close());
  signer.warm();
  const verifier = new WorkerPool<null, VerifyRequest, readonly Signature[]>(startVerifier, null, WORKER_POOL);
  closers.push(() => verifier.close());

  const domains = domainsOf(config);
  const directory = new Directory(people, { store: config.store });
  const resolve = async (address: Mailbox) => {
    const found = await directory.resolve(address, domains);
    return found.known ? found.targets : undefined;
  };
  const isOurs = (domain: string) => domains.some(({ name }) => name === domain);

  const delivery = openSending(config, dns, log);
  closers.push(() => delivery.close());
  const queue = openQueue(config, spool, delivery, log, async (address) => {
    const mailbox = parseMailbox(address);
    if (mailbox === undefined) return [];
    if (isOurs(mailbox.domain)) return (await resolve(mailbox)) ?? [];
    return [{ to: "remote", address: formatMailbox(mailbox) }];
  });
  closers.push(() => queue.stop(DELIVERY_PATIENCE));

  const guests = new Guests({
    maxConnections: config.limits.max_connections,
    maxConnectionsPerHost: config.limits.max_connections_per_host,
  });
  closers.push(() => guests.close(SESSION_PATIENCE));

  const accounts = people, logins = new Logins(accounts), scramSecret = await secret(kv, "scram");
  const certificates = config.certificates.length > 0
    ? new Certificates(config.certificates.map(({ chain, key }) => ({ certificate: chain, key })))
    : undefined;
  const intake: IntakeParts = {
    hostname: config.hostname,
    limits: {
      maxHeader: config.limits.max_header,
      maxFields: config.limits.max_header_fields,
      maxFolds: 500,
      maxHops: config.limits.max_hops,
    },
    log,
    draft: () => spool.draft(),
    accepted: (entry) => queue.accepted(entry),
    maySendAs: (login, from) => people.maySendAs(login, from),
    countSent: async (login, recipients) => {
      const mailbox = parseMailbox(login);
      const user = mailbox && await people.user(mailbox);
      return user !== undefined && await countSent(kv, addressKeysOf(user)[0] ?? login, recipients, user.sendLimit);
    },
    sign: oneLongAtATime((domain, message) => signer.sign(domain, message), (domain) => signer.has(domain)),
  };
  const policy: PolicyParts = {
    hostname: config.hostname,
    greeting: config.greeting,
    firstDomain: domains[0]?.name ?? config.hostname,
    isOurs,
    resolve,
    maySendAs: intake.maySendAs,
    verifyPassword: (login, password) => logins.verifyPassword(login, password),
    scram: (mechanism: Exchange["mechanism"], caller: Caller) => {
      const binding = certificates?.endPoint(caller.tls?.serverName);
      return new ScramExchange(accounts, {
        mechanism,
        plusOffered: config.auth.mechanisms.includes("SCRAM-SHA-256-PLUS"),
        ...(binding && { binding: binding }),
        secret: scramSecret,
      });
    },
    loginFailed: (caller, login) => log("warning", "login-failed", { connection: caller.id, host: caller.host, login }),
  };
  const scrutiny = {
    spf: config.checks.spf,
    hostname: config.hostname,
    dns,
    log,
    verify: (request: VerifyRequest) => verifier.run(request),
  };

  let connections = 0;
  const connect: Connect = (stream, peer) => {
    const caller: Caller = { id: (++connections).toString(36), ...peer };
    const session = new Session({
      kind: peer.kind,
      hostname: config.hostname,
      secure: peer.kind === "submissions",
      canStartTls: certificates !== undefined,
      mechanisms: config.auth.mechanisms,
      maxMessageSize: config.limits.max_message_size,
      maxLine: config.limits.max_line,
      maxCommand: config.limits.max_command,
      maxRecipients: config.limits.max_recipients,
      maxMessages: config.limits.max_messages_per_session,
      maxErrors: config.limits.max_errors,
    });
    const eyes = new Scrutiny(scrutiny, caller);
    const host = new Policy(policy, caller, eyes, new Intake(intake, caller, eyes));
    return new Connection(caller, stream, session, host, {
      commandTimeout: config.limits.command_timeout,
      dataTimeout: config.limits.data_timeout,
      sessionTimeout: config.limits.session_timeout,
      minDataRate: config.limits.min_data_rate,
      greetDelay: config.limits.greet_delay,
      ...(certificates && { contextFor: (name: string | undefined) => certificates.contextFor(name) }),
    }, log);
  };

  const listeners = config.listeners.map(({ address, kind, proxy_protocol_from }) => {
    const proxies = proxy_protocol_from.map(parseNetwork).filter((network) => network !== undefined);
    const listener = new Listener({ host: address.hostname, port: address.port, kind, proxies }, guests, connect, log);
    closers.push(() => listener.close());
    return listener;
  });
  const status = openPage(config, { guests, queue, listeners, counters });
  if (status) closers.push(() => status.close());

  queue.start();
  for (const listener of listeners) {
    listener.run();
    log("info", "listening", { ...listener.address });
  }
  return {
    listeners: listeners.map(({ address }) => address),
    ...(status && { statusPort: status.port }),
    queue,
    stop,
  };
}

function startVerifier(): Worker {
  return new Worker(new URL("./worker/verify.ts", import.meta.url), { type: "module" });
}

/** Asks for the names of the config, or of the machine. */
async function nameServers(config: Config): Promise<readonly Server[]> {
  if (config.dns.servers.length === 0) return await systemServers();
  return config.dns.servers.map(({ hostname, port }) => ({ address: hostname, port }));
}

function openSending(config: Config, dns: Resolver, log: Log): Delivery {
  const { outbound } = config;
  const credentials = (user: string | undefined, file: string | undefined) =>
    user === undefined || file === undefined ? {} : { credentials: { user, password: config.secrets.get(file) ?? "" } };
  return openDelivery({
    hostname: config.hostname,
    routes: outbound.routes.map(({ domain, via, user, password_file }) => ({
      domain,
      via: { host: via.hostname, port: via.port, ...credentials(user, password_file) },
    })),
    ...(outbound.smarthost && {
      smarthost: {
        host: outbound.smarthost.hostname,
        port: outbound.smarthost.port,
        ...credentials(outbound.smarthost_user, outbound.smarthost_password_file),
      },
    }),
    ...(outbound.route === "capture" && { outbox: join(config.store, "outbox") }),
    allowPrivate: outbound.allow_private,
    port: outbound.port,
    relay: {
      timeouts: {
        connect: outbound.connect_timeout,
        command: outbound.command_timeout,
        data: outbound.data_timeout,
        block: outbound.block_timeout,
        final: outbound.final_timeout,
        quit: 10_000,
      },
    },
  }, { dns, log, ownAddresses });
}

function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
}

function openQueue(config: Config, spool: Spool, delivery: Delivery, log: Log, resolveTargets: ResolveTargets): Queue {
  const { outbound } = config;
  const postmaster = `postmaster@${config.domains[0]?.name ?? config.hostname}`;
  return new Queue({
    ...defaultQueue,
    retry: {
      ...defaultQueue.retry,
      intervals: outbound.retry,
      giveUpAfter: outbound.give_up_after,
      leastAttempts: outbound.min_attempts,
    },
    lanes: {
      ...defaultQueue.lanes,
      concurrency: outbound.concurrency,
      concurrencyPerDomain: outbound.concurrency_per_domain,
    },
  }, {
    spool,
    deliver: delivery.deliver,
    laneOf,
    makeBounce: bounceMaker({ hostname: config.hostname, postmaster }, resolveTargets),
    log,
  });
}

const LONG = 1 << 18;

/** Reads long messages into memory one after the other: fifty at once would be more than a small machine has. */
function oneLongAtATime(
  sign: (domain: string, message: Uint8Array) => Promise<string>,
  has: (domain: string) => boolean,
): IntakeParts["sign"] {
  let last: Promise<unknown> = Promise.resolve();
  return async (domain, size, read) => {
    if (!has(domain)) return "";
    if (size <= LONG) return await sign(domain, await read());
    const turn = last.then(async () => await sign(domain, await read()));
    last = turn.catch(() => {});
    return await turn;
  };
}

function openPage(
  config: Config,
  parts: { guests: Guests; queue: Queue; listeners: readonly Listener[]; counters: Counters },
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
  });
}
