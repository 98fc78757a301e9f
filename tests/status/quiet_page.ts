/** What the status page is made of when nothing happens, for tests that look at one thing on it. */

import { Counters, type Gauges } from "../../src/status/metrics.ts";
import type { PageParts } from "../../src/status/page.ts";

const QUIET: Gauges = {
  connections: 0,
  queued: 0,
  delivering: 0,
  resting: 0,
  oldest: 0,
  uptime: 0,
  memory: 0,
  reloadRefused: 0,
};

export function quietPage(gauges: Partial<Gauges> = {}): PageParts {
  return {
    name: "mail.ours.test",
    version: "1",
    listeners: () => [],
    gauges: () => ({ ...QUIET, ...gauges }),
    counters: new Counters(),
    ready: () => true,
    unsubscribe: () => undefined,
  };
}
