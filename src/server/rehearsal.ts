/** What would happen to a message: everything decides as it would, and nothing is kept. */

import type { Draft } from "../accept/message_bytes.ts";
import type { Config } from "../config.ts";
import { silent } from "../log.ts";
import { formatMailbox, type Mailbox, needsUtf8 } from "../smtp/address.ts";
import type { RecipientLine, Sender } from "../smtp/command.ts";
import { isPositive, type Reply } from "../smtp/reply.ts";
import { openKv } from "../store/kv.ts";
import { PeopleCache } from "../store/people_cache.ts";
import type { Decision } from "../store/stories.ts";
import { openDns, openInspection } from "./inspection.ts";
import { openDoor } from "./reception.ts";

export interface Rehearsed {
  /** Address of the peer. */
  readonly ip: string;
  readonly helo: string;
  /** Undefined: the null sender. */
  readonly from?: Mailbox | undefined;
  readonly to: Mailbox;
  /** CRLF line ends. */
  readonly message: Uint8Array;
}

/** The decision that the peer would get. */
export async function rehearse(config: Config, { ip, helo, from, to, message }: Rehearsed): Promise<Decision> {
  const kv = await openKv({ store: config.store, ...(config.kv !== undefined && { kv: config.kv }) });
  const people = await PeopleCache.open(kv, { log: silent }), dns = await openDns(config);
  const inspection = await openInspection(config, { kv, dns, log: silent, as: "rehearsal" });
  try {
    const told: Decision[] = [];
    const door = await openDoor(config, {
      kv,
      people,
      log: silent,
      accepted: () => {},
      firstAttempt: () => Promise.resolve(undefined),
      unsubscribing: {
        calls: config.unsubscribe.webhook !== undefined,
        add: () => Promise.resolve(),
        has: () => Promise.resolve(false),
        listFields: () => Promise.resolve(""),
      },
      tell: (decision) => void told.push(decision),
      draft: () => forgetful(message),
      sign: () => Promise.resolve(""),
    });
    const caller = { id: "try", kind: "mx", host: ip, port: 0 } as const;
    const host = door.hostFor(caller, inspection.scrutinyOf(caller));
    const hello = { name: helo, extended: true };
    const sender: Sender = {
      path: from ?? null,
      body: "8BITMIME",
      smtputf8: [from, to].some((one) => one && needsUtf8(one)),
    };
    const recipient: RecipientLine = { path: to }, transaction = { sender, recipients: [recipient] };
    const steps: readonly (() => Promise<Reply>)[] = [
      () => host.answer({ about: "client" }),
      () => host.answer({ about: "hello", hello }),
      () => host.answer({ about: "sender", sender, hello }),
      () => host.answer({ about: "recipient", recipient, transaction }),
      async () => {
        await host.body(message);
        return await host.answer({ about: "message", transaction, hello });
      },
    ];
    for (const step of steps) if (!isPositive(await step())) break;
    const decision = told.at(-1);
    if (decision === undefined) throw new Error("Nothing was decided.");
    // What was refused before MAIL was said has no sender yet.
    return { ...decision, from: decision.from ?? (from ? formatMailbox(from) : ""), to: [formatMailbox(to)] };
  } finally {
    await inspection.close();
    await dns.close();
    await people.close();
    kv.close();
  }
}

/** Takes the one message that is tried, and keeps nothing. */
function forgetful(message: Uint8Array): Draft {
  const id = "nothing", size = message.length;
  return {
    id,
    size,
    start: message,
    write: () => {},
    content: () => ({ size, pieces: async function* () {} }),
    commit: (envelope) => Promise.resolve({ id, envelope, standings: [], size, recovered: false }),
    discard: () => {},
  };
}
