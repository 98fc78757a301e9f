/** The listeners of the configuration: bound before anything else changes, and closed only when the next ones are in. */

import { type Connect, type Door, type Guests, Listener } from "../accept/listener.ts";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import { parseNetwork } from "../smtp/network.ts";
import type { Prepared } from "./prepared.ts";

type Wanted = Config["listeners"][number];

export class Listening {
  readonly #guests: Guests;
  readonly #connect: Connect;
  readonly #log: Log;
  #open = new Map<string, Listener>();

  constructor(guests: Guests, connect: Connect, log: Log) {
    this.#guests = guests;
    this.#connect = connect;
    this.#log = log;
  }

  /** In the order of the configuration. */
  get addresses(): readonly Listener["address"][] {
    return [...this.#open.values()].map(({ address }) => address);
  }

  /** Throws, with nothing bound, when an address cannot be had. Who is in stays, whatever is closed then. */
  prepare(wanted: readonly Wanted[]): Prepared {
    const next = new Map<string, { readonly listener: Listener; readonly settings: ReturnType<typeof settingsOf> }>();
    const fresh = new Set<Listener>();
    const cancel = () => {
      for (const listener of fresh) listener.close();
      fresh.clear();
    };
    try {
      for (const one of wanted) {
        const settings = settingsOf(one), key = this.#keyOf(settings, next);
        const kept = this.#open.get(key), listener = kept ?? this.#bind(settings);
        if (kept === undefined) fresh.add(listener);
        next.set(key, { listener, settings });
      }
    } catch (error) {
      cancel();
      throw error;
    }
    const use = () => {
      for (const [key, listener] of this.#open) if (!next.has(key)) this.#end(listener);
      this.#open = new Map([...next].map(([key, { listener }]) => [key, listener]));
      for (const { listener, settings } of next.values()) {
        listener.configure(settings);
        if (!fresh.has(listener)) continue;
        listener.run();
        this.#log("info", "listening", { ...listener.address });
      }
      fresh.clear();
    };
    return { use, cancel };
  }

  close(): void {
    for (const listener of this.#open.values()) listener.close();
    this.#open.clear();
  }

  /** Several may have port 0, "any free one": they are told apart by their kind and their order. */
  #keyOf({ host, port, kind }: ReturnType<typeof settingsOf>, next: ReadonlyMap<string, unknown>): string {
    if (port !== 0) return `${host} ${port}`;
    let key = `${host} ${kind}`;
    while (next.has(key)) key += "+";
    return key;
  }

  #bind(settings: ReturnType<typeof settingsOf>): Listener {
    try {
      return new Listener(settings, this.#guests, this.#connect, this.#log);
    } catch (error) {
      const { host, port } = settings, isTaken = error instanceof Error && error.cause instanceof Deno.errors.AddrInUse;
      if (!isTaken || ![...this.#open.values()].some(({ address }) => address.port === port)) throw error;
      throw new Error(
        `Cannot listen on ${host} port ${port}: this server itself has that port at another address. Restart it to ` +
          "move it.",
      );
    }
  }

  #end(listener: Listener): void {
    const { address } = listener;
    listener.close();
    this.#log("info", "listening-ended", { ...address });
  }
}

function settingsOf({ address, kind, proxy_protocol_from }: Wanted) {
  const proxies = proxy_protocol_from.map(parseNetwork).filter((network) => network !== undefined);
  return { host: address.hostname, port: address.port, kind, proxies };
}

/** How many may be in. */
export function doorOf({ limits }: Config): Door {
  return { maxConnections: limits.max_connections, maxConnectionsPerHost: limits.max_connections_per_host };
}
