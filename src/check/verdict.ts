/** From findings and settings to a reply. Pure: the same findings always get the same answer. */

import { because, closing, type Reply, reply } from "../smtp/reply.ts";
import type { Signature } from "../worker/verify.ts";
import { type Findings, signatureFails, survives } from "./findings.ts";
import type { HeloFinding } from "./helo.ts";
import type { SpfFinding } from "./spf.ts";

/** `[checks] spf`, `dkim`, `dmarc`, `helo`. */
export type SpfSetting = "reject-unsigned" | "off" | "note" | "reject-fail" | "require-pass";
export type DkimSetting = "note" | "off" | "reject-fail";
export type DmarcSetting = "obey" | "off" | "note";
export type HeloSetting = "note" | "off" | "reject";

export interface VerdictSettings {
  readonly spf: SpfSetting;
  readonly dkim: DkimSetting;
  readonly dmarc: DmarcSetting;
  readonly helo: HeloSetting;
}

/** What the name alone decides, at HELO. Undefined: go on. */
export function judgeHelo(setting: HeloSetting, helo: HeloFinding): Reply | undefined {
  if (setting !== "reject" || helo.result !== "mismatch") return undefined;
  return closing(heloFailed(helo, "helo", "checks.helo"));
}

export function heloFailed({ name, found }: HeloFinding, rule: string, setting: string): Reply {
  const said = reply(550, "5.7.25", `You say that you are ${name.slice(0, 255)}, which is not your address`);
  return because(said, rule, found, setting);
}

/** What SPF alone decides, at MAIL. Undefined: go on. */
export function judgeSender(setting: SpfSetting, spf: SpfFinding): Reply | undefined {
  switch (setting) {
    case "off":
    case "note":
    case "reject-unsigned":
      return undefined;
    case "reject-fail":
      return spf.result === "fail" ? spfFailed(spf, "spf", "checks.spf") : undefined;
    case "require-pass":
      // Temporary trouble of the DNS is never a permanent refusal.
      if (spf.result === "temperror") {
        const said = reply(451, "4.4.3", `Cannot look up the SPF record of ${spf.domain} now`);
        return because(said, "spf", spfText(spf), "checks.spf");
      }
      return spf.result === "pass" ? undefined : spfFailed(spf, "spf", "checks.spf");
    default:
      return setting satisfies never;
  }
}

/** Whether SPF has to be known at MAIL, and not only at the end of the message. */
export function decidesAtMail(setting: SpfSetting): boolean {
  return setting === "reject-fail" || setting === "require-pass";
}

/** Whether the signatures have to be looked at before the message can be judged. */
export function wantsSignatures(settings: VerdictSettings, spf: SpfFinding | undefined, classic: boolean): boolean {
  if (settings.dkim !== "off" || settings.dmarc !== "off" || classic) return true;
  return settings.spf === "reject-unsigned" && spf?.result === "fail";
}

/** What everything together decides, at the end of the message, but for the spam score. Undefined: nothing against it. */
export function judgeMessage(settings: VerdictSettings, findings: Findings): Reply | undefined {
  const { spf, dmarc } = findings;
  if (settings.dmarc === "obey" && dmarc?.result === "permerror" && dmarc.from === "") {
    const said = reply(550, "5.6.0", "A message has exactly one From field with exactly one address");
    return because(said, "from", dmarc.reason ?? "no author", "checks.dmarc");
  }
  return (settings.spf === "reject-unsigned" && spf?.result === "fail" ? judgeUnsigned(spf, findings) : undefined) ??
    (settings.dkim === "reject-fail" ? dkimFailed(signatureFails(findings), "dkim", "checks.dkim") : undefined) ??
    (settings.dmarc === "obey" ? judgeDmarc(findings) : undefined);
}

function judgeUnsigned(spf: SpfFinding, findings: Findings): Reply | undefined {
  const survived = survives(findings);
  switch (survived) {
    case "yes":
      return undefined;
    case "no":
      return spfFailed(spf, "spf", "checks.spf");
    case "cannot tell": {
      const said = reply(451, "4.4.3", "Cannot check the signatures of this message now");
      return because(said, "spf", `${spfText(spf)}, and a signature cannot be checked now`, "checks.spf");
    }
    default:
      return survived satisfies never;
  }
}

function judgeDmarc({ dmarc }: Findings): Reply | undefined {
  if (dmarc?.policy !== "reject") return undefined;
  if (dmarc.result === "temperror") {
    // It may be genuine and it may be forged; its author wants neither refused nor passed what nobody has looked at.
    const said = reply(451, "4.4.3", `Cannot check now whether this is mail of ${dmarc.from}`);
    return because(said, "dmarc", `temperror: ${dmarc.reason ?? "not known now"}`, "checks.dmarc");
  }
  if (dmarc.result !== "fail") return undefined;
  const said = reply(550, "5.7.1", `DMARC of ${dmarc.from}: neither SPF nor a signature shows that this is its mail`);
  return because(said, "dmarc", `fail, and ${dmarc.policyDomain ?? dmarc.from} asks for p=reject`, "checks.dmarc");
}

/** `signature`: one that is wrong. */
export function dkimFailed(signature: Signature | undefined, rule: string, setting: string): Reply | undefined {
  if (signature === undefined) return undefined;
  const said = reply(550, "5.7.20", `The DKIM signature of ${signature.domain} is wrong`);
  return because(said, rule, `${signature.domain}: ${signature.reason ?? signature.result}`, setting);
}

export function spfFailed(spf: SpfFinding, rule: string, setting: string): Reply {
  const said = reply(550, "5.7.23", `SPF of ${spf.domain}: ${spf.result}: it does not let you send its mail`);
  return because(said, rule, spfText(spf), setting);
}

export function spfText({ result, domain, identity }: SpfFinding): string {
  return `${result} for ${domain} (${identity})`;
}

/** The score is over the limit of every recipient. */
export function spamRefused(score: number, parts: string, limit: number): Reply {
  const said = reply(550, "5.7.1", `This looks like spam to us: score ${score}, limit ${limit}`);
  return because(said, "spam", `${parts}; the limit is ${limit}`, "checks.spam_limit");
}
