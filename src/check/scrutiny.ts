/**
 * One connection from outside under scrutiny: what was found when it came, at HELO and at MAIL is remembered until the
 * end of each message, and all of it together is judged there. Look-ups that decide nothing yet run meanwhile.
 */

import { formatMailbox, type Mailbox } from "../smtp/address.ts";
import type { Sender } from "../smtp/command.ts";
import type { Hello } from "../smtp/effect.ts";
import type { Field } from "../smtp/headers.ts";
import { closing, formatReply, type Reply } from "../smtp/reply.ts";
import type { Step } from "../store/stories.ts";
import type { Signature, VerifyRequest } from "../worker/verify.ts";
import { authenticationResults, foreignResults, receivedSpf } from "./authentication_results.ts";
import { authorOf } from "./author.ts";
import { checkDkim } from "./dkim.ts";
import { checkDmarc, type DmarcFinding } from "./dmarc.ts";
import { diesForwarded, type Findings, isAuthentic, isBelieved, signatureFails, survives } from "./findings.ts";
import { type LookUpParts, LookUps } from "./look_ups.ts";
import type { Message } from "./message.ts";
import { arrivalStep, type Reputation, type Visit } from "./reputation.ts";
import { askScorer, type ScoringParts } from "./scoring.ts";
import { formatParts, scoreParts, type Scoring, sumOf, type Weights } from "./spam_score.ts";
import { findingSteps } from "./steps.ts";
import * as verdict from "./verdict.ts";

export interface ScrutinyParts extends ScoringParts, LookUpParts {
  readonly settings: verdict.VerdictSettings;
  readonly weights: Weights;
  readonly scoring: Scoring;
  readonly reputation: Reputation;
  /** For a long message, which is in memory as a whole while its signatures are verified. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
  /** Verifies signatures on another thread. */
  readonly verify: (request: VerifyRequest) => Promise<readonly Signature[]>;
}

export interface Judged {
  readonly refusal?: Reply;
  readonly score: number;
  /** Trace lines to put on top, and the fields that claim to be ours. */
  readonly trace: string;
  readonly foreign: readonly Field[];
  /** The envelope sender may be told what becomes of it. */
  readonly isBelieved: boolean;
  /** Forwarded under its own From it would be refused. */
  readonly diesForwarded: boolean;
  /** Who wrote it, when SPF or a signature shows that. */
  readonly author?: Mailbox;
}

/**
 * Milliseconds for all look-ups about one message together from its end on; what comes last, when others have used that
 * up, is asked in a hurry.
 */
const MESSAGE_BUDGET = 20_000, LEAST_BUDGET = 5_000;

export class Scrutiny {
  readonly #parts: ScrutinyParts;
  readonly #peer: { readonly id: string; readonly host: string };
  readonly #visit: Visit | undefined;
  #arrivalStep: Step | undefined;
  #neighbours: string | undefined;
  readonly #lookUps: LookUps;
  #findings: Findings = { listings: [] };
  #spamStep: Step | undefined;
  /** What is not enforced would have been refused for: the name, and what came after it. */
  #nameWould: readonly Step[] = [];
  #would: readonly Step[] = [];

  constructor(parts: ScrutinyParts, peer: { readonly id: string; readonly host: string }) {
    this.#parts = parts;
    this.#peer = peer;
    this.#visit = parts.reputation.visit(peer);
    this.#lookUps = new LookUps(parts, peer.host, () => this.#visit?.misnamed());
  }

  /** It has connected. A refusal is said instead of the greeting; `delay`: milliseconds that the greeting waits. */
  async arrives(): Promise<{ readonly refusal?: Reply; readonly delay: number }> {
    const visit = this.#visit, arrival = await visit?.arrive();
    if (visit === undefined || arrival === undefined) this.#arrivalStep = NOT_JUDGED;
    else this.#arrivalStep = arrivalStep(arrival, visit.isEnforced);
    if (arrival?.standing.is === "slow") this.#neighbours = arrival.standing.numbers;
    if (arrival?.refusal !== undefined) return { refusal: arrival.refusal, delay: 0 };
    this.#lookUps.askLists();
    return { delay: arrival?.delay ?? 0 };
  }

  /** It says what it is called. Waits for the DNS only when that decides. */
  async hello({ name }: Hello): Promise<Reply | undefined> {
    const { settings } = this.#parts, visit = this.#visit;
    visit?.hello(name);
    const isClassic = visit?.isClassic === true;
    if (settings.helo === "off" && !isClassic) return undefined;
    const helo = this.#lookUps.helo(name);
    this.#nameWould = this.#would = [];
    if (settings.helo !== "reject" && !isClassic) return undefined;
    const found = await helo, refusal = verdict.judgeHelo(settings.helo, found);
    if (refusal !== undefined || !isClassic || found.result !== "mismatch") return refusal;
    const byName = this.#byReputation(closing(verdict.heloFailed(found, "seen hosts: name", "reputation.rules")));
    this.#nameWould = this.#would;
    return byName;
  }

  /** At MAIL. Undefined: go on. */
  async sender({ path }: Sender, hello: Hello): Promise<Reply | undefined> {
    const { settings } = this.#parts;
    const banned = await this.#visit?.isBannedNow();
    if (banned !== undefined) return banned;
    this.#findings = { listings: [] };
    this.#spamStep = undefined;
    this.#would = this.#nameWould;
    const sender = path === null ? "" : formatMailbox(path), wants = settings.spf !== "off" || this.#visit?.isClassic;
    const spf = this.#lookUps.spf(wants ? { host: this.#peer.host, hello: hello.name, sender } : undefined);
    if (spf === undefined || !verdict.decidesAtMail(settings.spf)) return undefined;
    const found = await spf, refusal = verdict.judgeSender(settings.spf, found);
    this.#findings = { listings: [], helo: this.#lookUps.heloFound, spf: found };
    // The message will not come, so that no signature can speak for it: what is forged is forged.
    if (refusal !== undefined && found.result === "fail") {
      await this.#visit?.shows({ forged: found.domain, spfFails: true, dkimFails: false, dmarcFails: false });
    }
    return refusal;
  }

  unknownRecipient(): void {
    this.#visit?.unknownRecipient();
  }

  /** At the end of the message, which is read only when it has to be. */
  async message(message: Message): Promise<Judged> {
    const { settings } = this.#parts, findings = this.#findings = await this.#find(message);
    const { spf, dmarc } = findings;
    const spfFails = spf?.result === "fail", survived = spfFails ? survives(findings) : "yes";
    const shown = {
      spfFails,
      forged: spfFails && survived === "no" ? spf.domain : undefined,
      dkimFails: this.#wrongSignature(findings) !== undefined,
      dmarcFails: dmarc?.result === "fail",
    };
    await this.#visit?.shows(shown);
    const refusal = verdict.judgeMessage(settings, findings) ?? this.#classic(findings);
    if (refusal !== undefined) return { ...REFUSED, refusal };
    return await this.#judgeSpam(message, findings);
  }

  /** It is ours. */
  accepted(): void {
    this.#visit?.accepted();
  }

  /** What was found so far, for the story; those steps first that came first. */
  steps(): readonly Step[] {
    const known = { ...this.#findings, helo: this.#findings.helo ?? this.#lookUps.heloFound };
    return [
      ...this.#arrivalStep === undefined ? [] : [this.#arrivalStep],
      ...findingSteps(known, this.#parts.settings),
      ...this.#would,
      ...this.#spamStep === undefined ? [] : [this.#spamStep],
    ];
  }

  ended(protocolErrors: number): void {
    this.#lookUps.end();
    this.#visit?.protocolErrors(protocolErrors);
  }

  async #find(message: Message): Promise<Findings> {
    const { settings, dns, log } = this.#parts, began = performance.now();
    const isClassic = this.#visit?.isClassic === true;
    // Meanwhile, unless only a failing SPF asks for it: else the time for one would come on top of that for the other.
    const early = verdict.wantsSignatures(settings, undefined, isClassic) ? this.#signaturesOf(message) : undefined;
    const { helo, spf, listings } = await this.#lookUps.found();
    const wants = verdict.wantsSignatures(settings, spf, isClassic);
    const signatures = wants ? await (early ?? this.#signaturesOf(message)) : undefined;
    const left = Math.max(LEAST_BUDGET, MESSAGE_BUDGET - (performance.now() - began));
    const dmarc = settings.dmarc === "off"
      ? undefined
      : await checkDmarc({ start: message.start, spf, signatures: signatures ?? [] }, dns, left);
    for (const { domain, result } of signatures ?? []) {
      log("debug", "dkim-checked", { connection: this.#peer.id, host: this.#peer.host, domain, result });
    }
    return { helo, spf, signatures, dmarc, listings, neighbours: this.#neighbours };
  }

  /** Never rejects. */
  async #signaturesOf({ id, start, size, read, header }: Message): Promise<readonly Signature[]> {
    const { dns, verify, inTurn, log } = this.#parts;
    // Of no use for a message that brings none, which is most of the spam.
    if (!header.fields.some(({ name }) => name === "dkim-signature")) return [];
    return await checkDkim(start, dns, read, verify, size > start.length ? inTurn : undefined, (error) => {
      log("error", "dkim-check-failed", { connection: this.#peer.id, host: this.#peer.host, id, error: String(error) });
    });
  }

  /** Rule 4 of the seen-hosts algorithm. */
  #classic(findings: Findings): Reply | undefined {
    if (this.#visit?.isClassic !== true) return undefined;
    const { spf } = findings;
    const refusal = spf?.result === "fail"
      ? verdict.spfFailed(spf, "seen hosts: SPF", "reputation.rules")
      : verdict.dkimFailed(this.#wrongSignature(findings), "seen hosts: DKIM", "reputation.rules");
    return refusal && this.#byReputation(refusal);
  }

  /** The published rules know one signature: any that is wrong counts, whatever stands beside it. */
  #wrongSignature(findings: Findings): Signature | undefined {
    if (this.#visit?.isClassic !== true) return signatureFails(findings);
    return findings.signatures?.find(({ result }) => result === "fail");
  }

  /** In observe mode it is only noted; who is allowed by hand is never judged. */
  #byReputation(refusal: Reply): Reply | undefined {
    if (this.#visit?.isAllowed) return undefined;
    if (this.#visit?.isEnforced) return refusal;
    const { rule = "seen hosts", found = "" } = refusal.because ?? {};
    const would = `would have been refused: ${formatReply(refusal).trim()}`, { id, host } = this.#peer;
    this.#parts.log("info", "mail-would-be-refused", { connection: id, host, rule, found });
    this.#would = [...this.#would, { check: rule, found, setting: "reputation.mode", would }];
    return undefined;
  }

  async #judgeSpam(message: Message, findings: Findings): Promise<Judged> {
    const { settings, weights, scoring, hostname } = this.#parts;
    const score = await askScorer(this.#parts, this.#peer, message);
    this.#findings = { ...findings, score };
    const parts = scoreParts(this.#findings, weights, scoring, settings.dmarc === "obey"),
      sum = sumOf(parts),
      text = formatParts(parts);
    const limits = message.recipients.flatMap(({ limits }) => limits);
    const over = limits.filter(({ limit }) => sum > limit);
    const highest = limits.reduce((most, { limit }) => Math.max(most, limit), -Infinity);
    if (scoring !== "off") {
      this.#spamStep = { check: "spam", found: `${text}; the limit is ${highest}`, setting: "checks.spam_limit" };
      await this.#visit?.scored(over.length > 0, over.reduce((least, { times }) => Math.min(least, times), Infinity));
    }
    const isSpam = scoring !== "off" && limits.length > 0 && over.length === limits.length;
    if (isSpam) return { ...REFUSED, refusal: verdict.spamRefused(sum, text, highest), score: sum };
    const author = authorOf(message.start, message.header);
    return {
      score: scoring === "off" ? -Infinity : sum,
      trace: this.#trace(message, findings),
      foreign: foreignResults(message.start, message.header, hostname),
      isBelieved: isBelieved(findings),
      diesForwarded: message.isForwarded && diesForwarded(findings.dmarc ?? await this.#unasked(message, findings)),
      ...("local" in author && isAuthentic(findings, author.domain) && { author }),
    };
  }

  /** DMARC, which is not looked at here, but where the message goes. */
  async #unasked(message: Message, { spf, signatures }: Findings): Promise<DmarcFinding> {
    const found = signatures ?? await this.#signaturesOf(message);
    return await checkDmarc({ start: message.start, spf, signatures: found }, this.#parts.dns, LEAST_BUDGET);
  }

  #trace({ sender, hello }: Message, { spf, signatures, dmarc, helo }: Findings): string {
    const { hostname, settings } = this.#parts;
    if (spf === undefined && signatures === undefined && dmarc === undefined && helo === undefined) return "";
    const results = authenticationResults({
      by: hostname,
      spf,
      // Two From fields, or a header nobody can read: there may be signatures, and nothing can be said of them.
      ...(settings.dkim !== "off" && { signatures }),
      dmarc,
      helo: helo && { result: HELO_WORDS[helo.result], name: helo.name },
    });
    const claim = { host: this.#peer.host, hello, sender };
    return results + (spf === undefined ? "" : receivedSpf(spf, claim, hostname));
  }
}

const REFUSED = { score: 0, trace: "", foreign: [], isBelieved: true, diesForwarded: false } as const;
const NOT_JUDGED: Step = {
  check: "reputation",
  found: "not judged: exempt, or switched off",
  setting: "reputation.exempt",
};
const HELO_WORDS = { match: "pass", mismatch: "fail", none: "none", temperror: "temperror" } as const;
