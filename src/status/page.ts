/** The status page, metrics and health over HTTP. HTML made here, no script, nothing from elsewhere. */

import { timingSafeEqual } from "node:crypto";
import { reasonOf } from "../log.ts";
import { type Counters, formatMetrics, type Gauges } from "./metrics.ts";
import { PageServer } from "./page_server.ts";
import { escape, unsubscribePage, type UnsubscribeParts } from "./unsubscribe_page.ts";

export interface PageSettings {
  readonly hostname: string;
  readonly port: number;
  /** Asked for on every path but the two of health; undefined: everybody may look. */
  readonly token: string | undefined;
}

export interface PageParts {
  /** Our name in the mail world. */
  readonly name: string;
  readonly version: string;
  readonly listeners: () => readonly { readonly kind: string; readonly host: string; readonly port: number }[];
  readonly gauges: () => Gauges;
  readonly counters: Counters;
  /** True while mail is taken. */
  readonly ready: () => boolean;
  /** For everybody, without the token; absent: there is no such page. */
  readonly unsubscribe: () => UnsubscribeParts | undefined;
}

export interface StatusServer {
  readonly port: number;
  /** What is shown from now on, and to whom. */
  configure(token: string | undefined, parts: PageParts): void;
  close(): Promise<void>;
}

/** What stands behind it is for everybody, and never asks for the token of the status page. */
const UNSUBSCRIBE = "/unsubscribe/";

const HEADERS = {
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/** Throws an Error with a sentence when the port cannot be had. */
export function openStatus(settings: PageSettings, parts: PageParts): StatusServer {
  const { hostname, port, token } = settings;
  let shown = { token, parts };
  const server = listen(hostname, port, (request) => respond(request, shown.token, shown.parts));
  return {
    port: server.port,
    configure: (token, parts) => void (shown = { token, parts }),
    close: () => server.close(),
  };
}

function listen(...where: ConstructorParameters<typeof PageServer>): PageServer {
  try {
    return new PageServer(...where);
  } catch (error) {
    const [hostname, port] = where, what = `Cannot show the status page on ${hostname} port ${port}`;
    if (error instanceof Deno.errors.AddrInUse) {
      throw new Error(
        `${what}: the port is taken. Choose another one for listen in [status]; if this server itself has it, at ` +
          "another address, restart it.",
      );
    }
    throw new Error(
      `${what}: ${reasonOf(error)}. Choose another address for listen in [status].`,
    );
  }
}

function respond(request: Request, token: string | undefined, parts: PageParts): Response | Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname.startsWith(UNSUBSCRIBE)) return respondUnsubscribe(request, pathname, parts.unsubscribe());
  if (request.method !== "GET" && request.method !== "HEAD") {
    return answer(405, "text/plain", "Only GET is known here.\n", { allow: "GET, HEAD" });
  }
  if (pathname === "/healthz") return answer(200, "text/plain", "ok\n");
  if (pathname === "/readyz") {
    return parts.ready() ? answer(200, "text/plain", "ready\n") : answer(503, "text/plain", "not ready\n");
  }
  if (!mayLook(request, token)) {
    return answer(401, "text/plain", "Send the token: Authorization: Bearer TOKEN\n", { "www-authenticate": "Bearer" });
  }
  if (pathname === "/metrics") {
    return answer(200, "text/plain; version=0.0.4", formatMetrics(parts.gauges(), parts.counters));
  }
  if (pathname === "/") return answer(200, "text/html", formatPage(parts));
  return answer(404, "text/plain", "Known here: / /metrics /healthz /readyz\n");
}

async function respondUnsubscribe(
  request: Request,
  pathname: string,
  parts: UnsubscribeParts | undefined,
): Promise<Response> {
  if (parts === undefined) return answer(404, "text/plain", "There is nothing here.\n");
  const { status, title, content } = await unsubscribePage(request, pathname.slice(UNSUBSCRIBE.length), parts);
  // RFC 9110 §15.5.6.
  return answer(status, "text/html", document(title, content), status === 405 ? { allow: "GET, HEAD, POST" } : {});
}

function mayLook(request: Request, token: string | undefined): boolean {
  if (token === undefined) return true;
  const given = new TextEncoder().encode(request.headers.get("authorization") ?? "");
  const wanted = new TextEncoder().encode(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

function answer(status: number, type: string, body: string, more: Record<string, string> = {}): Response {
  return new Response(body, { status, headers: { ...HEADERS, ...more, "content-type": `${type}; charset=utf-8` } });
}

/** The page as a whole. */
export function formatPage({ name, version, listeners, gauges, counters, ready }: PageParts): string {
  const now = gauges();
  const rows = (pairs: readonly (readonly [string, string | number])[]) =>
    pairs.map(([key, value]) => `<tr><th>${escape(key)}</th><td>${escape(String(value))}</td></tr>`).join("\n");
  return document(
    `${name}: maildemon`,
    `<h1>${escape(name)}</h1>
<p>maildemon ${escape(version)}, ${ready() ? "taking mail" : "not taking mail"}, up ${duration(now.uptime)}.</p>
<h2>Queue</h2>
<table>
${
      rows([
        ["Messages waiting", now.queued],
        ["Oldest", now.queued === 0 ? "none" : duration(now.oldest)],
        ["Deliveries under way", now.delivering],
        ["Destinations out of reach", now.resting],
      ])
    }
</table>
<h2>Listening</h2>
<table>
${
      rows([...listeners().map(({ kind, host, port }) => [kind, `${host} port ${port}`] as const), [
        "Connections now",
        now.connections,
      ]])
    }
</table>
<h2>In force</h2>
<table>
${
      rows([
        [
          "Configuration",
          now.reloadRefused ? "the one before: the new one was refused, see the log" : "as in its file",
        ],
        ["Certificate", certificateIn(now.certificate)],
      ])
    }
</table>
<h2>Since the start</h2>
<table>
${rows(counters.events())}
</table>`,
  );
}

/** A page with what stands in its body. */
function document(title: string, content: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escape(title)}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; margin: 0 0 2rem }
th { text-align: left; font-weight: normal; padding: .2rem 2rem .2rem 0; color: #555 }
td { padding: .2rem 0; font-variant-numeric: tabular-nums }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #161616 } th { color: #999 } }
</style>
</head>
<body>
${content}
</body>
</html>
`;
}

/** Seconds until it ends, as `Gauges` has them. */
function certificateIn(seconds: number | undefined): string {
  if (seconds === undefined) return "none";
  return seconds > 0 ? `ends in ${duration(seconds)}` : seconds < 0 ? "has ended" : "none that others trust";
}

/** Seconds in the two largest units that say something. */
function duration(seconds: number): string {
  const [days, hours, minutes] = [
    Math.floor(seconds / 86400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}
