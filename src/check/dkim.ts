/** Whether the signatures of a message hold (RFC 6376). Findings only; `verdict` decides. */

import type { Dns } from "../dns/records.ts";
import { parseDomain } from "../smtp/address.ts";
import { type Field, type Header, readHeader, valueOf, withoutFields } from "../smtp/headers.ts";
import type { Signature, VerifyRequest } from "../worker/verify.ts";
import { HEADER_LIMITS, isAuthorField } from "./author.ts";
import { isShort, MAX_FROM, MAX_SIGNATURE, MAX_SIGNATURES, MAX_SIGNED } from "./dkim_limits.ts";
import { printable } from "./printable.ts";
import { Questions } from "./questions.ts";

/** One signature as it will be verified, or what is wrong with it. */
interface Claimed {
  readonly field: Field;
  readonly domain: string;
  readonly selector: string;
  readonly algorithm: string;
  /** Names of the fields it covers, lower case. */
  readonly covers: readonly string[];
  readonly refused?: string;
}

/**
 * The message's signatures and whether they hold, in their order. `start` holds at least its header; `read`, which
 * gives all of it, is called only when there is something to verify. `run` verifies on another thread. What those two
 * reject is our trouble and no finding: the signatures are then as good as not looked at, and `failed` is told.
 */
export async function checkDkim(
  start: Uint8Array,
  dns: Dns,
  read: () => Promise<Uint8Array>,
  run: (request: VerifyRequest) => Promise<readonly Signature[]>,
  /** Holds the whole message in memory while it runs. */
  inTurn: (work: () => Promise<readonly Signature[]>) => Promise<readonly Signature[]> = (work) => work(),
  failed: (error: unknown) => void = () => {},
): Promise<readonly Signature[]> {
  const header = readHeader(start, HEADER_LIMITS);
  // Behind a line that is no field mailauth reads on, and another From may follow.
  if (typeof header === "string" || !header.closed) return [];
  const [from, ...others] = header.fields.filter(isAuthorField);
  // With two From fields nobody can say with which of them a signature is aligned.
  if (from === undefined || others.length > 0) return [];
  const tooLong = from.to - from.from > MAX_FROM ? `From is longer than ${MAX_FROM} octets` : undefined;
  const claimed = header.fields.filter(({ name }) => name === "dkim-signature").slice(0, MAX_SIGNATURES)
    .map((field) => readSignature(start, field, tooLong));
  const good = claimed.filter(({ refused }) => refused === undefined);
  const verified = good.length === 0
    ? []
    : await verify(good, start, header, { dns, read, run, inTurn }).catch((error) => {
      failed(error);
      return good.map(unverified);
    });
  const rest = [...verified];
  // What is verified comes back in the same order.
  return claimed.map((it) => it.refused === undefined ? rest.shift() : refusal(it, it.refused))
    .filter((signature) => signature !== undefined);
}

async function verify(
  good: readonly Claimed[],
  start: Uint8Array,
  header: Header,
  { dns, read, run, inTurn }: {
    readonly dns: Dns;
    readonly read: () => Promise<Uint8Array>;
    readonly run: (request: VerifyRequest) => Promise<readonly Signature[]>;
    readonly inTurn: (work: () => Promise<readonly Signature[]>) => Promise<readonly Signature[]>;
  },
): Promise<readonly Signature[]> {
  const keys = await readKeys(new Set(good.map(keyName).filter((name) => name !== undefined)), dns);
  // What no signature covers tells nothing and costs time to read.
  const covered = new Set(["from", ...good.flatMap(({ covers }) => covers)]);
  covered.delete("dkim-signature");
  const kept = new Set(good.map(({ field }) => field));
  const dropped = header.fields.filter((field) => !covered.has(field.name) && !kept.has(field));
  // Behind the look-ups: whose name server is slow must not keep others from their turn.
  return await inTurn(async () => {
    const message = await read();
    // Fields that were not seen here would count there.
    if (header.end >= start.length && message.length > start.length) {
      return good.map((it) => refusal(it, "the header is too long"));
    }
    return await run({ message: alone(withoutFields(message, dropped)), keys });
  });
}

/** RFC 6376 §3.2, as far as it decides what is asked and what is covered; whether it is well formed is seen later. */
function readSignature(start: Uint8Array, field: Field, refused: string | undefined): Claimed {
  if (field.to - field.from > MAX_SIGNATURE) {
    return unread(field, refused ?? `the signature is longer than ${MAX_SIGNATURE} octets`);
  }
  const tags = new Map<string, string>();
  for (const spec of valueOf(start, field).split(";")) {
    const equals = spec.indexOf("=");
    if (equals > 0) tags.set(spec.slice(0, equals).trim(), spec.slice(equals + 1).trim());
  }
  // Blanks may stand anywhere in it.
  const signed = (tags.get("h") ?? "").replace(/\s+/g, "");
  const read = {
    field,
    domain: tags.get("d") ?? "",
    selector: tags.get("s") ?? "",
    algorithm: tags.get("a") ?? "",
    covers: signed.toLowerCase().split(":"),
  };
  if (refused !== undefined) return { ...read, refused };
  if (signed.length > MAX_SIGNED) return { ...read, refused: `h= is longer than ${MAX_SIGNED} signs` };
  return read;
}

function unread(field: Field, refused: string): Claimed {
  return { field, domain: "", selector: "", algorithm: "", covers: [], refused };
}

function refusal({ domain, selector, algorithm }: Claimed, reason: string): Signature {
  return {
    domain: printable(domain, 253),
    selector: printable(selector, 253),
    ...(algorithm === "" ? {} : { algorithm: printable(algorithm, 32) }),
    result: "policy",
    reason,
    aligned: false,
  };
}

/** Whether it is aligned is not known either: what rests on that has to wait. */
function unverified(claimed: Claimed): Signature {
  return { ...refusal(claimed, "it could not be verified in time"), result: "temperror", aligned: true };
}

/** Where the key of a signature stands (RFC 6376 §3.6.2.1). */
function keyName({ domain, selector }: Claimed): string | undefined {
  const name = parseDomain(`${selector}._domainkey.${domain}`);
  return domain === "" || selector === "" ? undefined : name;
}

async function readKeys(
  names: ReadonlySet<string>,
  dns: Dns,
): Promise<ReadonlyMap<string, readonly string[] | string>> {
  const questions = new Questions(dns);
  try {
    return new Map(
      await Promise.all([...names].map(async (name) => [name, await readKey(name, dns, questions.signal)] as const)),
    );
  } finally {
    questions.end();
  }
}

/** The records, or the code with which the other thread is told why there are none. */
async function readKey(name: string, dns: Dns, signal: AbortSignal): Promise<readonly string[] | string> {
  const found = await dns.txt(name, { signal });
  switch (found.outcome) {
    case "answer":
      return found.records.every(isShort) ? found.records : "ETOOLONG";
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

/** With a view, all of the buffer behind it would go to the other thread. */
function alone(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}
