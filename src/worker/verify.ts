/** Verifies DKIM signatures on a thread of its own. It asks no name server: the keys come with the message. */

import { Buffer } from "node:buffer";
import { dkimVerify } from "mailauth/lib/dkim/verify.js";
import { getAlignment } from "mailauth/lib/tools.js";
import { PublicKeys } from "../check/dkim_keys.ts";
import { CLOCK_SKEW, MAX_BITS, MIN_BITS } from "../check/dkim_limits.ts";
import { passed } from "../check/dkim_pass.ts";
import { printable } from "../check/printable.ts";
import { serve } from "./serve.ts";

export interface VerifyRequest {
  /** The message; at most five signatures in it. */
  readonly message: Uint8Array;
  /** `selector._domainkey.domain` → its TXT records, or the code of a Node-style DNS error. */
  readonly keys: ReadonlyMap<string, readonly string[] | string>;
}

/** RFC 8601 §2.7.1; `none` is no signature at all. */
export type SignatureResult = "pass" | "fail" | "temperror" | "permerror" | "neutral" | "policy";

export interface Signature {
  /** `d=` and `s=`; empty when they cannot be read. */
  readonly domain: string;
  readonly selector: string;
  /** `a=` */
  readonly algorithm?: string;
  readonly result: SignatureResult;
  /** Why it is not `pass`, for people: one line. */
  readonly reason?: string;
  /** Its domain is that of From, or of the same organization. */
  readonly aligned: boolean;
}

interface Verified {
  readonly signingDomain?: string;
  readonly selector?: string;
  readonly algo?: string;
  readonly modulusLength?: number;
  readonly canonBodyLengthLimited?: boolean;
  /** As in ISO 8601; null when there is none. */
  readonly signTime?: string | null;
  readonly expiresAfter?: string | null;
  readonly status: {
    readonly result: string;
    readonly comment?: string;
    readonly aligned?: string | false;
    readonly policy?: Readonly<Record<string, string | undefined>>;
  };
}

type Judged = Pick<Signature, "result" | "reason">;

const RESULTS: readonly SignatureResult[] = ["pass", "fail", "temperror", "permerror", "neutral", "policy"];
/** What the key's owner, not the signature, is to blame for. */
const KEY_TROUBLE: ReadonlySet<string> = new Set([
  "no key",
  "unknown key version",
  "unknown key type",
  "invalid public key",
  "inappropriate hash algorithm",
  "inappropriate key algorithm",
  "key not for email",
]);

if ("WorkerGlobalScope" in globalThis) {
  serve(() => {
    const known = new PublicKeys();
    return (request: VerifyRequest) => plainPass(request, known) ?? verify(request);
  });
}

/** Undefined when that cannot be said quickly: then `verify` has the word. */
export function plainPass({ message, keys }: VerifyRequest, known: PublicKeys): readonly Signature[] | undefined {
  const found = passed({ message, records: keys, now: Date.now() }, known);
  return found?.signatures.map((signature) => ({
    ...signature,
    result: "pass",
    // By the means with which mailauth says it of the others.
    aligned: Boolean(getAlignment(found.author, [signature.domain])),
  }));
}

/** By mailauth. */
export async function verify({ message, keys }: VerifyRequest): Promise<readonly Signature[]> {
  const resolver = (name: string): Promise<string[][]> => {
    const found = keys.get(name.toLowerCase()) ?? "ENOTFOUND";
    if (typeof found !== "string") return Promise.resolve(found.map((text) => [text]));
    return Promise.reject(Object.assign(new Error(`no key at ${name}`), { code: found }));
  };
  const { results }: { readonly results: readonly Verified[] } = await dkimVerify(
    Buffer.from(message.buffer, message.byteOffset, message.byteLength),
    // With a sender, Return-Path is not parsed.
    { resolver, strict: true, minBitLength: MIN_BITS, sender: "<>" },
  );
  const now = Date.now();
  // One result, "none", stands for no signature at all.
  return results.filter(({ status }) => status.result !== "none").map((verified) => ({
    domain: printable(verified.signingDomain ?? "", 253),
    selector: printable(verified.selector ?? "", 253),
    ...(verified.algo === undefined ? {} : { algorithm: printable(verified.algo, 32) }),
    ...judge(verified, now),
    aligned: Boolean(verified.status.aligned),
  }));
}

/** mailauth's result, with what it leaves to its callers. */
function judge({ status, modulusLength = 0, ...verified }: Verified, now: number): Judged {
  // What is appended to such a body, and to its MIME structure, is not signed.
  if (verified.canonBodyLengthLimited) return { result: "fail", reason: "l= leaves the end of the body unsigned" };
  if (verified.signTime && Date.parse(verified.signTime) > now + CLOCK_SKEW) {
    return { result: "fail", reason: "signed in the future" };
  }
  if (verified.expiresAfter && Date.parse(verified.expiresAfter) < now) return { result: "fail", reason: "expired" };
  // Deno 2.9 does not read such a key at all, but that is nowhere promised.
  if (modulusLength > MAX_BITS) return { result: "policy", reason: `RSA key of more than ${MAX_BITS} bit` };
  const result = RESULTS.find((result) => result === status.result) ?? "permerror";
  if (result === "pass") return { result };
  const reason = printable(status.comment ?? Object.values(status.policy ?? {}).join(", "), 100);
  // The code with which check/dkim.ts says that a record is not to be read.
  if (reason.endsWith("ETOOLONG")) return { result: "permerror", reason: "the key record is too long" };
  if (KEY_TROUBLE.has(reason)) return { result: "permerror", reason };
  return { result, reason };
}
