/**
 * A small world of names, for `maildemon dev` and for tests, that answers as real zones do. Everything that is not
 * in it does not exist.
 */

import type { DnsRecord } from "../dns/records.ts";

/** How the server treats questions for a name, besides answering them. */
export type Behaviour =
  /** Answers with this code; says nothing; cuts off what goes by UDP; answers what was not asked. */
  | { readonly does: "servfail" | "refused" | "silent" | "truncate" | "wrong-id" | "wrong-question" }
  | { readonly does: "late"; readonly milliseconds: number }
  /** Answers with the AD bit, as a validating resolver does for signed names. */
  | { readonly does: "authentic" };

export interface Zone {
  /** By name; a name that only leads to others has no records. Wildcards stand under `*.name`. */
  readonly names: ReadonlyMap<string, readonly DnsRecord[]>;
  readonly behaviours: ReadonlyMap<string, Behaviour>;
}

export interface ZoneAnswer {
  readonly exists: boolean;
  /** The chain of CNAMEs, then what it leads to. */
  readonly records: readonly DnsRecord[];
  /** For a negative answer: the SOA above the name, when the zone has one. */
  readonly soa?: DnsRecord;
}

const MAX_CHAIN = 16;

export function makeZone(records: readonly DnsRecord[], behaviours: ReadonlyMap<string, Behaviour>): Zone {
  const names = new Map<string, DnsRecord[]>();
  for (const record of records) {
    const known = names.get(record.name);
    if (known === undefined) names.set(record.name, [record]);
    else known.push(record);
  }
  // RFC 4592 §2.2.2: a name that only leads to others exists too, without records of its own.
  for (const name of [...names.keys()]) {
    for (const ancestor of ancestors(name)) if (!names.has(ancestor)) names.set(ancestor, []);
  }
  return { names, behaviours };
}

/** `type` may be any word: a type that the zone does not know has no data. `name` in the form of `parseName`. */
export function lookIn(zone: Zone, name: string, type: string): ZoneAnswer {
  const records: DnsRecord[] = [];
  for (let at = name, step = 0;; step++) {
    const found = recordsOf(zone, at);
    if (found === undefined) return { exists: false, records, ...soaAbove(zone, at) };
    const asked = found.filter((record) => record.type === type);
    records.push(...asked);
    if (asked.length > 0) return { exists: true, records };
    const link = found.find((record) => record.type === "CNAME");
    if (link?.type !== "CNAME") return { exists: true, records, ...soaAbove(zone, at) };
    records.push(link);
    // A loop is handed out as it is written: the resolver has to see it.
    if (step === MAX_CHAIN || records.some((record) => record.name === link.data)) return { exists: true, records };
    at = link.data;
  }
}

/** The nearest behaviour: of the name itself, or of a wildcard above it. */
export function behaviourAt(zone: Zone, name: string): Behaviour | undefined {
  const exact = zone.behaviours.get(name);
  if (exact !== undefined) return exact;
  for (const ancestor of ancestors(name)) {
    const wild = zone.behaviours.get(`*.${ancestor}`);
    if (wild !== undefined) return wild;
  }
  return undefined;
}

function recordsOf({ names }: Zone, name: string): readonly DnsRecord[] | undefined {
  const exact = names.get(name);
  if (exact !== undefined) return exact;
  // RFC 4592 §3.3.1: only the wildcard right below the closest name that exists counts.
  const encloser = ancestors(name).find((ancestor) => names.has(ancestor));
  return encloser === undefined ? undefined : names.get(`*.${encloser}`)?.map((record) => ({ ...record, name }));
}

function soaAbove({ names }: Zone, name: string): { readonly soa?: DnsRecord } {
  for (const owner of [name, ...ancestors(name)]) {
    const soa = names.get(owner)?.find((record) => record.type === "SOA");
    if (soa !== undefined) return { soa };
  }
  return {};
}

/** `a.b.c` → `b.c`, `c`. */
function ancestors(name: string): string[] {
  const labels = name.split(".");
  return labels.slice(1).map((_, index) => labels.slice(index + 1).join("."));
}
