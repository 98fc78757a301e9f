/** Whether the author's domain vouches for a message, and what it asks for if not (RFC 9989). A finding only. */

import { evaluateDmarc } from "mailauth/lib/dmarc/index.js";
import type { NodeStyleResolve } from "../dns/node_style.ts";
import type { Dns } from "../dns/records.ts";
import { reasonOf } from "../log.ts";
import type { Signature } from "../worker/verify.ts";
import { authorDomain } from "./author.ts";
import { printable } from "./printable.ts";
import { DNS_BUDGET, Questions } from "./questions.ts";
import type { SpfFinding } from "./spf.ts";

export type DmarcPolicy = "none" | "quarantine" | "reject";

export interface DmarcFinding {
  /** `permerror`: nobody can say who the author is, or what the author's domain asks for. */
  readonly result: "pass" | "fail" | "none" | "temperror" | "permerror";
  /** The author's domain; empty when there is not exactly one. */
  readonly from: string;
  /** The one that applies, after `sp`, `np` and `t`. */
  readonly policy?: DmarcPolicy;
  /** Whose record that is, and of which organization the author's domain is. */
  readonly policyDomain?: string;
  readonly organization?: string;
  /** What passed and is of the author's domain. */
  readonly aligned: { readonly spf: boolean; readonly dkim: boolean };
  /** Domains of `d=` that are aligned, of the signatures that pass or could not be verified now. */
  readonly alignedDomains: readonly string[];
  /** Why there is no answer, for people: one line. */
  readonly reason?: string;
}

export interface DmarcFacts {
  /** At least the header. */
  readonly start: Uint8Array;
  readonly spf: SpfFinding | undefined;
  readonly signatures: readonly Signature[];
}

type Evaluated = Awaited<ReturnType<typeof evaluateDmarc>>;

/** Octets of a policy record; honest ones have a few hundred. */
const MAX_RECORD = 4096;
const POLICIES: readonly DmarcPolicy[] = ["none", "quarantine", "reject"];
const NOT_ALIGNED = { aligned: { spf: false, dkim: false }, alignedDomains: [] } as const;

/** Never rejects: what goes wrong on the way is a temporary error. */
export async function checkDmarc(
  facts: DmarcFacts,
  dns: Dns,
  /** Milliseconds for all look-ups together. */
  budget: number = DNS_BUDGET,
): Promise<DmarcFinding> {
  const author = authorDomain(facts.start);
  if ("problem" in author) return { result: "permerror", from: "", ...NOT_ALIGNED, reason: author.problem };
  const questions = new Questions(dns, budget);
  let tooLong = false;
  const resolve = withinBounds(questions.resolve, () => tooLong = true);
  try {
    const found = await evaluate(author.domain, facts, resolve);
    return found.result === "temperror" && tooLong ? { ...found, result: "permerror" } : found;
  } catch (error) {
    const reason = printable(reasonOf(error), 200);
    return { result: "temperror", from: author.domain, ...NOT_ALIGNED, reason };
  } finally {
    questions.end();
  }
}

async function evaluate(
  from: string,
  { spf, signatures }: DmarcFacts,
  resolve: NodeStyleResolve,
): Promise<DmarcFinding> {
  // RFC 9989 §5.3.2: SPF counts with the identity of MAIL FROM, for which HELO stands when that is empty.
  const passed = identifiers(spf, signatures, "pass");
  const found = read(await ask(from, passed, resolve), from);
  if (found.result !== "fail") return found;
  const unknown = identifiers(spf, signatures, "temperror");
  if (unknown.spf.length + unknown.dkim.length === 0) return found;
  // Had those passed, would the message?
  const all = { spf: [...passed.spf, ...unknown.spf], dkim: [...passed.dkim, ...unknown.dkim] };
  const perhaps = read(await ask(from, all, resolve), from);
  if (perhaps.result === "fail") return found;
  const { alignedDomains, reason = "an aligned identifier could not be checked now" } = perhaps;
  return { ...found, result: "temperror", alignedDomains, reason };
}

/** Keeps from mailauth what would take it long to read: a policy that long is none that can be obeyed. */
function withinBounds(resolve: NodeStyleResolve, tellTooLong: () => void): NodeStyleResolve {
  return async (name, type) => {
    const answer = await resolve(name, type);
    if (type !== "TXT") return answer;
    const records = answer.map((record) => Array.isArray(record) ? record.join("") : String(record));
    const policies = records.filter((text) => /^\s*v[ \t]*=[ \t]*DMARC1/i.test(text.slice(0, 64)));
    if (policies.every((text) => text.length <= MAX_RECORD)) return policies.map((text) => [text]);
    tellTooLong();
    throw new Error(`The DMARC record at ${name} is longer than ${MAX_RECORD} signs`);
  };
}

interface Identifiers {
  readonly spf: readonly string[];
  readonly dkim: readonly string[];
}

function identifiers(
  spf: SpfFinding | undefined,
  signatures: readonly Signature[],
  result: "pass" | "temperror",
): Identifiers {
  return {
    spf: spf?.result === result ? [spf.domain] : [],
    dkim: signatures.filter((signature) => signature.result === result).map(({ domain }) => domain),
  };
}

function ask(from: string, { spf, dkim }: Identifiers, resolve: NodeStyleResolve): Promise<Evaluated> {
  return evaluateDmarc({
    headerFrom: [`author@${from}`],
    fromFields: 1,
    spfDomains: [...spf],
    dkimDomains: dkim.map((domain) => ({ domain })),
    resolver: resolve as (name: string, type: string) => Promise<string[][] | string[]>,
    strict: true,
  });
}

function read({ response, reason, dkimAligned }: Evaluated, from: string): DmarcFinding {
  if (response === false) return { result: "permerror", from, ...NOT_ALIGNED, reason: printable(reason ?? "", 100) };
  const { status, alignment, domain, policyDomain } = response;
  const result = (["pass", "fail", "none"] as const).find((result) => result === status.result) ?? "temperror";
  const policy = POLICIES.find((policy) => policy === response.policy);
  const error = "error" in response ? String(response.error) : undefined;
  return {
    result,
    from,
    ...(policy === undefined ? {} : { policy }),
    ...(policyDomain === undefined ? {} : { policyDomain }),
    ...(domain === undefined ? {} : { organization: domain }),
    aligned: { spf: alignment?.spf.result !== undefined, dkim: alignment?.dkim.result !== undefined },
    alignedDomains: [...dkimAligned ?? []],
    ...(error === undefined ? {} : { reason: printable(error, 200) }),
  };
}
