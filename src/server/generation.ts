/**
 * All that one version of the configuration makes: who decides, who inspects, who signs and sends. A session and a
 * delivery keep the version with which they began; what comes next meets the new one.
 */

import type { Caller } from "../accept/caller.ts";
import { Connection } from "../accept/connection.ts";
import type { Connect } from "../accept/listener.ts";
import { prepend } from "../accept/originate.ts";
import { TRUSTING } from "../accept/scrutiny.ts";
import type { ShownTo } from "../accept/stream.ts";
import type { Config } from "../config.ts";
import { bounceMaker } from "../queue/bounce.ts";
import type { Deliver } from "../queue/entry.ts";
import type { QueueParts } from "../queue/queue.ts";
import { Session } from "../smtp/session.ts";
import type { UnsubscribeParts } from "../status/unsubscribe_page.ts";
import { Closing, within } from "./closing.ts";
import { openDns, openInspection } from "./inspection.ts";
import { openReception, type Reception, type ReceptionParts } from "./reception.ts";
import { openSending } from "./sending.ts";
import type { Storage } from "./storage.ts";

/** For the last QUITs, milliseconds. */
const QUIT_PATIENCE = 2_000;

export interface GenerationParts extends ReceptionParts {
  readonly storage: Storage;
  /** Absent: no TLS can be had. */
  readonly shownTo: ShownTo | undefined;
  /** Names a connection in the log. */
  readonly nextId: () => string;
}

export interface Generation {
  readonly config: Config;
  readonly connect: (...about: Parameters<Connect>) => Connection;
  readonly deliver: Deliver;
  readonly makeBounce: QueueParts["makeBounce"];
  readonly submit: Reception["submit"];
  readonly unsubscribe: UnsubscribeParts | undefined;
  /** Its turn has come: calls to others are made from now on. */
  begin(): void;
  /** A newer one has taken its place: nothing is begun any more. */
  end(): Promise<void>;
  /** Settles when nothing of it is open. Nobody may use it any more. */
  close(): Promise<void>;
}

/** Opens everything or nothing. Nobody outside notices it before it is used. */
export async function openGeneration(config: Config, parts: GenerationParts): Promise<Generation> {
  const { storage, log } = parts, closing = new Closing(log), close = () => closing.close();
  try {
    const reception = closing.add(await openReception(config, storage, parts), (reception) => reception.close());
    const dns = closing.add(await openDns(config), (dns) => dns.close());
    const inspection = closing.add(
      await openInspection(config, { kv: storage.kv, dns, log, as: "server" }),
      (inspection) => inspection.close(),
    );
    const delivery = closing.add(
      openSending(config, { dns, log, returnPathOf: reception.returnPathOf }),
      (delivery) => within(QUIT_PATIENCE, delivery.close()),
    );
    const { page, run } = reception.unsubscribing;
    let webhook: { close(): Promise<void> } | undefined;
    const end = closing.add(async () => void await Promise.all([webhook?.close(), inspection.end()]), (end) => end());
    return {
      config,
      connect: connecting(config, reception, inspection.scrutinyOf, parts),
      deliver: delivery.deliver,
      makeBounce: bouncing(config, reception),
      submit: reception.submit,
      unsubscribe: page,
      begin: () => webhook = run?.(),
      end,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What becomes of a connection that was let in. */
function connecting(
  config: Config,
  reception: Reception,
  scrutinyOf: (caller: Caller) => ReturnType<Awaited<ReturnType<typeof openInspection>>["scrutinyOf"]>,
  { shownTo, nextId, log }: GenerationParts,
): Generation["connect"] {
  const { hostname, limits, auth } = config;
  const times = {
    commandTimeout: limits.command_timeout,
    dataTimeout: limits.data_timeout,
    sessionTimeout: limits.session_timeout,
    minDataRate: limits.min_data_rate,
    greetDelay: limits.greet_delay,
    ...(shownTo && { shownTo }),
  };
  return (stream, peer) => {
    const caller: Caller = { id: nextId(), ...peer };
    const session = new Session({
      kind: peer.kind,
      hostname,
      secure: peer.kind === "submissions",
      canStartTls: shownTo !== undefined,
      mechanisms: auth.mechanisms,
      maxMessageSize: limits.max_message_size,
      maxLine: limits.max_line,
      maxCommand: limits.max_command,
      maxRecipients: limits.max_recipients,
      maxMessages: limits.max_messages_per_session,
      maxErrors: limits.max_errors,
    });
    const scrutiny = caller.kind === "mx" ? scrutinyOf(caller) : TRUSTING;
    const host = reception.hostFor(caller, scrutiny);
    return new Connection(caller, stream, session, host, times, log);
  };
}

function bouncing(config: Config, reception: Reception): QueueParts["makeBounce"] {
  const { hostname, outbound } = config, domain = config.domains[0]?.name ?? hostname;
  const bounce = bounceMaker(
    { hostname, postmaster: `postmaster@${domain}`, giveUpAfter: outbound.give_up_after },
    reception.resolveTargets,
  );
  // Who asks others to refuse what is not signed (DMARC) has to sign this too: SPF knows no sender here.
  return async (...about) => {
    const made = await bounce(...about);
    if (made === undefined) return undefined;
    const { message } = made;
    return {
      ...made,
      message: prepend(await reception.sign(domain, message.length, () => Promise.resolve(message)), message),
    };
  };
}
