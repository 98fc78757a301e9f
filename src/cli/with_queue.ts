/** What the commands about the queue begin and end with: the server asked, or its journal worked on in its place. */

import { join } from "node:path";
import { loadConfig } from "../config.ts";
import { silent } from "../log.ts";
import { SpoolLocked } from "../queue/failures.ts";
import { defaultQueue, Queue } from "../queue/queue.ts";
import { Spool } from "../queue/spool.ts";
import { askServer, type Request } from "../status/control.ts";
import { queueHandlers } from "../status/queue_requests.ts";
import { openKv } from "../store/kv.ts";
import type { Context } from "./arguments.ts";
import { withAdvice } from "./missing_rights.ts";
import { asOwner } from "./store_owner.ts";

export type Ask = (request: Request) => Promise<unknown>;

/** Asks the running server, or works on the journal in its place. Throws with a sentence when neither can be done. */
export async function withQueue<T>(context: Context, work: (ask: Ask) => Promise<T>): Promise<T> {
  const { store, kv } = await loadConfig(context.configFile);
  return await asOwner(store, () => withQueueIn(store, kv, work));
}

async function withQueueIn<T>(store: string, kv: string | undefined, work: (ask: Ask) => Promise<T>): Promise<T> {
  const probe = await askServer(store, { do: "queue.stats" }).catch((error) => {
    throw withAdvice(error, store);
  });
  if (probe === "not running") {
    // Whoever may not touch the records of a newer program must not touch its journal either.
    if (kv === undefined) (await openKv({ store })).close();
    return await withJournal(store, work);
  }
  return await work(async (request) => {
    const answer = await askServer(store, request);
    if (answer === "not running") throw new Error("The server stopped meanwhile. Say it again.");
    if (!answer.ok) throw new Error(answer.error);
    return answer.value;
  });
}

/** Changes standings and sends nothing: the next server acts on them. */
export function idleQueue(spool: Spool): Queue {
  return new Queue(defaultQueue, {
    spool,
    deliver: () => Promise.resolve([]),
    laneOf: () => "",
    makeBounce: () => Promise.resolve(undefined),
    log: silent,
  });
}

async function withJournal<T>(store: string, work: (ask: Ask) => Promise<T>): Promise<T> {
  const spool = await openSpool(join(store, "queue"));
  try {
    const handlers = queueHandlers(idleQueue(spool));
    return await work((request) => handlers.get(request.do)!(request, nothing()));
  } finally {
    await spool.close();
  }
}

async function openSpool(folder: string): Promise<Spool> {
  try {
    return await Spool.open({ folder, log: silent });
  } catch (error) {
    if (!(error instanceof SpoolLocked)) throw error;
    throw new Error(
      `Another process works on the queue in "${folder}" but does not answer on its control socket: ` +
        "a server that is starting or stopping, or another queue command. Try again in a moment.",
    );
  }
}

async function* nothing(): AsyncIterable<Uint8Array> {}
