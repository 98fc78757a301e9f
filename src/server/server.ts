/**
 * The composition root: every part is opened here, in the order in which a message meets it, and closed so that
 * nothing that was promised is dropped. What lasts as long as the process does stands here; what a version of the
 * configuration makes, in generation.ts.
 */

import { Guests } from "../accept/listener.ts";
import type { Config } from "../config.ts";
import { type Log, reasonOf } from "../log.ts";
import { Queue } from "../queue/queue.ts";
import { laneOf } from "../send/deliver.ts";
import { clockHandler, ClockWitness } from "../status/clock_witness.ts";
import { Control } from "../status/control.ts";
import { Counters } from "../status/metrics.ts";
import { queueHandlers } from "../status/queue_requests.ts";
import { sendHandler } from "../status/send_request.ts";
import { acmeAccountKey } from "../store/acme_accounts.ts";
import type { Decision, Stories } from "../store/stories.ts";
import { VERSION } from "../version.ts";
import { change } from "./changing.ts";
import { Closing } from "./closing.ts";
import { type Generation, type GenerationParts, openGeneration } from "./generation.ts";
import { InForce } from "./in_force.ts";
import { openStories } from "./inspection.ts";
import { doorOf, Listening } from "./listening.ts";
import { Presenting } from "./presenting.ts";
import { queueSettings } from "./sending.ts";
import { openStorage } from "./storage.ts";
import { Watching } from "./watching.ts";

/** When the server stops: milliseconds for messages that are arriving, and for deliveries. */
const SESSION_PATIENCE = 9_000, DELIVERY_PATIENCE = 6_000;

/** A sender waits ten minutes for the answer to a message (RFC 5321 §4.5.3.2.6), and some less: milliseconds. */
const LIVE_PATIENCE = 45_000;

export interface Running {
  listeners(): readonly { readonly kind: string; readonly host: string; readonly port: number }[];
  /** Port of the status page; undefined when it is off. */
  statusPort(): number | undefined;
  /**
   * Takes over another version of the configuration, in one step and without ending a session, and resolves with it.
   * Rejects with a sentence when it cannot be read or used; then nothing has changed. One at a time.
   */
  reload(load: () => Promise<Config>): Promise<Config>;
  /** Shows these certificates from the next handshake on. Throws when one cannot be used, and goes on with the others. */
  renew(certificates: Config["certificates"]): void;
  /** Settles when all is on disk and every file and socket is closed, after about 20 seconds at the latest. */
  stop(): Promise<void>;
}

/** Opens everything or nothing: what is open when a part cannot be opened is closed again, and the reason rejected. */
export async function openServer(config: Config, plainLog: Log): Promise<Running> {
  const counters = new Counters(), counting = counters.counting(plainLog);
  const stories = openStories(config, counting), log = stories.listening(counting);
  const closing = new Closing(log), stop = () => closing.close();
  closing.add(stories, (stories) => stories.close());
  try {
    return { ...await open(config, { log, counters, stories }, closing), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Telling {
  readonly log: Log;
  readonly counters: Counters;
  readonly stories: Stories;
}

async function open(
  first: Config,
  { log, counters, stories }: Telling,
  closing: Closing,
): Promise<Omit<Running, "stop">> {
  const opened: Closing["add"] = (part, close) => closing.add(part, close);
  // The ports first: who cannot have one has touched nothing yet.
  const guests = opened(new Guests(doorOf(first)), (guests) => guests.close(0));
  const connect: ConstructorParameters<typeof Listening>[1] = (stream, peer) => {
    const { generation, release } = inForce.hold();
    return { connection: generation.connect(stream, peer), ended: release };
  };
  const listening = new Listening(guests, connect, log);
  const listeners = opened(listening.prepare(first.listeners), (listeners) => listeners.cancel());
  const storage = opened(await openStorage(first, log), (storage) => storage.close());
  const [presenting, shown] = await Presenting.open(first, {
    accountKey: (directory) => acmeAccountKey(storage.kv, directory),
    log,
  });
  opened(presenting, (presenting) => presenting.close());
  const witness = new ClockWitness();
  let connections = 0;
  const parts: Omit<GenerationParts, "shownTo"> = {
    storage,
    log,
    nextId: () => (++connections).toString(36),
    accepted: (entry) => queue.accepted(entry),
    firstAttempt: (entry) => queue.firstAttempt(entry, LIVE_PATIENCE),
    tell: (decision) => told(decision, stories, log),
    dated: (date) => witness.saw(date),
  };
  const openNext = (config: Config): Promise<Generation> =>
    openGeneration(config, { ...parts, shownTo: Presenting.isPossible(config) ? presenting.shownTo : undefined });
  const failed = (error: unknown) => log("error", "close-failed", { error: reasonOf(error) });
  const inForce = opened(new InForce(await openNext(first), failed), (inForce) => inForce.close());

  const queue = new Queue(queueSettings(first), {
    spool: storage.spool,
    deliver: (attempt) => inForce.use(({ deliver }) => deliver(attempt)),
    makeBounce: (...about) => inForce.use(({ makeBounce }) => makeBounce(...about)),
    laneOf,
    log,
  });
  const submit: Generation["submit"] = (submission) => inForce.use(({ submit }) => submit(submission));
  const control = opened(
    await Control.open({
      store: first.store,
      handlers: queueHandlers(queue).set("send", sendHandler({ submit })).set("clock", clockHandler(witness))
        .set("version", () => Promise.resolve({ version: VERSION })),
      log,
      maxSize: first.limits.max_message_size,
    }),
    (control) => control.close(),
  );
  opened(queue, (queue) => queue.stop(DELIVERY_PATIENCE));
  // No call to others is begun any more, before the last deliveries are waited for.
  opened(inForce, (inForce) => inForce.now.end());
  opened(guests, (guests) => guests.close(SESSION_PATIENCE));
  opened(listening, (listening) => listening.close());

  const watching = new Watching({ guests, queue, spool: storage.spool, listening, presenting, inForce, counters });
  watching.prepare(first).use();
  opened(watching, (watching) => watching.close());
  opened(queue, (queue) => queue.hurry());

  warn(first, log);
  shown.use();
  queue.start();
  listeners.use();

  const changing = { inForce, presenting, listening, watching, guests, queue, stories, control, openNext, closing };
  return {
    listeners: () => listening.addresses,
    statusPort: () => watching.port,
    renew: (certificates) => presenting.renew(certificates),
    async reload(load) {
      try {
        const next = await load();
        await change(next, changing);
        warn(next, log);
        watching.reloadRefused = false;
        return next;
      } catch (error) {
        watching.reloadRefused = true;
        throw error;
      }
    },
  };
}

function warn({ warnings, file }: Config, log: Log): void {
  for (const { line, message } of warnings) log("warning", "config", { file, line, message });
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
