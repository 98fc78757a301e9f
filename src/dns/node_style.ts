/** The resolver in the shapes and error codes of `node:dns`, which is how mailauth asks. */

import type { Dns, Limits, Lookup, Mx } from "./records.ts";

/** TXT as `string[][]`, MX as `{ exchange, priority }[]`, all others as `string[]`. */
export type NodeStyleAnswer = string[] | string[][] | { exchange: string; priority: number }[];
/** Rejects with a NodeStyleError for everything but an answer. */
export type NodeStyleResolve = (name: string, type: string) => Promise<NodeStyleAnswer>;

export class NodeStyleError extends Error {
  override readonly name = "NodeStyleError";
  readonly code: "ENOTFOUND" | "ENODATA" | "ESERVFAIL" | "ETIMEOUT" | "ENOTIMP";

  constructor(code: NodeStyleError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** `limits.signal` is the budget of all questions that are asked through this one function. */
export function nodeStyle(dns: Pick<Dns, "ask" | "txt">, limits: Limits = {}): NodeStyleResolve {
  return async (name, type) => {
    switch (type) {
      case "A":
      case "AAAA":
      case "CNAME":
      case "NS":
      // The name of a PTR question arrives already reversed: `1.2.0.192.in-addr.arpa`.
      case "PTR":
        return [...records(await dns.ask(type, name, limits), name, type)];
      case "TXT":
        return records(await dns.txt(name, limits), name, type).map((text) => [text]);
      case "MX":
        return records(await dns.ask("MX", name, limits), name, type).map(nodeMx);
      default:
        throw new NodeStyleError("ENOTIMP", `Cannot look up ${type} of ${name}: not a type that mail checks need`);
    }
  };
}

function nodeMx({ exchange, preference }: Mx): { exchange: string; priority: number } {
  return { exchange, priority: preference };
}

function records<T>(lookup: Lookup<T>, name: string, type: string): readonly T[] {
  switch (lookup.outcome) {
    case "answer":
      return lookup.records;
    case "no such name":
      throw new NodeStyleError("ENOTFOUND", `${name} does not exist`);
    case "no data":
      throw new NodeStyleError("ENODATA", `${name} has no ${type} record`);
    case "server failed":
      throw new NodeStyleError("ESERVFAIL", `Cannot look up ${type} of ${name}: ${lookup.reason}`);
    case "timed out":
      throw new NodeStyleError("ETIMEOUT", `Cannot look up ${type} of ${name}: ${lookup.reason}`);
    default:
      return lookup satisfies never;
  }
}
