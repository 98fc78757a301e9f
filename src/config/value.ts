/** The kinds of single values: how each is written, and what it becomes. */

import { isAbsolute, normalize, resolve } from "node:path";
import { formatMailbox, parseDomain, parseMailbox } from "../smtp/address.ts";
import { isSrs } from "../smtp/srs.ts";
import {
  type Endpoint,
  formatEndpoint,
  isLoopback,
  parseAddress,
  parseEndpoint,
  parseHost,
  parseHostName,
  parseNetwork,
} from "./network.ts";
import { nearest } from "./suggestion.ts";
import { type Failed, type Kind, type Place, show } from "./table.ts";
import { DURATIONS, formatQuantity, meantQuantity, parseQuantity, SIZES, type Units } from "./units.ts";

export const flag: Kind<boolean> = {
  read: (raw, place) => typeof raw === "boolean" ? raw : place.fail(`must be true or false, got ${show(raw)}`),
};

/** A whole number from `least` to `most`. */
export function whole(least: number, most: number): Kind<number> {
  return {
    read(raw, place) {
      if (typeof raw === "bigint" && raw >= least && raw <= most) return Number(raw);
      const hint = typeof raw === "string" && /^\d+$/.test(raw) ? `; write ${raw} without quotes` : "";
      return place.fail(`must be a whole number from ${least} to ${most}, got ${show(raw)}${hint}`);
    },
  };
}

/** A number from `least` to `most`, with or without a fraction. */
export function decimal(least: number, most: number): Kind<number> {
  return {
    read(raw, place) {
      const value = typeof raw === "bigint" ? Number(raw) : raw;
      if (typeof value === "number" && value >= least && value <= most) return value;
      const hint = typeof raw === "string" && /^-?\d+(\.\d+)?$/.test(raw) ? `; write ${raw} without quotes` : "";
      return place.fail(`must be a number from ${least} to ${most}, got ${show(raw)}${hint}`);
    },
  };
}

/** Bytes. The bounds are written like the value. */
export function size(least: string, most: string): Kind<number> {
  return quantity("size", "25MiB", SIZES, least, most);
}

/** Milliseconds. The bounds are written like the value. */
export function duration(least: string, most: string): Kind<number> {
  return quantity("duration", "5m", DURATIONS, least, most);
}

function quantity(what: string, example: string, units: Units, low: string, high: string): Kind<number> {
  const least = parseQuantity(low, units) ?? NaN, most = parseQuantity(high, units) ?? NaN;
  if (!(least <= most)) throw new RangeError(`"${low}" to "${high}" is no range of a ${what}`);
  const fits = (amount: number) => amount >= least && amount <= most;
  const range = `from "${formatQuantity(least, units)}" to "${formatQuantity(most, units)}"`;
  const names = [...units.keys()].reverse().join(", ");
  return {
    read(raw, place) {
      const amount = typeof raw === "string" ? parseQuantity(raw, units) : undefined;
      if (amount !== undefined) return fits(amount) ? amount : place.fail(`must be ${range}, got ${show(raw)}`);
      const written = typeof raw === "string" || typeof raw === "bigint" ? String(raw) : "";
      const meant = meantQuantity(written, units, fits) ?? example;
      return place.fail(`must be a ${what} with its unit (${names}), got ${show(raw)}; write "${meant}"`);
    },
  };
}

/** One of a few fixed words. */
export function choice<const Word extends string>(...words: readonly Word[]): Kind<Word> {
  return {
    read(raw, place) {
      const word = words.find((word) => word === raw);
      if (word !== undefined) return word;
      const meant = typeof raw === "string" ? nearest(raw, words) : undefined;
      return place.fail(
        `must be ${oneOf(words)}, got ${show(raw)}${meant === undefined ? "" : `; did you mean "${meant}"?`}`,
      );
    },
  };
}

function oneOf(words: readonly string[]): string {
  const quoted = words.map((word) => `"${word}"`);
  const last = quoted.pop() ?? "";
  return quoted.length === 0 ? last : `${quoted.join(", ")} or ${last}`;
}

/** One line of printable ASCII, 1 to `most` characters. */
export function printable(most: number): Kind<string> {
  return text(
    `printable ASCII, 1 to ${most} characters`,
    (raw) => /^[\x20-\x7e]+$/.test(raw) && raw.length <= most ? raw : undefined,
  );
}

/** A name that can stand in EHLO: at least two labels, no address. */
export const fullHostName: Kind<string> = text(
  'a host name with its domain, such as "mail.example.com"',
  (raw) => raw.includes(".") ? parseHostName(raw) : undefined,
  (raw) => raw.endsWith(".") && parseHostName(raw.slice(0, -1)) ? raw.slice(0, -1) : undefined,
);

/** A mail domain, in lower case and A-labels. */
export const domain: Kind<string> = text(
  'a domain, such as "example.com"',
  (raw) => raw.startsWith("[") || parseAddress(raw) ? undefined : parseDomain(raw),
  (raw) => raw.includes("@") ? parseDomain(raw.slice(raw.lastIndexOf("@") + 1)) : undefined,
);

/** A label before `._domainkey`. */
export const selector: Kind<string> = text(
  'a DKIM selector, letters, digits and "-", such as "s2026a"',
  (raw) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(raw) ? raw : undefined,
  (raw) => /^(.+)\._domainkey\b/i.exec(raw)?.[1],
);

/** `local@domain`, quoted where it has to be. */
export const mailbox: Kind<string> = {
  read(raw, place) {
    const address = typeof raw === "string" ? parseMailbox(raw) : undefined;
    if (address !== undefined && isSrs(address)) {
      return place.fail(
        `must not be a return path of forwarded mail, which takes bounces alone and expires, got ${show(raw)}`,
      );
    }
    return anyMailbox.read(raw, place);
  },
};

const anyMailbox: Kind<string> = text(
  'an address, such as "ann@example.com"',
  (raw) => {
    const address = parseMailbox(raw);
    return address && formatMailbox(address);
  },
  (raw) => /<([^<>]+@[^<>]+)>/.exec(raw)?.[1],
);

/** A network in CIDR notation: the address of the network, a slash, the length of the prefix. */
export const network: Kind<string> = text(
  'a network, such as "10.0.0.0/8" or "2001:db8::/32"',
  (raw) => {
    const found = parseNetwork(raw);
    return found?.exact ? found.network : undefined;
  },
  (raw) => {
    const address = parseAddress(raw.replace(/^\[(.*)\]$/, "$1"));
    return address ? `${address}/${address.includes(":") ? 128 : 32}` : parseNetwork(raw)?.network;
  },
);

/** Where to listen. Port 0 takes any free one. `usual` is the port that an error proposes. */
export function listenAddress(usual: number): Kind<Endpoint> {
  return endpoint(0, usual);
}

/** A server to connect to. `usual` is the port that an error proposes. */
export function server(usual: number): Kind<Endpoint> {
  return endpoint(1, usual);
}

function endpoint(leastPort: number, usual: number): Kind<Endpoint> {
  return {
    read(raw, place) {
      const written = typeof raw === "string" || typeof raw === "bigint" ? String(raw) : "";
      const found = parseEndpoint(written);
      if (found && found.port >= leastPort) return found;
      if (parseEndpoint(written.replace(/:\d+$/, ":1"))) {
        return place.fail(`must have a port from ${leastPort} to 65535, got ${show(raw)}`);
      }
      const port = /^(?:\*?:)?(\d{1,5})$/.exec(written)?.[1];
      const meant = port !== undefined && leastPort === 0 ? `[::]:${port}` : withPort(written, usual);
      return place.fail(`must be HOST:PORT, got ${show(raw)}${meant === undefined ? "" : `; write "${meant}"`}`);
    },
  };
}

/** The address of a DNS server; port 53 need not be named. Names cannot be looked up before there is a server. */
export const dnsServer: Kind<Endpoint> = text(
  'an IP address, with or without port, such as "127.0.0.1" or "[::1]:53"',
  (raw) => {
    const alone = parseAddress(raw.replace(/^\[(.*:.*)\]$/, "$1"));
    if (alone) return { hostname: alone, port: 53 };
    const endpoint = parseEndpoint(raw);
    return endpoint && endpoint.port > 0 && parseAddress(endpoint.hostname) ? endpoint : undefined;
  },
);

/** What was meant when only the port, or the brackets of an IPv6 address, are missing. */
function withPort(raw: string, port: number): string | undefined {
  const hostname = parseAddress(raw) ?? parseHost(raw);
  return hostname === undefined ? undefined : formatEndpoint({ hostname, port });
}

/** As `kind`, or "" for off, which becomes undefined. */
export function orOff<T>(kind: Kind<T>): Kind<T | undefined> {
  return { read: (raw, place) => raw === "" ? undefined : kind.read(raw, place) };
}

/** A path, made absolute from the folder of the configuration. Whether something is there is not asked here. */
export const path: Kind<string> = {
  read(raw, place): string | Failed {
    if (typeof raw !== "string" || raw === "" || raw.includes("\0")) {
      return place.fail(`must be a path, got ${show(raw)}`);
    }
    if (raw.startsWith("~")) return place.fail(`must be a path without "~", got ${show(raw)}; write it in full`);
    return isAbsolute(raw) ? normalize(raw) : resolve(place.folder, raw);
  },
};

/** The URL of a Deno KV server. In clear only on this machine: the token travels with each request. */
export const kvUrl: Kind<string> = {
  read(raw, place): string | Failed {
    const url = typeof raw === "string" ? URL.parse(raw) : null;
    // The value is not repeated: it may hold a password, and problems are logged.
    if (url && (url.username !== "" || url.password !== "")) {
      return place.fail("must not contain a user or a password; put the token into DENO_KV_ACCESS_TOKEN");
    }
    const here = url?.protocol === "http:" && isLoopback(url.hostname.replace(/^\[(.*)\]$/, "$1"));
    if (typeof raw === "string" && (here || url?.protocol === "https:")) return raw;
    return place.fail(`must be a URL that begins with "https://", or with "http://localhost", got ${show(raw)}`);
  },
};

/** A web address. In clear only on this machine. */
export const webUrl: Kind<string> = text(
  'a URL that begins with "https://", or with "http://localhost"',
  (raw) => {
    const url = URL.parse(raw);
    if (url === null || url.username !== "" || url.password !== "" || url.hash !== "") return undefined;
    const here = url.protocol === "http:" && isLoopback(url.hostname.replace(/^\[(.*)\]$/, "$1"));
    return here || url.protocol === "https:" ? url.href : undefined;
  },
  (raw) => /^http:\/\/[^@#]+$/.test(raw) ? raw.replace(/^http:/, "https:") : undefined,
);

/** A string that `parse` understands. `meant` gives what to write instead, where that can be told. */
function text<T>(
  what: string,
  parse: (raw: string) => T | undefined,
  meant: (raw: string) => string | undefined = () => undefined,
): Kind<T> {
  return {
    read(raw: unknown, place: Place): T | Failed {
      const value = typeof raw === "string" ? parse(raw) : undefined;
      if (value !== undefined) return value;
      const instead = typeof raw === "string" ? meant(raw) : undefined;
      return place.fail(`must be ${what}, got ${show(raw)}${instead === undefined ? "" : `; write "${instead}"`}`);
    },
  };
}
