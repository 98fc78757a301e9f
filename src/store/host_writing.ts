/** What is written to make the record of a host another one: itself, its counts and its day of release. */

import type { Network } from "../smtp/network.ts";
import type { Mutation } from "./commits.ts";
import type { Agreement } from "./host_agreement.ts";
import { neighbourhoodsOf, weightOf } from "./host_counting.ts";
import { decodeHost, encodeHost, type HostRecord, networkKey } from "./host_record.ts";
import { KEY } from "./kv.ts";

export interface HostWriting {
  readonly host: Network;
  /** As it lies in the store, with this versionstamp. */
  readonly stored: HostRecord | undefined;
  readonly stamp: string | null;
  /** As it will lie there. */
  readonly current: HostRecord | undefined;
}

/** Holds only while the store is counted as it was agreed: also what moves no count in one way does in another. */
export function writingOf(
  { host, stored, stamp, current }: HostWriting,
  { check, counting, isKept }: Pick<Agreement, "check" | "counting" | "isKept">,
): Mutation[] {
  const key = networkKey(host);
  const mutations: Mutation[] = [
    ...check === undefined ? [] : [check],
    { do: "check", key: KEY.host(key), versionstamp: stamp },
    current === undefined
      ? { do: "delete", key: KEY.host(key) }
      : { do: "set", key: KEY.host(key), value: encodeHost(current) },
  ];
  const by = weightOf(current, counting) - weightOf(stored, counting);
  if (by !== 0n && isKept) {
    for (const network of neighbourhoodsOf(host, counting)) {
      mutations.push({ do: "sum", key: KEY.near(networkKey(network)), by: BigInt.asUintN(64, by) });
    }
  }
  const before = releaseOf(stored), after = releaseOf(current);
  if (before !== after && before !== undefined) mutations.push({ do: "delete", key: KEY.release(before, key) });
  if (before !== after && after !== undefined) {
    mutations.push({ do: "set", key: KEY.release(after, key), value: true });
  }
  return mutations;
}

/** As the record will tell it when it is read again. */
function releaseOf(host: HostRecord | undefined): number | undefined {
  if (host?.ban?.until === undefined || host.ban.over) return undefined;
  return decodeHost(encodeHost(host)).ban?.until;
}
