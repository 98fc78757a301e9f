/** Whether a domain lets this host send its mail (RFC 7208). A finding only; `verdict` decides. */

import { spf } from "mailauth/lib/spf/index.js";
import type { NodeStyleAnswer, NodeStyleResolve } from "../dns/node_style.ts";
import type { Dns } from "../dns/records.ts";
import { domainOf } from "../smtp/address.ts";
import { printable } from "./printable.ts";
import { DNS_BUDGET, Questions } from "./questions.ts";

export type SpfResult = "pass" | "fail" | "softfail" | "neutral" | "none" | "temperror" | "permerror";

export interface SpfFinding {
  readonly result: SpfResult;
  /** The domain whose record was asked. */
  readonly domain: string;
  /** What the domain was taken from. */
  readonly identity: "mailfrom" | "helo";
  /** What the domain has to say to who fails (RFC 7208 §6.2): a stranger's text, one printable line of 200 signs. */
  readonly explanation?: string;
}

export interface Claim {
  /** Address of the peer. */
  readonly host: string;
  readonly hello: string;
  /** `local@domain`; empty for the null sender, for which the HELO name stands (RFC 7208 §2.4). */
  readonly sender: string;
}

type SpfResolver = NonNullable<Parameters<typeof spf>[0]["resolver"]>;

const RESULTS: readonly SpfResult[] = ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"];
const MAX_EXPLANATION = 200;
/**
 * Signs of an SPF record. RFC 7208 §3.4 asks for answers of 512 octets; what is this long is not meant to be
 * evaluated, and each term costs time that others wait for.
 */
const MAX_RECORD = 4096;
/** From here on the others have their turn before an answer is evaluated: ten long ones are ten short waits. */
const LONG_RECORD = 512, MANY_RECORDS = 10;

/** Never rejects: what goes wrong on the way is a temporary error. */
export async function checkSpf(claim: Claim, dns: Dns, hostname: string): Promise<SpfFinding> {
  return (await evaluateSpf(claim, dns, hostname)).finding;
}

/** The same, and for how many seconds the answers hold that it came from: 0 when it must not be remembered. */
export async function evaluateSpf(
  { host, hello, sender }: Claim,
  dns: Dns,
  hostname: string,
  /** Milliseconds for all look-ups together. */
  budget: number = DNS_BUDGET,
): Promise<{ readonly finding: SpfFinding; readonly ttl: number }> {
  const checked = sender === ""
    ? { domain: hello, identity: "helo" } as const
    : { domain: domainOf(sender), identity: "mailfrom" } as const;
  const questions = new Questions(dns, budget);
  const temporary = { finding: { result: "temperror", ...checked }, ttl: 0 } as const;
  try {
    const { status, explanation } = await spf({
      ip: host,
      helo: hello,
      sender,
      mta: hostname,
      // Its type forgets MX records, which it reads as nodeStyle gives them.
      resolver: withinBounds(questions.resolve) as unknown as SpfResolver,
      strict: true,
    });
    const result = RESULTS.find((result) => result === status.result) ?? "temperror";
    // RFC 7208 §4.6.4. What could not be asked any more may have been taken for a term that does not match.
    if (questions.late || result === "temperror") return temporary;
    const said = explanation === undefined ? {} : { explanation: printable(explanation, MAX_EXPLANATION) };
    return { finding: { result, ...checked, ...said }, ttl: questions.ttl };
  } catch {
    return temporary;
  } finally {
    questions.end();
  }
}

/** Keeps from mailauth what would take it long to read. */
function withinBounds(resolve: NodeStyleResolve): NodeStyleResolve {
  return async (name, type) => {
    const answer = await resolve(name, type);
    if (answer.length > MANY_RECORDS) await turnOfOthers();
    if (type !== "TXT") return answer;
    let length = 0;
    const kept = answer.map((record) => {
      const text = Array.isArray(record) ? record.join("") : String(record);
      const isSpf = /^v=spf1(?: |$)/i.test(text);
      if (isSpf) length = Math.max(length, text.length);
      // An explanation has to be the only record (RFC 7208 §6.2), so what is left out leaves its place.
      return isSpf || text.length <= MAX_RECORD ? [text] : [""];
    });
    if (length > MAX_RECORD) throw new TooLongError(name);
    if (length > LONG_RECORD) await turnOfOthers();
    return kept satisfies NodeStyleAnswer;
  };
}

function turnOfOthers(): Promise<void> {
  return new Promise((done) => setTimeout(done));
}

/** mailauth takes what stands in `spfResult` for the result. */
class TooLongError extends Error {
  readonly spfResult: { readonly error: "permerror"; readonly text: string };

  constructor(name: string) {
    super(`The SPF record of ${name} is longer than ${MAX_RECORD} signs`);
    this.spfResult = { error: "permerror", text: this.message };
  }
}
