/** What is counted: every event of the log, by its name. And what is measured when somebody asks. */

import type { Log } from "../log.ts";

export class Counters {
  readonly #events = new Map<string, number>();

  /** The same log, counting. */
  counting(log: Log): Log {
    return (level, event, fields) => {
      this.#events.set(event, (this.#events.get(event) ?? 0) + 1);
      log(level, event, fields);
    };
  }

  /** By name, in alphabetical order. */
  events(): readonly (readonly [event: string, count: number])[] {
    return [...this.#events].sort(([one], [other]) => (one < other ? -1 : 1));
  }
}

/** What is true at this moment. */
export interface Gauges {
  readonly connections: number;
  readonly queued: number;
  readonly delivering: number;
  /** Destinations that are out of reach. */
  readonly resting: number;
  /** Seconds. */
  readonly oldest: number;
  readonly uptime: number;
  /** Bytes. */
  readonly memory: number;
  /**
   * Seconds until the first certificate ends, negative when it has, 0 when there is only one that nobody trusts; absent
   * without TLS.
   */
  readonly certificate?: number | undefined;
  /** Orders of a certificate that failed one after the other; absent when none are made. */
  readonly ordersFailed?: number | undefined;
  /** 1 when the last new version of the configuration could not be used, else 0. */
  readonly reloadRefused: number;
}

const EXPLAIN: Readonly<Record<keyof Required<Gauges>, readonly [name: string, help: string]>> = {
  connections: ["maildemon_connections", "SMTP connections that are open."],
  queued: ["maildemon_queue_messages", "Messages that are not yet delivered to all."],
  delivering: ["maildemon_queue_deliveries", "Deliveries under way."],
  resting: [
    "maildemon_queue_destinations_resting",
    "Destinations that cannot be reached and are left alone for a while.",
  ],
  oldest: ["maildemon_queue_oldest_seconds", "Age of the oldest message in the queue."],
  uptime: ["maildemon_uptime_seconds", "Time since the start."],
  memory: ["maildemon_memory_bytes", "Resident memory."],
  certificate: [
    "maildemon_certificate_expires_seconds",
    "Time until the first certificate ends; 0 when there is only one that nobody trusts.",
  ],
  ordersFailed: [
    "maildemon_certificate_orders_failed",
    "Orders of a certificate (ACME) that failed one after the other.",
  ],
  reloadRefused: [
    "maildemon_reload_refused",
    "1 when the configuration has changed and could not be used, so that the old one is in force.",
  ],
};

/** The Prometheus text format, version 0.0.4. */
export function formatMetrics(gauges: Gauges, events: Counters): string {
  let text = "";
  for (const [key, [name, help]] of Object.entries(EXPLAIN)) {
    const value = gauges[key as keyof Gauges];
    if (value !== undefined) text += `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${value}\n`;
  }
  text += "# HELP maildemon_events_total Events of the log by name.\n# TYPE maildemon_events_total counter\n";
  for (const [event, count] of events.events()) text += `maildemon_events_total{event="${event}"} ${count}\n`;
  return text;
}
