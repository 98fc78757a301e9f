/** The words in which the other parts speak with the DNS. */

/** One record as it was read. Names are lower case, A-labels, without a final dot; the root is the empty string. */
export type DnsRecord =
  & { readonly name: string; /** Seconds. */ readonly ttl: number }
  & (
    | { readonly type: "A" | "AAAA"; /** An address in its usual notation. */ readonly data: string }
    | { readonly type: "CNAME" | "NS" | "PTR"; readonly data: string }
    | { readonly type: "MX"; readonly data: Mx }
    | { readonly type: "SOA"; readonly data: Soa }
    | { readonly type: "TLSA"; readonly data: Tlsa }
    | { readonly type: "TXT"; /** All its character-strings, joined without a blank. */ readonly data: string }
  );

export type RecordType = DnsRecord["type"];
/** What a record of this type says: `Data<"MX">` is `Mx`. */
export type Data<T extends RecordType> = T extends "MX" ? Mx : T extends "SOA" ? Soa : T extends "TLSA" ? Tlsa : string;

export interface Mx {
  /** Empty for the null MX (RFC 7505 §3). */
  readonly exchange: string;
  readonly preference: number;
}

/** RFC 6698 §2.1. */
export interface Tlsa {
  readonly usage: number;
  readonly selector: number;
  readonly matchingType: number;
  readonly data: Uint8Array;
}

/** RFC 1035 §3.3.13. Times in seconds. */
export interface Soa {
  readonly primary: string;
  readonly mailbox: string;
  readonly serial: number;
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  readonly minimum: number;
}

/**
 * What became of a question. Only `no such name` and `no data` say anything definite about the name; the last two
 * are the resolver's trouble, and nothing permanent may follow from them.
 */
export type Lookup<T> =
  | {
    readonly outcome: "answer";
    /** At least one, in the order in which they came. */
    readonly records: readonly T[];
    /** Where the records stand: the name asked for, or the end of its chain of CNAMEs. */
    readonly name: string;
    /** A validating resolver that we trust vouches for it (the AD bit). */
    readonly authenticated: boolean;
    /** Seconds for which it holds. */
    readonly ttl: number;
  }
  | { readonly outcome: "no such name" | "no data"; readonly authenticated: boolean; readonly ttl: number }
  | { readonly outcome: "server failed" | "timed out"; /** For the log and for `why`. */ readonly reason: string };

export interface Limits {
  /**
   * The budget of all look-ups of one message together. When it fires, what is still open has `timed out`. Who has none
   * asks for mail that is ours: some places are kept for that, however much callers make us ask.
   */
  readonly signal?: AbortSignal;
}

/** The questions that mail asks. None of these ever rejects. */
export interface Dns {
  /** IPv4 addresses of a host. */
  a(name: string, limits?: Limits): Promise<Lookup<string>>;
  /** IPv6 addresses of a host. */
  aaaa(name: string, limits?: Limits): Promise<Lookup<string>>;
  /** Mail exchanges in the order of the answer, not sorted by preference; only those that can be hosts. */
  mx(name: string, limits?: Limits): Promise<Lookup<Mx>>;
  /** One string for each record. */
  txt(name: string, limits?: Limits): Promise<Lookup<string>>;
  /** Names of an address. */
  ptr(address: string, limits?: Limits): Promise<Lookup<string>>;
  /** `name` is the whole name: `_25._tcp.mx.example.com`. */
  tlsa(name: string, limits?: Limits): Promise<Lookup<Tlsa>>;
  /** Any other type, and any type by its name. A CNAME is followed unless it is what was asked for. */
  ask<T extends RecordType>(type: T, name: string, limits?: Limits): Promise<Lookup<Data<T>>>;
}
