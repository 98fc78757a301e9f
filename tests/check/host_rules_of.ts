/** The rules as the tests want them: the defaults of `[reputation]`. */

import type { HostRules } from "../../src/check/host_rules.ts";
import { DAY, HOUR } from "../store/host_counts.ts";

export const PREFIX_RULES: HostRules = {
  rules: "prefix",
  ratio: 0.7,
  least: 3,
  ipv4: { near: 24, wide: 20 },
  ipv6: { host: 64, near: 56, wide: 48 },
  halfLife: 14 * DAY,
  strikes: 3,
  strikeWindow: 7 * DAY,
  firstBan: HOUR,
  longestBan: 30 * DAY,
  goodMessages: 5,
  goodSpam: 0.1,
  slowGreeting: 10_000,
};
export const CLASSIC_RULES: HostRules = { ...PREFIX_RULES, rules: "classic" };
