/** Configurations with one mistake each, and the line that says so. */

const WHOLE = `hostname = "mail.example.com"
store = "/var/lib/maildemon"

[[domains]]
name = "example.com"

[[listeners]]
address = "[::]:25"
kind = "mx"
`;

interface Broken {
  readonly text: string;
  /** Line number, key and sentence. */
  readonly says: string;
}

/** `WHOLE` with `instead` in place of `part`. */
function swap(part: string, instead: string, says: string): Broken {
  return { text: WHOLE.replace(part, () => instead), says };
}

/** `WHOLE` with `more` behind it, beginning at line 10. */
function add(more: string, says: string): Broken {
  return { text: `${WHOLE}${more}\n`, says };
}

const HOST = 'hostname = "mail.example.com"';
const NAME = 'name = "example.com"';
const ADDRESS = 'address = "[::]:25"';

export const BROKEN: readonly Broken[] = [
  // Keys.
  swap(HOST, "", '1: hostname: is missing; write hostname = "mail.example.com"'),
  swap(HOST, `${HOST}\ngreting = "hello"`, '2: greting: is not a known key; did you mean "greeting"?'),
  swap(
    HOST,
    `${HOST}\n"__proto__" = 1`,
    "2: __proto__: is not a known key; allowed here: hostname, store, kv, greeting, reload, domains, listeners, dns, tls, limits, auth, checks, reputation, stories, outbound, unsubscribe, status, log",
  ),
  swap(
    HOST,
    `${HOST}\n"__proto__".store = 1`,
    "2: __proto__: is not a known key; allowed here: hostname, store, kv, greeting, reload, domains, listeners, dns, tls, limits, auth, checks, reputation, stories, outbound, unsubscribe, status, log",
  ),
  swap(HOST, `${HOST}\nmax_recipients = 500`, "2: max_recipients: is not a key here; it belongs in [limits]"),
  add(
    "constructor = 1",
    "10: listeners[0].constructor: is not a known key; allowed here: address, kind, proxy_protocol_from",
  ),
  add(
    'greeting = "hello"',
    "10: listeners[0].greeting: is not a key here; it belongs at the top, before the first [table]",
  ),
  add(
    "toString.x = 1",
    "10: listeners[0].toString: is not a known key; allowed here: address, kind, proxy_protocol_from",
  ),
  add(
    '[acme]\nemail = "ann@example.com"',
    "10: acme: is not a key here; it belongs in [tls]",
  ),
  add("[limits]\nmaxRecipients = 500", '11: limits.maxRecipients: is not a known key; did you mean "max_recipients"?'),
  add(
    "[limits]\nmax-recipients = 500",
    '11: limits.max-recipients: is not a known key; did you mean "max_recipients"?',
  ),
  add(
    "limits = { max_recipient = 500 }",
    "10: listeners[0].limits: is not a key here; it belongs at the top, before the first [table]",
  ),
  add("[limit]", '10: limit: is not a known key; did you mean "limits"?'),
  swap('kind = "mx"', "", '7: listeners[0].kind: is missing; write kind = "mx"'),
  swap(NAME, "", '4: domains[0].name: is missing; write name = "example.com"'),

  // Kinds of value.
  swap(HOST, "hostname = 5", '1: hostname: must be a host name with its domain, such as "mail.example.com", got 5'),
  swap(
    HOST,
    'hostname = "mail"',
    '1: hostname: must be a host name with its domain, such as "mail.example.com", got "mail"',
  ),
  swap(
    HOST,
    'hostname = "[192.0.2.1]"',
    '1: hostname: must be a host name with its domain, such as "mail.example.com", got "[192.0.2.1]"',
  ),
  swap(
    HOST,
    'hostname = "192.0.2.1"',
    '1: hostname: must be a host name with its domain, such as "mail.example.com", got "192.0.2.1"',
  ),
  swap(
    HOST,
    'hostname = "mail.example.com."',
    '1: hostname: must be a host name with its domain, such as "mail.example.com", got "mail.example.com."; write "mail.example.com"',
  ),
  swap(
    HOST,
    'hostname = "mail_1.example.com"',
    '1: hostname: must be a host name with its domain, such as "mail.example.com", got "mail_1.example.com"',
  ),
  swap('"/var/lib/maildemon"', '""', '2: store: must be a path, got ""'),
  swap('"/var/lib/maildemon"', '"~/mail"', '2: store: must be a path without "~", got "~/mail"; write it in full'),
  swap(
    HOST,
    `${HOST}\ngreeting = "ESMTP\\r\\n250 hello"`,
    '2: greeting: must be printable ASCII, 1 to 200 characters, got "ESMTP\\r\\n250 hello"',
  ),
  swap(
    HOST,
    `${HOST}\nkv = "http://kv.example.com"`,
    '2: kv: must be a URL that begins with "https://", or with "http://localhost", got "http://kv.example.com"',
  ),
  swap(
    HOST,
    `${HOST}\nkv = "https://user:secret@kv.example.com"`,
    "2: kv: must not contain a user or a password; put the token into DENO_KV_ACCESS_TOKEN",
  ),
  swap(
    NAME,
    'name = "@example.com"',
    '5: domains[0].name: must be a domain, such as "example.com", got "@example.com"; write "example.com"',
  ),
  swap(
    NAME,
    'name = "exa mple.com"',
    '5: domains[0].name: must be a domain, such as "example.com", got "exa mple.com"',
  ),
  swap(
    NAME,
    `${NAME}\ncatch_all = "ann"`,
    '6: domains[0].catch_all: must be an address, such as "ann@example.com", got "ann"',
  ),
  swap(
    NAME,
    `${NAME}\ndefault_forward = "Ann <ann@elsewhere.test>"`,
    '6: domains[0].default_forward: must be an address, such as "ann@example.com", got "Ann <ann@elsewhere.test>"; write "ann@elsewhere.test"',
  ),
  swap(
    NAME,
    `${NAME}\ndkim = [{ selector = "s1._domainkey.example.com", key = "s1.pem" }]`,
    '6: domains[0].dkim[0].selector: must be a DKIM selector, letters, digits and "-", such as "s2026a", got "s1._domainkey.example.com"; write "s1"',
  ),
  swap(
    NAME,
    `${NAME}\ndkim = [\n  { selector = "s1" },\n]`,
    '7: domains[0].dkim[0].key: is missing; write key = "dkim/example.com.s2026a.pem"',
  ),
  swap(
    NAME,
    `${NAME}\ndkim = [\n  # = [ {\n  { selector = "s1",\n    key = 7 },\n]`,
    "9: domains[0].dkim[0].key: must be a path, got 7",
  ),
  swap(ADDRESS, "address = 25", '8: listeners[0].address: must be HOST:PORT, got 25; write "[::]:25"'),
  swap(ADDRESS, 'address = "25"', '8: listeners[0].address: must be HOST:PORT, got "25"; write "[::]:25"'),
  swap(ADDRESS, 'address = "*:25"', '8: listeners[0].address: must be HOST:PORT, got "*:25"; write "[::]:25"'),
  swap(
    ADDRESS,
    'address = "127.0.0.1"',
    '8: listeners[0].address: must be HOST:PORT, got "127.0.0.1"; write "127.0.0.1:25"',
  ),
  swap(ADDRESS, 'address = "::1"', '8: listeners[0].address: must be HOST:PORT, got "::1"; write "[::1]:25"'),
  swap(
    ADDRESS,
    'address = "[::]:65536"',
    '8: listeners[0].address: must have a port from 0 to 65535, got "[::]:65536"',
  ),
  swap(ADDRESS, 'address = "256.0.0.1:25"', '8: listeners[0].address: must be HOST:PORT, got "256.0.0.1:25"'),
  swap(
    'kind = "mx"',
    'kind = "submision"',
    '9: listeners[0].kind: must be "mx", "submission" or "submissions", got "submision"; did you mean "submission"?',
  ),
  add(
    "proxy_protocol_from = [10]",
    '10: listeners[0].proxy_protocol_from[0]: must be a network, such as "10.0.0.0/8" or "2001:db8::/32", got 10',
  ),
  add(
    'proxy_protocol_from = "10.0.0.0/8"',
    '10: listeners[0].proxy_protocol_from: must be a list, got "10.0.0.0/8"; write ["10.0.0.0/8"]',
  ),
  add(
    'proxy_protocol_from = ["192.0.2.0/24", "10.1.0.0/8"]',
    '10: listeners[0].proxy_protocol_from[1]: must be a network, such as "10.0.0.0/8" or "2001:db8::/32", got "10.1.0.0/8"; write "10.0.0.0/8"',
  ),
  add(
    'proxy_protocol_from = ["10.0.0.1"]',
    '10: listeners[0].proxy_protocol_from[0]: must be a network, such as "10.0.0.0/8" or "2001:db8::/32", got "10.0.0.1"; write "10.0.0.1/32"',
  ),
  add(
    'proxy_protocol_from = ["2001:db8::/129"]',
    '10: listeners[0].proxy_protocol_from[0]: must be a network, such as "10.0.0.0/8" or "2001:db8::/32", got "2001:db8::/129"',
  ),
  add(
    '[dns]\nservers = ["dns.example.com:53"]',
    '11: dns.servers[0]: must be an IP address, with or without port, such as "127.0.0.1" or "[::1]:53", got "dns.example.com:53"',
  ),
  add('[dns]\ntrust_ad = "yes"', '11: dns.trust_ad: must be true or false, got "yes"'),
  add(
    "[limits]\nmax_message_size = 25",
    '11: limits.max_message_size: must be a size with its unit (B, kB, KiB, MB, MiB, GiB), got 25; write "25MiB"',
  ),
  add(
    '[limits]\nmax_message_size = "25 mb"',
    '11: limits.max_message_size: must be a size with its unit (B, kB, KiB, MB, MiB, GiB), got "25 mb"; write "25MB"',
  ),
  add(
    '[limits]\nmax_message_size = "25M"',
    '11: limits.max_message_size: must be a size with its unit (B, kB, KiB, MB, MiB, GiB), got "25M"; write "25MiB"',
  ),
  add('[limits]\nmax_message_size = "1KiB"', '11: limits.max_message_size: must be from "64KiB" to "1GiB", got "1KiB"'),
  add(
    '[limits]\nmax_message_size = "-1MiB"',
    '11: limits.max_message_size: must be a size with its unit (B, kB, KiB, MB, MiB, GiB), got "-1MiB"; write "25MiB"',
  ),
  add("[limits]\nmax_recipients = 99", "11: limits.max_recipients: must be a whole number from 100 to 100000, got 99"),
  add(
    "[limits]\nmax_recipients = 500.0",
    "11: limits.max_recipients: must be a whole number from 100 to 100000, got 500.0",
  ),
  add(
    '[limits]\nmax_recipients = "500"',
    '11: limits.max_recipients: must be a whole number from 100 to 100000, got "500"; write 500 without quotes',
  ),
  add(
    "[limits]\nmax_recipients = 99999999999999999999",
    "11: limits.max_recipients: must be a whole number from 100 to 100000, got 99999999999999999999",
  ),
  add("[limits]\nmax_line = 999", "11: limits.max_line: must be a whole number from 1000 to 1000000, got 999"),
  add("[limits]\nmax_command = 511", "11: limits.max_command: must be a whole number from 512 to 65536, got 511"),
  add(
    "[limits]\ncommand_timeout = 300",
    '11: limits.command_timeout: must be a duration with its unit (ms, s, m, h, d), got 300; write "300s"',
  ),
  add(
    '[limits]\ncommand_timeout = "5min"',
    '11: limits.command_timeout: must be a duration with its unit (ms, s, m, h, d), got "5min"; write "5m"',
  ),
  add('[limits]\ncommand_timeout = "0s"', '11: limits.command_timeout: must be from "1s" to "1h", got "0s"'),
  add(
    '[limits]\ncommand_timeout = ["5m"]',
    '11: limits.command_timeout: must be a duration with its unit (ms, s, m, h, d), got a list; write "5m"',
  ),
  add(
    "[limits]\ncommand_timeout = 1979-05-27",
    '11: limits.command_timeout: must be a duration with its unit (ms, s, m, h, d), got a date; write "5m"',
  ),
  add(
    '[auth]\nmechanisms = ["PLAIN", "SCRAM-SHA-1"]',
    '11: auth.mechanisms[1]: must be "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN" or "LOGIN", got "SCRAM-SHA-1"; did you mean "SCRAM-SHA-256"?',
  ),
  add("[auth]\nmax_failures = 0", "11: auth.max_failures: must be a whole number from 1 to 1000, got 0"),
  add(
    '[auth]\nmax_failures_per_login = "10"',
    '11: auth.max_failures_per_login: must be a whole number from 1 to 1000, got "10"; write 10 without quotes',
  ),
  add('[auth]\nlockout = "30s"', '11: auth.lockout: must be from "1m" to "30d", got "30s"'),
  add(
    "[auth]\nlockout = 24",
    '11: auth.lockout: must be a duration with its unit (ms, s, m, h, d), got 24; write "24m"',
  ),
  add("[auth]\nmechanisms = []", "11: auth.mechanisms: must have at least one element"),
  add(
    '[auth]\nmechanisms = [\n  "PLAIN",\n  "PLAIN",\n]',
    '13: auth.mechanisms[1]: "PLAIN" repeats auth.mechanisms[0]; remove one of them',
  ),
  add(
    '[checks]\nhelo = "refuse"',
    '11: checks.helo: must be "note", "off" or "reject", got "refuse"',
  ),
  add(
    '[checks]\ndkim = "reject"',
    '11: checks.dkim: must be "note", "off" or "reject-fail", got "reject"; did you mean "reject-fail"?',
  ),
  add(
    '[checks]\nspam_limit = "5"',
    '11: checks.spam_limit: must be a number from -100 to 10000, got "5"; write 5 without quotes',
  ),
  add(
    "[checks]\ndnsbl = [{ weight = 4 }]",
    '11: checks.dnsbl[0].zone: is missing; write zone = "dnsbl.example.net"',
  ),
  add("[checks.weights]\nspf_fial = 4", '11: checks.weights.spf_fial: is not a known key; did you mean "spf_fail"?'),
  add("[reputation]\nratio = 2", "11: reputation.ratio: must be a number from 0.1 to 1, got 2"),
  add(
    '[reputation]\nmode = "on"',
    '11: reputation.mode: must be "auto", "observe", "enforce" or "off", got "on"',
  ),
  add(
    "[reputation]\nipv6_near = 48",
    "11: reputation.ipv6_near: must be greater than ipv6_wide = 48, got 48",
  ),
  add(
    '[reputation]\nexempt = ["10.0.0.1"]',
    '11: reputation.exempt[0]: must be a network, such as "10.0.0.0/8" or "2001:db8::/32", got "10.0.0.1"; write "10.0.0.1/32"',
  ),
  add(
    "[stories]\nkeep = 30",
    '11: stories.keep: must be a duration with its unit (ms, s, m, h, d), got 30; write "30h"',
  ),
  add(
    "[checks]\nspf = true",
    '11: checks.spf: must be "reject-unsigned", "off", "note", "reject-fail" or "require-pass", got true',
  ),
  add(
    '[log]\nlevel = "warn"',
    '11: log.level: must be "debug", "info", "warning" or "error", got "warn"; did you mean "warning"?',
  ),

  // Tables and lists.
  swap("[[domains]]", "[domains]", "4: domains: must be a list, got a table; write [[domains]]"),
  swap("[[listeners]]", "[listeners]", "7: listeners: must be a list, got a table; write [[listeners]]"),
  add("[[limits]]\nmax_recipients = 500", "10: limits: must be one table, got a list; write [limits] once"),
  swap(HOST, `${HOST}\nlimits = 5`, "2: limits: must be a table, got 5; write [limits]"),
  swap('[[domains]]\nname = "example.com"\n', "", "1: domains: is missing; write [[domains]]"),
  swap('[[domains]]\nname = "example.com"\n', "domains = []\n", "4: domains: must have at least one element"),

  // What several keys say together.
  add('[[domains]]\nname = "EXAMPLE.com"', '11: domains[1].name: "example.com" repeats domains[0]; remove one of them'),
  swap(
    NAME,
    `${NAME}\ndkim = [{ selector = "s1", key = "a" }, { selector = "S1", key = "b" }]`,
    '6: domains[0].dkim[1].selector: "s1" repeats domains[0].dkim[0]; remove one of them',
  ),
  add(
    '[[listeners]]\naddress = "[0:0::0]:25"\nkind = "mx"',
    '11: listeners[1].address: "[::]:25" repeats listeners[0]; remove one of them',
  ),
  add(
    '[[listeners]]\naddress = "[::]:587"\nkind = "submission"',
    '12: listeners[1].kind: "submission" needs a certificate; write certificate and key into [tls], or [tls.acme]',
  ),
  add(
    '[tls.acme]\nemail = "ann@example.com"',
    "10: tls.acme.agree_to_terms: must be true: read the terms of service of the authority (https://letsencrypt.org/repository/ for Let's Encrypt), and write agree_to_terms = true if you accept them",
  ),
  add(
    '[tls.acme]\nagree_to_terms = true\nchallenge = "dns-01"',
    '12: tls.acme.challenge: must be "http-01" or "tls-alpn-01", got "dns-01"',
  ),
  add(
    '[tls.acme]\nagree_to_terms = true\nnames = ["*.example.com"]',
    '12: tls.acme.names[0]: must be a host name with its domain, such as "mail.example.com", got "*.example.com"',
  ),
  add('[tls]\ncertificate = "a.pem"', "11: tls.certificate: needs key beside it; write both or none"),
  add(
    '[[tls.certificates]]\ncertificate = "a.pem"',
    '10: tls.certificates[0].key: is missing; write key = "tls/privkey.pem"',
  ),
  add(
    '[outbound]\nroute = "smarthost"',
    '10: outbound.smarthost: is missing, but route is "smarthost"; write smarthost = "HOST:PORT"',
  ),
  add(
    '[outbound]\nsmarthost = "smtp.example.net:587"',
    '11: outbound.smarthost: is set, but route is "direct"; write route = "smarthost" or remove it',
  ),
  add(
    '[outbound]\nroute = "smarthost"\nsmarthost = "smtp.example.net"',
    '12: outbound.smarthost: must be HOST:PORT, got "smtp.example.net"; write "smtp.example.net:587"',
  ),
  add('[outbound]\nroute = "smarthost"\nsmarthost = "587"', '12: outbound.smarthost: must be HOST:PORT, got "587"'),
  add(
    '[outbound]\nroute = "smarthost"\nsmarthost = "smtp.example.net:587"\nsmarthost_user = "me"',
    "13: outbound.smarthost_user: needs smarthost_password_file beside it; write both or none",
  ),
  add("[outbound]\nretry = []", "11: outbound.retry: must have at least one element"),
  add(
    '[outbound]\nretry = ["5m",\n  "10"]',
    '12: outbound.retry[1]: must be a duration with its unit (ms, s, m, h, d), got "10"; write "10s"',
  ),
  add(
    '[[outbound.routes]]\ndomain = "a.test"\nvia = "b.test:0"',
    '12: outbound.routes[0].via: must have a port from 1 to 65535, got "b.test:0"',
  ),
  add(
    '[[outbound.routes]]\ndomain = "a.test"\nvia = "b.test:25"\npassword_file = "x"',
    "13: outbound.routes[0].password_file: needs user beside it; write both or none",
  ),
  add(
    '[[outbound.routes]]\ndomain = "a.test"\nvia = "b.test:25"\n[[outbound.routes]]\ndomain = "a.test"\nvia = "c.test:25"',
    '14: outbound.routes[1].domain: "a.test" repeats outbound.routes[0]; remove one of them',
  ),
  add(
    '[status]\nlisten = "0.0.0.0:8025"',
    '10: status.token_file: is missing, but 0.0.0.0:8025 can be reached from outside; write token_file = "FILE" or listen on 127.0.0.1',
  ),

  add(
    '[unsubscribe]\nwebhook = "https://a.test/x"',
    "11: unsubscribe.webhook: needs secret_file beside it; write both or none",
  ),
  add(
    '[unsubscribe]\nurl = "https://a.test/unsubscribe?x=1"',
    '11: unsubscribe.url: must be at most 200 characters, without "?", got "https://a.test/unsubscribe?x=1"',
  ),
  add('[unsubscribe]\nsecret_file = "x"', "11: unsubscribe.secret_file: needs webhook beside it; write both or none"),
  add(
    '[unsubscribe]\nurl = "http://mail.example.com/unsubscribe"',
    '11: unsubscribe.url: must be a URL that begins with "https://", or with "http://localhost", got "http://mail.example.com/unsubscribe"; write "https://mail.example.com/unsubscribe"',
  ),
  add(
    '[unsubscribe]\nurl = "https://user:secret@mail.example.com/"',
    '11: unsubscribe.url: must be a URL that begins with "https://", or with "http://localhost", got "https://user:secret@mail.example.com/"',
  ),
  swap(
    NAME,
    `${NAME}\nforward = "redirect"`,
    '6: domains[0].forward: must be "transparent" or "rewrite", got "redirect"',
  ),
  swap(
    NAME,
    `${NAME}\ndefault_forward = "SRS0=abcdefgh=aa=a.test=x@example.com"`,
    '6: domains[0].default_forward: must not be a return path of forwarded mail, which takes bounces alone and expires, got "SRS0=abcdefgh=aa=a.test=x@example.com"',
  ),

  // No TOML at all.
  swap(HOST, "hostname = mail.example.com", "1: is not TOML at column 12: invalid value; text must be in quotes"),
  add('kind = "mx"', "10: is not TOML at column 1: trying to redefine an already defined table or value"),
  swap("[[listeners]]", "[[listeners]", "7: is not TOML at column 13: expected end of table array declaration"),
  swap(NAME, 'name = "example.com', "5: is not TOML at column 20: control characters are not allowed in strings"),
];
