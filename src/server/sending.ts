/** All that brings mail to where it belongs, from the settings of the whole. */

import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { defaultQueue, type QueueSettings } from "../queue/queue.ts";
import { type Delivery, type DeliveryParts, openDelivery } from "../send/deliver.ts";

export function openSending(config: Config, parts: Omit<DeliveryParts, "ownAddresses">): Delivery {
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
  }, { ...parts, ownAddresses });
}

/** When what could not be delivered is tried again, and how much is under way at a time. */
export function queueSettings({ outbound }: Config): QueueSettings {
  return {
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
  };
}

function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
}
