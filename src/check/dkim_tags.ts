/**
 * Signatures and key records of DKIM (RFC 6376 §3.2, §3.5, §3.6.1) in plain form: as nearly all of them are written.
 * What is plain may be believed to be read alike by everybody; about anything else nothing is said here.
 */

import { CLOCK_SKEW, isShort, MAX_SIGNED } from "./dkim_limits.ts";

export type Algorithm = "rsa-sha256" | "ed25519-sha256";
export type Form = "relaxed" | "simple";

export interface PlainSignature {
  readonly algorithm: Algorithm;
  /** As they are written. */
  readonly domain: string;
  readonly selector: string;
  /** Of `i=`; that of `d=` when there is none. */
  readonly identityDomain: string;
  readonly header: Form;
  readonly body: Form;
  /** Names of the fields it covers, lower case, in the order of `h=`; From is among them. */
  readonly covers: readonly string[];
  /** In Base64. */
  readonly bodyHash: string;
  readonly signature: Uint8Array;
}

export interface PlainRecord {
  readonly algorithm: Algorithm;
  readonly key: Uint8Array;
  /** `t=s`: the domain of `i=` must be that of `d=` itself. */
  readonly strict: boolean;
}

// Without l=, which leaves a part of the body unsigned.
const SIGNATURE_TAGS: ReadonlySet<string> = new Set("v a b bh c d h i q s t x".split(" "));
const RECORD_TAGS: ReadonlySet<string> = new Set("v h k n p s t".split(" "));
const ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map([
  ["rsa-sha256", "rsa-sha256"],
  ["ed25519-sha256", "ed25519-sha256"],
]);
const FORMS: ReadonlyMap<string, readonly [header: Form, body: Form]> = new Map([
  ["relaxed/relaxed", ["relaxed", "relaxed"]],
  ["relaxed/simple", ["relaxed", "simple"]],
  ["simple/relaxed", ["simple", "relaxed"]],
  ["simple/simple", ["simple", "simple"]],
]);

const MAX_DOMAIN = 253;
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
const FIELD_NAME = /^[!-9<-~]+$/;
const ATOM = /^[A-Za-z0-9!#$%&'*+\-/?^_`{|}~]+$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const TIME = /^[0-9]{1,12}$/;

/**
 * The value of a DKIM-Signature field, unfolded. Undefined when it is not plain, and when it is not valid at `now`, in
 * milliseconds since 1970.
 */
export function plainSignature(value: string, now: number): PlainSignature | undefined {
  const tags = plainTags(value, SIGNATURE_TAGS);
  if (tags === undefined || tags.get("v") !== "1" || (tags.get("q") ?? "dns/txt") !== "dns/txt") return undefined;
  const algorithm = ALGORITHMS.get(tags.get("a") ?? ""), forms = FORMS.get(tags.get("c") ?? "");
  const domain = tags.get("d") ?? "", selector = tags.get("s") ?? "";
  if (algorithm === undefined || forms === undefined) return undefined;
  // A top-level domain signs for nobody.
  if (!isName(domain) || !domain.includes(".") || !isName(selector)) return undefined;
  const identityDomain = plainIdentity(tags.get("i"), domain), covers = fieldNames(tags.get("h") ?? "");
  if (identityDomain === undefined || covers === undefined || !isTimely(tags.get("t"), tags.get("x"), now)) {
    return undefined;
  }
  const hash = octets(tags.get("bh") ?? ""), signature = octets(tags.get("b") ?? "");
  if (hash === undefined || signature === undefined) return undefined;
  const [header, body] = forms;
  return {
    algorithm,
    domain,
    selector,
    identityDomain,
    header,
    body,
    covers,
    bodyHash: hash.toBase64(),
    signature,
  };
}

/** The text of a TXT record. Undefined when it is not plain or not for this use. */
export function plainRecord(text: string): PlainRecord | undefined {
  if (!isShort(text)) return undefined;
  const tags = plainTags(text, RECORD_TAGS);
  if (tags === undefined) return undefined;
  const [first] = tags.keys();
  if (tags.has("v") && (first !== "v" || tags.get("v") !== "DKIM1")) return undefined;
  const algorithm = ALGORITHMS.get(`${tags.get("k") ?? "rsa"}-sha256`), key = octets(tags.get("p") ?? "");
  const hashes = list(tags.get("h") ?? "sha256"), services = list(tags.get("s") ?? "*");
  const flags = tags.has("t") ? list(tags.get("t") ?? "") : [];
  if (algorithm === undefined || key === undefined || !hashes.includes("sha256")) return undefined;
  if (!services.includes("*") && !services.includes("email")) return undefined;
  // `y`, a domain that tries DKIM out: its mail is treated like that of others (§3.6.1).
  if (flags.some((flag) => flag !== "y" && flag !== "s")) return undefined;
  return { algorithm, key, strict: flags.includes("s") };
}

/** In the order in which they stand, without the blanks around them. */
function plainTags(text: string, known: ReadonlySet<string>): ReadonlyMap<string, string> | undefined {
  if (!/^[\t -~]*$/.test(text)) return undefined;
  const tags = new Map<string, string>(), specs = text.split(";");
  // One more may stand behind the last.
  if (specs.at(-1)?.trim() === "") specs.pop();
  for (const spec of specs) {
    const equals = spec.indexOf("=");
    const name = spec.slice(0, Math.max(equals, 0)).trim();
    if (!known.has(name) || tags.has(name)) return undefined;
    tags.set(name, spec.slice(equals + 1).trim());
  }
  return tags;
}

function isName(text: string): boolean {
  return text.length <= MAX_DOMAIN && text.split(".").every((label) => LABEL.test(label));
}

/** The domain of `i=`, when it is that of `d=` or below it. */
function plainIdentity(identity: string | undefined, domain: string): string | undefined {
  if (identity === undefined) return domain;
  const at = identity.indexOf("@"), local = identity.slice(0, Math.max(at, 0)), own = identity.slice(at + 1);
  if (at < 0 || !isName(own) || local !== "" && !local.split(".").every((atom) => ATOM.test(atom))) return undefined;
  return `.${own}`.toLowerCase().endsWith(`.${domain}`.toLowerCase()) ? own : undefined;
}

function fieldNames(signed: string): readonly string[] | undefined {
  if (signed.length > MAX_SIGNED) return undefined;
  const names = list(signed).map((name) => name.toLowerCase());
  // Signatures that cover signatures are rare, and which of them is meant is not said.
  const plain = names.every((name) => FIELD_NAME.test(name)) && !names.includes("dkim-signature");
  return plain && names.includes("from") ? names : undefined;
}

function isTimely(made: string | undefined, expires: string | undefined, now: number): boolean {
  if (made !== undefined && !(TIME.test(made) && Number(made) * 1000 <= now + CLOCK_SKEW)) return false;
  if (expires === undefined) return true;
  return TIME.test(expires) && Number(expires) * 1000 > now && Number(expires) > Number(made ?? 0);
}

function list(text: string): readonly string[] {
  return text.split(":").map((part) => part.trim());
}

/** Blanks may stand anywhere in it. Undefined when it is empty or not exactly Base64. */
function octets(text: string): Uint8Array | undefined {
  const plain = text.replace(/[ \t]+/g, "");
  if (!BASE64.test(plain) || plain.length % 4 !== 0) return undefined;
  const read = Uint8Array.fromBase64(plain);
  return read.toBase64() === plain ? read : undefined;
}
