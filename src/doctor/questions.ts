/** The DNS as the doctor asks it. */

import { isSameAddress } from "../dns/name.ts";
import type { Data, Dns, DnsRecord, Limits, Lookup, RecordType } from "../dns/records.ts";

type Ask = <T extends RecordType>(type: T, name: string, limits?: Limits) => Promise<Lookup<Data<T>>>;

/** When `signal` fires, every open question has timed out. */
export function endedBy(dns: Dns, signal: AbortSignal): Dns {
  const within = ({ signal: own }: Limits = {}) => ({
    signal: own === undefined ? signal : AbortSignal.any([own, signal]),
  });
  return {
    a: (name, limits) => dns.a(name, within(limits)),
    aaaa: (name, limits) => dns.aaaa(name, within(limits)),
    mx: (name, limits) => dns.mx(name, within(limits)),
    txt: (name, limits) => dns.txt(name, within(limits)),
    ptr: (name, limits) => dns.ptr(name, within(limits)),
    tlsa: (name, limits) => dns.tlsa(name, within(limits)),
    ask: (type, name, limits) => dns.ask(type, name, within(limits)),
  };
}

/**
 * The same world, but with these records in the place of all others of their name and type. So each record is judged by
 * itself: where an MX record is missing, `mx` in the SPF record is not wrong, too.
 */
export function supposing(dns: Dns, records: readonly DnsRecord[]): Dns {
  const ask: Ask = async (type, name, limits) => {
    const supposed = records.filter((record) => record.type === type && record.name === name.toLowerCase());
    if (supposed.length === 0) return await dns.ask(type, name, limits);
    const data = supposed.map((record) => record.data) as Data<typeof type>[];
    return { outcome: "answer", records: data, name, authenticated: false, ttl: 0 };
  };
  return {
    ...dns,
    a: (name, limits) => ask("A", name, limits),
    aaaa: (name, limits) => ask("AAAA", name, limits),
    mx: (name, limits) => ask("MX", name, limits),
    txt: (name, limits) => ask("TXT", name, limits),
    tlsa: (name, limits) => ask("TLSA", name, limits),
    ptr: (address, limits) => dns.ptr(address, limits),
    ask,
  };
}

/** All that a host name leads to. */
export interface Host {
  readonly addresses: readonly string[];
  /** Where its records stand: another name when it is only an alias (CNAME). */
  readonly name: string;
  /** Why not all addresses are known. */
  readonly reason?: string;
}

export async function lookUpHost(name: string, dns: Pick<Dns, "a" | "aaaa">): Promise<Host> {
  const found = await Promise.all([dns.a(name), dns.aaaa(name)]);
  const failed = found.find((answer) => "reason" in answer), answered = found.find((it) => it.outcome === "answer");
  return {
    addresses: found.flatMap((answer) => answer.outcome === "answer" ? answer.records : []),
    name: answered?.outcome === "answer" ? answered.name : name,
    ...(failed && "reason" in failed && { reason: failed.reason }),
  };
}

export function isAmong(address: string, addresses: readonly string[]): boolean {
  return addresses.some((one) => isSameAddress(one, address));
}
