/** From findings and settings to a reply. Pure: the same findings always get the same answer. */

import { type Reply, reply } from "../smtp/reply.ts";
import type { SpfFinding } from "./authenticity.ts";

/** `[checks] spf`. */
export type SpfSetting = "reject-unsigned" | "off" | "note" | "reject-fail" | "require-pass";

/** What SPF alone decides, at MAIL. Undefined: go on. */
export function judgeSender(setting: SpfSetting, spf: SpfFinding): Reply | undefined {
  switch (setting) {
    case "off":
    case "note":
    case "reject-unsigned":
      return undefined;
    case "reject-fail":
      return spf.result === "fail" ? spfFailed(spf) : undefined;
    case "require-pass":
      // Temporary trouble of the DNS is never a permanent refusal.
      if (spf.result === "temperror") return reply(451, "4.4.3", `Cannot look up the SPF record of ${spf.domain} now`);
      return spf.result === "pass" ? undefined : spfFailed(spf);
    default:
      return setting satisfies never;
  }
}

/** Whether the signatures have to be looked at before the message can be judged. */
export function wantsSignatures(setting: SpfSetting, spf: SpfFinding): boolean {
  return setting === "reject-unsigned" && spf.result === "fail";
}

/** What is to be said at the end of a message that `wantsSignatures`. `survives`: an aligned signature passed. */
export function judgeUnsigned(spf: SpfFinding, survives: "yes" | "no" | "cannot tell"): Reply | undefined {
  switch (survives) {
    case "yes":
      return undefined;
    case "no":
      return spfFailed(spf);
    case "cannot tell":
      return reply(451, "4.4.3", "Cannot check the signatures of this message now");
    default:
      return survives satisfies never;
  }
}

function spfFailed({ domain, result }: SpfFinding): Reply {
  return reply(550, "5.7.23", `SPF of ${domain}: ${result}: it does not let you send its mail`);
}
