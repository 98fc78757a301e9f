/** Where mail for a domain has to go: the servers in the order in which they are tried, or why there are none. */

import type { Dns, Lookup, Mx } from "../dns/records.ts";
import type { RemoteReply } from "../queue/entry.ts";
import { parseDomain } from "../smtp/address.ts";
import { parseIp } from "../smtp/network.ts";
import type { Judge } from "./network.ts";
import { localReply } from "./remote_reply.ts";

/** A server that the settings name. Its address is believed, wherever it lies. */
export interface Via {
  /** Name or address. */
  readonly host: string;
  /** 465 means TLS from the first byte. */
  readonly port: number;
  readonly credentials?: Credentials;
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export interface RouteSettings {
  /** Our name: an MX that bears it is we. Lower case. */
  readonly hostname: string;
  /** Domains (lower case, A-labels; `*` for all others) that go to a server of their own. */
  readonly routes: readonly { readonly domain: string; readonly via: Via }[];
  /** Everything else goes there, if set. */
  readonly smarthost?: Via;
  /** 25; another one in tests. */
  readonly port: number;
}

export interface RouteParts {
  readonly dns: Dns;
  readonly judge: Judge;
  /** In [0, 1). */
  readonly random?: () => number;
}

export interface Server {
  readonly name: string;
  readonly port: number;
  readonly preference: number;
  /** Both families by turns. Never empty. */
  readonly addresses: readonly string[];
  readonly credentials?: Credentials;
  /** RFC 2033: it answers for each recipient. Its name may be `unix:PATH`, and its address that path. */
  readonly lmtp?: true;
}

export type Route =
  | { readonly to: "servers"; readonly servers: readonly [Server, ...Server[]] }
  /** The code of the reply says for how long: 4yz later, 5yz never. */
  | { readonly to: "nowhere"; readonly reply: RemoteReply };

// More than any honest domain has. Each name costs look-ups, and a domain can list thousands.
const MAX_SERVERS = 10, MAX_ADDRESSES = 10;

/** Never rejects as long as the look-ups do not; they bring their own deadlines. */
export async function findRoute(text: string, settings: RouteSettings, parts: RouteParts): Promise<Route> {
  const domain = parseDomain(text);
  if (domain === undefined) return nowhere(550, "5.1.2", `${text} is not a domain name`, "local");
  const via = settings.routes.find((route) => route.domain === domain)?.via ??
    settings.routes.find((route) => route.domain === "*")?.via ?? settings.smarthost;
  if (via !== undefined) return await viaRoute(via, parts);
  // An address literal names a machine, not a domain that somebody published: it is how open relays are probed.
  if (domain.startsWith("[")) {
    return nowhere(550, "5.1.2", `mail to the address literal ${domain} is not sent`, "local");
  }

  const found = await parts.dns.mx(domain);
  switch (found.outcome) {
    case "answer":
      return await mxRoute(domain, found.records, settings, parts);
    case "no data":
      // RFC 5321 §5.1: without MX records the domain itself is its only server.
      return await mxRoute(domain, [{ exchange: domain, preference: 0 }], settings, parts);
    case "no such name":
      return nowhere(550, "5.1.2", `the domain ${domain} does not exist`);
    case "server failed":
    case "timed out":
      return nowhere(451, "4.4.3", `the mail servers of ${domain} could not be looked up: ${found.reason}`);
    default:
      return found satisfies never;
  }
}

/** `HOST:PORT` or `unix:PATH`, which the settings of a user name. */
export async function lmtpRoute(text: string, parts: Pick<RouteParts, "dns">): Promise<Route> {
  const common = { preference: 0, lmtp: true } as const;
  if (text.startsWith("unix:")) {
    return { to: "servers", servers: [{ ...common, name: text, port: 0, addresses: [text.slice("unix:".length)] }] };
  }
  const cut = text.lastIndexOf(":"), host = text.slice(0, cut).replace(/^\[(.*)\]$/, "$1");
  const route = await viaRoute({ host, port: Number(text.slice(cut + 1)) }, parts);
  return route.to === "nowhere" ? route : { to: "servers", servers: [{ ...route.servers[0], ...common }] };
}

async function viaRoute({ host, port, credentials }: Via, parts: Pick<RouteParts, "dns">): Promise<Route> {
  const found = await lookUp(host, parts.dns);
  if (found.addresses.length === 0) {
    // Whatever the DNS says, it is the settings that are wrong or early, and that is no fault of the mail.
    return nowhere(451, "4.4.3", `${host}, which the settings name, has no address: ${found.reason}`);
  }
  const server = { name: host, port, preference: 0, addresses: found.addresses.slice(0, MAX_ADDRESSES) };
  return { to: "servers", servers: [credentials === undefined ? server : { ...server, credentials }] };
}

async function mxRoute(
  domain: string,
  records: readonly Mx[],
  { hostname, port }: RouteSettings,
  { dns, judge, random = Math.random }: RouteParts,
): Promise<Route> {
  const named = records.filter((mx) => mx.exchange !== "" && mx.exchange !== ".");
  // RFC 7505 §3: it stands alone; next to others it is a mistake, and those others count.
  if (named.length === 0) return nowhere(556, "5.1.10", `${domain} takes no mail (null MX)`);

  const hosts = await Promise.all(
    inOrder(named, random).slice(0, MAX_SERVERS).map(async (mx) => {
      const { addresses, reason, lasting } = await lookUp(mx.exchange, dns);
      const standing = addresses.map(judge);
      const open = addresses.filter((_, index) => standing[index] === "public");
      return {
        mx,
        reason,
        lasting,
        open,
        found: addresses,
        ours: mx.exchange === hostname || standing.includes("own"),
      };
    }),
  );
  // RFC 5321 §5.1: a server in the list drops itself and all that are not better than itself, else two backups would
  // play ping-pong with the message.
  const ownPreference = Math.min(...hosts.filter((host) => host.ours).map((host) => host.mx.preference));
  const better = hosts.filter((host) => host.mx.preference < ownPreference);
  if (better.length === 0) {
    return nowhere(554, "5.4.6", `the best mail server of ${domain} is this one, which does not know the domain`);
  }
  const servers = better.filter((host) => host.open.length > 0).map(({ mx, open }): Server => (
    { name: mx.exchange, port, preference: mx.preference, addresses: open.slice(0, MAX_ADDRESSES) }
  ));
  const [best, ...others] = servers;
  if (best !== undefined) return { to: "servers", servers: [best, ...others] };

  const pending = better.find((host) => !host.lasting);
  if (pending !== undefined) {
    return nowhere(451, "4.4.3", `the address of ${pending.mx.exchange} could not be looked up: ${pending.reason}`);
  }
  const shut = better.find((host) => host.found.length > 0);
  if (shut !== undefined) {
    const where = `${shut.mx.exchange} [${shut.found[0]}]`;
    return nowhere(550, "5.4.4", `the mail server ${where} of ${domain} has a private or reserved address`);
  }
  return nowhere(550, "5.4.4", `no mail server of ${domain} has an address`);
}

/** RFC 5321 §5.1: by preference, equal ones at random, so that they share the load. */
function inOrder(records: readonly Mx[], random: () => number): Mx[] {
  const byName = new Map<string, Mx>();
  for (const mx of records) {
    const known = byName.get(mx.exchange);
    if (known === undefined || mx.preference < known.preference) byName.set(mx.exchange, mx);
  }
  return Array.from(byName.values(), (mx) => ({ mx, lot: random() }))
    .sort((a, b) => a.mx.preference - b.mx.preference || a.lot - b.lot)
    .map(({ mx }) => mx);
}

interface Found {
  readonly addresses: readonly string[];
  /** Why there are none. */
  readonly reason: string;
  /** False when a later look-up may find more. */
  readonly lasting: boolean;
}

async function lookUp(host: string, dns: Dns): Promise<Found> {
  if (parseIp(host) !== undefined) return { addresses: [host], reason: "", lasting: true };
  const [six, four] = await Promise.all([dns.aaaa(host), dns.a(host)]);
  const addresses = byTurns(recordsOf(six), recordsOf(four));
  const trouble = [six, four].find((found) => found.outcome === "server failed" || found.outcome === "timed out");
  if (trouble !== undefined && "reason" in trouble) return { addresses, reason: trouble.reason, lasting: false };
  return { addresses, reason: six.outcome === "no such name" ? "no such name" : "no address", lasting: true };
}

function recordsOf(found: Lookup<string>): readonly string[] {
  return found.outcome === "answer" ? found.records : [];
}

/** One family may lead nowhere from here; by turns, that costs one failed attempt and not all of them. */
function byTurns(one: readonly string[], other: readonly string[]): string[] {
  const longest = Math.max(one.length, other.length);
  return Array.from({ length: longest }, (_, index) => [one[index], other[index]]).flat()
    .filter((address) => address !== undefined);
}

function nowhere(code: number, enhanced: string, text: string, host = "dns"): Route {
  return { to: "nowhere", reply: localReply(code, enhanced, text, host) };
}
