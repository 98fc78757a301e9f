/** The value of `[checks] spam`: who gives a message its score. */

import { formatEndpoint, parseAddress, parseEndpoint, parseHost } from "./network.ts";
import { nearest } from "./suggestion.ts";
import { type Failed, type Kind, type Place, show } from "./table.ts";

export type SpamScorer =
  | { readonly by: "builtin" }
  | { readonly by: "off" }
  | { readonly by: "rspamd"; readonly url: string }
  | { readonly by: "spamd"; readonly host: string; readonly port: number };

/** Where they are when nobody says otherwise: an error proposes these. */
const RSPAMD_PORT = 11333, SPAMD_PORT = 783, HERE = "127.0.0.1";

/** `builtin`, `off`, `rspamd:URL` of its normal worker, `spamd:HOST:PORT`. */
export const scorer: Kind<SpamScorer> = {
  read(raw, place): SpamScorer | Failed {
    if (raw === "builtin" || raw === "off") return { by: raw };
    const text = typeof raw === "string" ? raw : "";
    if (text.startsWith("rspamd:")) return rspamdAt(text.slice("rspamd:".length), place);
    if (text.startsWith("spamd:")) return spamdAt(text.slice("spamd:".length), place);
    if (hasPassword(urlIn(text))) return place.fail(NO_PASSWORD);
    const meant = meantScorer(text);
    return place.fail(
      `must be "builtin", "off", "rspamd:URL" or "spamd:HOST:PORT", got ${show(raw)}${instead(meant)}`,
    );
  },
};

// The value is not repeated then: problems are logged.
const NO_PASSWORD = "must not contain a user or a password; rspamd's normal worker asks for none";

/** The URL may have a path, for a proxy that has rspamd below it; it comes back without a slash at its end. */
function rspamdAt(where: string, place: Place): SpamScorer | Failed {
  const url = urlIn(where);
  if (hasPassword(url)) return place.fail(NO_PASSWORD);
  const path = url?.pathname.replace(/\/+$/, "").replace(/\/checkv2$/, "");
  const whole = url && `${url.origin}${path}`;
  if (url && url.port !== "0" && !/[?#\s]|\/checkv2\/*$/.test(where)) return { by: "rspamd", url: `${whole}` };
  const endpoint = endpointIn(where, RSPAMD_PORT);
  const meant = url?.port === "0" ? undefined : whole ?? (endpoint && `http://${endpoint}`);
  return place.fail(
    `must have a URL with "http://" or "https://" behind "rspamd:", got ${show(`rspamd:${where}`)}` +
      instead(meant && `rspamd:${meant}`),
  );
}

function spamdAt(where: string, place: Place): SpamScorer | Failed {
  const server = parseEndpoint(where);
  if (server && server.port > 0) return { by: "spamd", host: server.hostname, port: server.port };
  const meant = endpointIn(where, SPAMD_PORT);
  return place.fail(
    `must have HOST:PORT behind "spamd:", got ${show(`spamd:${where}`)}${instead(meant && `spamd:${meant}`)}`,
  );
}

/** A URL of the web, and nothing that only looks like one. */
function urlIn(text: string): URL | undefined {
  return /^https?:\/\//i.test(text) ? URL.parse(text) ?? undefined : undefined;
}

function hasPassword(url: URL | undefined): boolean {
  return url !== undefined && (url.username !== "" || url.password !== "");
}

function meantScorer(text: string): string | undefined {
  if (urlIn(text)) return `rspamd:${text}`;
  switch (nearest(text, ["builtin", "off", "none", "rspamd", "spamd", "spamassassin"])) {
    case "builtin":
      return "builtin";
    case "off":
    case "none":
      return "off";
    case "rspamd":
      return `rspamd:http://${HERE}:${RSPAMD_PORT}`;
    case "spamd":
    case "spamassassin":
      return `spamd:${HERE}:${SPAMD_PORT}`;
    default:
      return undefined;
  }
}

/** What was meant when there is another scheme, or when the port, the host, or the brackets of an IPv6 address are missing. */
function endpointIn(written: string, usual: number): string | undefined {
  const where = written.replace(/^(?:https?:|[a-z]+:(?=\/\/))?\/*/i, "");
  const whole = parseEndpoint(where);
  if (whole) return whole.port > 0 ? formatEndpoint(whole) : undefined;
  if (where === "") return `${HERE}:${usual}`;
  if (/^\d{1,5}$/.test(where)) return `${HERE}:${where}`;
  const hostname = parseAddress(where) ?? parseHost(where);
  return hostname === undefined ? undefined : formatEndpoint({ hostname, port: usual });
}

function instead(meant: string | undefined): string {
  return meant === undefined ? "" : `; write "${meant}"`;
}
