/**
 * Every key of the configuration: what it may be, its default, and the line that explains it. Parser, defaults, types
 * and the test of config.example.toml follow from this table. A key that nothing uses does not belong here.
 */

import { acme } from "./acme.ts";
import { CHECKS, REPUTATION, STORIES, widerThanNear } from "./checks.ts";
import { formatEndpoint, isLoopback } from "./network.ts";
import { key, list, optional, type Place, required, section, table, type Values } from "./table.ts";
import { unsubscribe } from "./unsubscribe.ts";
import {
  choice,
  dnsServer,
  domain,
  duration,
  flag,
  fullHostName,
  kvUrl,
  listenAddress,
  mailbox,
  network,
  orOff,
  path,
  printable,
  selector,
  server,
  size,
  whole,
} from "./value.ts";

const DKIM = {
  selector: required(selector, "s2026a", "The label before ._domainkey in the DNS record."),
  key: required(path, "dkim/example.com.s2026a.pem", "Its private key: RSA of 1024 to 4096 bits, or Ed25519."),
};

const DOMAIN = {
  name: required(domain, "example.com", "A domain we take mail for; the first one is also that of a bare postmaster."),
  catch_all: optional(mailbox, "ann@example.com", "Who gets mail to addresses that do not exist; else it is refused."),
  default_forward: optional(
    mailbox,
    "ann@elsewhere.test",
    "Where mail of users goes who have no delivery of their own.",
  ),
  forward: key(
    choice("transparent", "rewrite"),
    "transparent",
    "What is forwarded leaves as it came, or rewritten: from our user, with FW in the subject.",
  ),
  forward_live: key(flag, false, "Forward while the sender waits, and refuse to him what the target refuses."),
  dkim: key(
    list(table(DKIM), { distinct: { text: (one) => one.selector.toLowerCase(), at: "selector" } }),
    [],
    'A key to sign its mail with. In one line: dkim = [{ selector = "s2026a", key = "FILE" }].',
  ),
};

const LISTENER = {
  address: required(listenAddress(25), "[::]:25", "Address and port; [::] takes IPv4 too; port 0 is any free one."),
  kind: required(choice("mx", "submission", "submissions"), "mx", "mx, submission (STARTTLS) or submissions (TLS)."),
  proxy_protocol_from: key(list(network), [], "Networks that must speak the PROXY protocol; others must not."),
};

const DNS = {
  servers: key(list(dnsServer), [], 'Such as "127.0.0.1" or "[::1]:53"; none: those of /etc/resolv.conf.'),
  trust_ad: key(flag, false, "Whether to believe the servers when they say that an answer was validated (DNSSEC)."),
};

const CERTIFICATE = {
  certificate: required(path, "tls/fullchain.pem", "Certificate, followed by those between it and its authority."),
  key: required(path, "tls/privkey.pem", "Its private key."),
};

const TLS = {
  certificate: optional(
    path,
    "tls/fullchain.pem",
    "Certificate with its chain, for clients that name no host we know.",
  ),
  key: optional(path, "tls/privkey.pem", "Its private key."),
  certificates: key(list(table(CERTIFICATE)), [], "More of them, chosen by the host name that the client asks for."),
  acme: optional(acme, {}, "A certificate from an authority that gives them out by itself, and renews them."),
};

const LIMITS = {
  max_message_size: key(size("64KiB", "1GiB"), "25MiB", "Largest message."), // RFC 5321 §4.5.3.1.7
  max_recipients: key(whole(100, 100_000), 1000, "Recipients of one message."), // RFC 5321 §4.5.3.1.8
  max_line: key(whole(1000, 1_000_000), 4096, "Octets of one line of a message."), // RFC 5321 §4.5.3.1.6
  max_command: key(whole(512, 65_536), 2048, "Octets of one command; AUTH may be longer."), // RFC 5321 §4.5.3.1.4
  // The beginning of a message that is kept in memory has as much (queue/draft).
  max_header: key(size("16KiB", "256KiB"), "256KiB", "Size of the header of a message."),
  max_header_fields: key(whole(100, 10_000), 1000, "Fields in the header of a message."),
  max_messages_per_session: key(whole(1, 1_000_000), 100, "Messages in one session."),
  max_errors: key(whole(1, 10_000), 20, "Errors in one session, after which it ends with 421."),
  max_hops: key(whole(10, 1000), 100, "Received lines, beyond which a message is taken to run in a circle."),
  max_connections: key(whole(1, 100_000), 1000, "Connections at a time."),
  max_connections_per_host: key(whole(1, 100_000), 50, "Connections at a time from one IPv4 address or IPv6 /64."),
  command_timeout: key(duration("1s", "1h"), "5m", "How long to wait for the next command."),
  data_timeout: key(duration("1s", "1h"), "3m", "How long to wait for the next piece of a message."),
  session_timeout: key(duration("1s", "1d"), "30m", "How long a session may last."),
  min_data_rate: key(size("0B", "1MiB"), "500B", 'How much of a message has to arrive each second; "0B" for any.'),
  greet_delay: key(
    duration("0s", "2m"),
    "0s",
    "How long to wait before the greeting; who speaks earlier is sent away.",
  ),
};

const MECHANISMS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"] as const;
const AUTH = {
  mechanisms: key(
    list(choice(...MECHANISMS), { least: 1, distinct: { text: (word) => word } }),
    MECHANISMS,
    "How users may sign in, always under TLS.",
  ),
  max_failures: key(whole(1, 1000), 3, "Failed logins from one IPv4 address or IPv6 /64 ..."),
  max_failures_per_login: key(whole(1, 1000), 10, "... or for one login from anywhere ..."),
  lockout: key(duration("1m", "30d"), "24h", "... within this time, which lock it for as long."),
};

const OUTBOUND_ROUTE = {
  domain: required(domain, "partner.test", "Mail for this domain ..."),
  via: required(server(25), "gateway.partner.test:25", "... goes to this server."),
  user: optional(printable(255), "maildemon", "Login there."),
  password_file: optional(path, "secrets/gateway.partner.test", "File with the password of that login."),
};

const OUTBOUND = {
  route: key(choice("direct", "smarthost", "capture"), "direct", "direct (MX), smarthost, or capture (only to files)."),
  smarthost: optional(server(587), "smtp.example.net:587", 'The server that gets all mail when route = "smarthost".'),
  smarthost_user: optional(printable(255), "example", "Login there."),
  smarthost_password_file: optional(path, "secrets/smarthost", "File with the password of that login."),
  concurrency: key(whole(1, 10_000), 100, "Connections at a time."),
  concurrency_per_domain: key(whole(1, 1000), 10, "Connections at a time to one domain."),
  allow_private: key(
    list(network),
    [],
    "Private networks that may be MX targets all the same; own addresses one by one.",
  ),
  port: key(whole(1, 65_535), 25, "Port of remote MX servers; for test networks."),
  retry: key(
    list(duration("1s", "7d"), { least: 1 }),
    ["5m", "10m", "20m", "40m", "1h", "2h", "4h"],
    "Waits between attempts; the last one repeats.",
  ),
  warn_after: key(duration("10m", "30d"), "4h", "Age at which the sender hears that a message still waits."),
  give_up_after: key(duration("1s", "30d"), "5d", "Age at which a message goes back to its sender ..."),
  min_attempts: key(whole(1, 1000), 8, "... but not before this many attempts."),
  connect_timeout: key(duration("1s", "1h"), "30s", "How long to wait for a connection."),
  command_timeout: key(duration("1s", "1h"), "5m", "How long to wait for the greeting and the answer to a command."),
  data_timeout: key(duration("1s", "1h"), "2m", "How long to wait for the answer to DATA."),
  block_timeout: key(duration("1s", "1h"), "3m", "How long one piece of a message may take."),
  final_timeout: key(duration("1s", "1h"), "10m", "How long to wait for the answer to the final dot."),
  routes: key(
    list(table(OUTBOUND_ROUTE, userWithPassword), { distinct: { text: (one) => one.domain, at: "domain" } }),
    [],
    "Domains whose mail goes to a server of your choice.",
  ),
};

const STATUS = {
  listen: key(orOff(listenAddress(8025)), "127.0.0.1:8025", 'Page, metrics and health; "" for none.'),
  token_file: optional(path, "secrets/status", "File with the token to see them; needed on any address but loopback."),
};

const LOG = {
  level: key(
    choice("debug", "info", "warning", "error"),
    "info",
    "The least that is logged: debug, info, warning, error.",
  ),
  format: key(choice("text", "json"), "text", "text (key=value) or json."),
};

export const SCHEMA = {
  hostname: required(fullHostName, "mail.example.com", "Our name in greetings and EHLO; must lead to us in the DNS."),
  store: key(path, "/var/lib/maildemon", "Folder for users, queue and mail."),
  kv: optional(kvUrl, "https://kv.example.com", "A Deno KV server to share users with other machines."),
  greeting: key(printable(200), "ESMTP", "Text after the host name in the greeting."),
  reload: key(
    choice("signal", "auto"),
    "signal",
    "When changes of this file count: signal (SIGHUP), or auto, as soon as it is written.",
  ),
  domains: required(
    list(table(DOMAIN), { least: 1, distinct: { text: (one) => one.name, at: "name" } }),
    [],
    "The domains we take mail for.",
  ),
  listeners: required(
    list(table(LISTENER), {
      least: 1,
      distinct: {
        text: ({ address }) => address.port === 0 ? undefined : formatEndpoint(address),
        at: "address",
      },
    }),
    [],
    "Where we listen, one for each address and port.",
  ),
  dns: section(table(DNS), "Name servers."),
  tls: section(table(TLS, certificateWithKey), "What we present to clients."),
  limits: section(table(LIMITS), "What one peer may ask of us."),
  auth: section(table(AUTH), "Signing in."),
  checks: section(table(CHECKS), "Is a message what it claims to be."),
  reputation: section(table(REPUTATION, widerThanNear), "The reputation of the hosts that call."),
  stories: section(table(STORIES), "What maildemon why can tell."),
  outbound: section(table(OUTBOUND, smarthostWithRoute), "Sending."),
  unsubscribe: section(unsubscribe, "Who wants no more mail of one of our users."),
  status: section(table(STATUS, tokenOffLoopback), "Watching it run."),
  log: section(table(LOG), "Logging, to standard error."),
};

/** What the file says, defaults filled in: sizes in bytes, durations in milliseconds, paths absolute. */
export type Settings = Values<typeof SCHEMA>;

function userWithPassword(route: Values<typeof OUTBOUND_ROUTE>, place: Place): void {
  bothOrNone(place, "user", route.user, "password_file", route.password_file);
}

function certificateWithKey({ certificate, key }: Values<typeof TLS>, place: Place): void {
  bothOrNone(place, "certificate", certificate, "key", key);
}

function smarthostWithRoute(outbound: Values<typeof OUTBOUND>, place: Place): void {
  const { route, smarthost, smarthost_user, smarthost_password_file } = outbound;
  bothOrNone(place, "smarthost_user", smarthost_user, "smarthost_password_file", smarthost_password_file);
  if (route === "smarthost" && smarthost === undefined) {
    place.below("smarthost").fail('is missing, but route is "smarthost"; write smarthost = "HOST:PORT"');
  }
  if (route === "smarthost") return;
  for (const [name, value] of Object.entries({ smarthost, smarthost_user })) {
    if (value === undefined) continue;
    place.below(name).fail(`is set, but route is "${route}"; write route = "smarthost" or remove it`);
    return;
  }
}

function tokenOffLoopback({ listen, token_file }: Values<typeof STATUS>, place: Place): void {
  if (listen === undefined || isLoopback(listen.hostname) || token_file !== undefined) return;
  place.below("token_file").fail(
    `is missing, but ${
      formatEndpoint(listen)
    } can be reached from outside; write token_file = "FILE" or listen on 127.0.0.1`,
  );
}

function bothOrNone(place: Place, first: string, one: unknown, second: string, other: unknown): void {
  if ((one === undefined) === (other === undefined)) return;
  const [there, missing] = one === undefined ? [second, first] : [first, second];
  place.below(there).fail(`needs ${missing} beside it; write both or none`);
}

/** What only several tables together can say. Tables that failed are missing and not looked at. */
export function checkTogether({ listeners, tls }: Partial<Settings>, place: Place): void {
  if (listeners === undefined || tls === undefined) return;
  if (tls.certificate !== undefined || tls.certificates.length > 0 || tls.acme !== undefined) return;
  for (const [index, { kind }] of listeners.entries()) {
    if (kind === "mx") continue;
    place.below("listeners").below(index).below("kind").fail(
      `"${kind}" needs a certificate; write certificate and key into [tls], or [tls.acme]`,
    );
  }
}
