/** Is it what it claims to be: SPF of the sender, DKIM signatures of the message. Findings only; `verdict` decides. */

import { spf } from "mailauth/lib/spf/index.js";
import type { Dns } from "../dns/records.ts";
import { nodeStyle } from "../dns/node_style.ts";
import { readHeader, valueOf, withoutFields } from "../smtp/headers.ts";
import type { Signature, VerifyRequest } from "../worker/verify.ts";

export type SpfResult = "pass" | "fail" | "softfail" | "neutral" | "none" | "temperror" | "permerror";

export interface SpfFinding {
  readonly result: SpfResult;
  /** The domain whose record was asked. */
  readonly domain: string;
}

export interface Claim {
  /** Address of the peer. */
  readonly host: string;
  readonly hello: string;
  /** `local@domain`; empty for the null sender, for which the HELO name stands (RFC 7208 §2.4). */
  readonly sender: string;
}

type SpfResolver = NonNullable<Parameters<typeof spf>[0]["resolver"]>;

/** All look-ups for one question together, milliseconds. */
const DNS_BUDGET = 20_000;
/** Signatures that are looked at: each costs a look-up and a public-key operation. */
const MAX_SIGNATURES = 5;
const MAX_KEY = 4096;
const HEADER_LIMITS = { maxHeader: 1 << 18, maxFields: 10_000, maxFolds: 500 };
const RESULTS: readonly SpfResult[] = ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"];

/** Never rejects: what goes wrong on the way is a temporary error. */
export async function checkSpf(claim: Claim, dns: Dns, hostname: string): Promise<SpfFinding> {
  const domain = claim.sender === "" ? claim.hello : claim.sender.slice(claim.sender.lastIndexOf("@") + 1);
  try {
    const { status } = await spf({
      ip: claim.host,
      helo: claim.hello,
      sender: claim.sender === "" ? `postmaster@${claim.hello}` : claim.sender,
      mta: hostname,
      // Its type forgets MX records, which it reads as nodeStyle gives them.
      resolver: nodeStyle(dns, { signal: AbortSignal.timeout(DNS_BUDGET) }) as unknown as SpfResolver,
      strict: true,
    });
    return { result: RESULTS.find((result) => result === status.result) ?? "temperror", domain };
  } catch {
    return { result: "temperror", domain };
  }
}

/**
 * The message's signatures and whether they hold. `start` holds at least its header; `read`, which gives all of it, is
 * called only when there is something to verify. `run` verifies on another thread. Rejects only with what those two
 * reject.
 */
export async function checkDkim(
  start: Uint8Array,
  dns: Dns,
  read: () => Promise<Uint8Array>,
  run: (request: VerifyRequest) => Promise<readonly Signature[]>,
  /** Holds the whole message in memory while it runs. */
  inTurn: (work: () => Promise<readonly Signature[]>) => Promise<readonly Signature[]> = (work) => work(),
): Promise<readonly Signature[]> {
  const header = readHeader(start, HEADER_LIMITS);
  if (typeof header === "string") return [];
  // With two From fields nobody can say with which of them a signature is aligned.
  if (header.fields.filter(({ name }) => name === "from").length !== 1) return [];
  const signatures = header.fields.filter(({ name }) => name === "dkim-signature");
  const looked = signatures.slice(0, MAX_SIGNATURES);
  if (looked.length === 0) return [];
  const names = looked.map((field) => keyName(valueOf(start, field))).filter((name) => name !== undefined);
  const signal = AbortSignal.timeout(DNS_BUDGET);
  const keys = await Promise.all(names.map(async (name) => [name, await readKey(name, dns, signal)] as const));
  // Behind the look-ups: whose name server is slow must not keep others from their turn.
  return await inTurn(async () =>
    await run({ message: withoutFields(await read(), signatures.slice(MAX_SIGNATURES)), keys: new Map(keys) })
  );
}

/** Where the key of a signature stands (RFC 6376 §3.6.2.1). */
function keyName(value: string): string | undefined {
  const tag = (name: string) => new RegExp(`(?:^|;)\\s*${name}\\s*=\\s*([A-Za-z0-9._-]+)\\s*(?:;|$)`).exec(value)?.[1];
  const domain = tag("d"), selector = tag("s");
  return domain === undefined || selector === undefined ? undefined : `${selector}._domainkey.${domain}`.toLowerCase();
}

async function readKey(name: string, dns: Dns, signal: AbortSignal): Promise<readonly string[] | string> {
  const found = await dns.txt(name, { signal });
  switch (found.outcome) {
    case "answer":
      return found.records.filter((text) => text.length <= MAX_KEY);
    case "no such name":
      return "ENOTFOUND";
    case "no data":
      return "ENODATA";
    case "server failed":
      return "ESERVFAIL";
    case "timed out":
      return "ETIMEOUT";
    default:
      return found satisfies never;
  }
}
