import assert from "node:assert/strict";
import { join } from "node:path";
import { ConfigError, loadConfig, parseConfig, reportProblems, type Settings } from "../src/config.ts";
import { BROKEN } from "./config/broken_configs.ts";
import { inFolder } from "./config/temporary_folder.ts";

const LEAST = `hostname = "Mail.Example.com"
[[domains]]
name = "EXAMPLE.com"
[[listeners]]
address = "[::]:25"
kind = "mx"
`;

function settings(text: string, file = "/etc/maildemon/mail.toml"): Settings {
  const parsed = parseConfig(text, file);
  if ("problems" in parsed) throw new Error(reportProblems(parsed.problems));
  return parsed.config;
}

function report(text: string): string {
  const parsed = parseConfig(text, "mail.toml");
  return "problems" in parsed ? reportProblems(parsed.problems) : "";
}

Deno.test("configuration reports each mistake with one precise line", () => {
  for (const { text, says } of BROKEN) assert.equal(report(text), `mail.toml:${says}`, text);
});

Deno.test("configuration reports the same lines when the file has CRLF line ends or a byte order mark", () => {
  for (const { text, says } of BROKEN) {
    const crlf = text.replaceAll("\n", "\r\n");
    // Only the column of a syntax error may differ: a string that never ends now ends one sign later.
    const line = `mail.toml:${says.split(":")[0]}:`;
    assert.equal(report(crlf).slice(0, line.length), line, text);
    if (!says.includes("TOML")) assert.equal(report(`\ufeff${crlf}`), `mail.toml:${says}`, text);
  }
});

Deno.test("configuration reports all problems, in the order of the file", () => {
  assert.equal(
    report(`
[limits]
max_recipients = 5
max_mesage_size = "1MiB"
[[domains]]
name = "example.com"
[[domains]]
name = 5
[[domains]]
name = "example.com"
[[listeners]]
address = "25"
kind = "smtp"
[log]
format = "xml"
`),
    `mail.toml:1: hostname: is missing; write hostname = "mail.example.com"
mail.toml:3: limits.max_recipients: must be a whole number from 100 to 100000, got 5
mail.toml:4: limits.max_mesage_size: is not a known key; did you mean "max_message_size"?
mail.toml:8: domains[1].name: must be a domain, such as "example.com", got 5
mail.toml:10: domains[2].name: "example.com" repeats domains[0]; remove one of them
mail.toml:12: listeners[0].address: must be HOST:PORT, got "25"; write "[::]:25"
mail.toml:13: listeners[0].kind: must be "mx", "submission" or "submissions", got "smtp"
mail.toml:15: log.format: must be "text" or "json", got "xml"`,
  );
});

Deno.test("configuration of an empty file says what is missing", () => {
  assert.equal(
    report(""),
    `mail.toml:1: hostname: is missing; write hostname = "mail.example.com"
mail.toml:1: domains: is missing; write [[domains]]
mail.toml:1: listeners: is missing; write [[listeners]]`,
  );
});

Deno.test("configuration fills in defaults: bytes, milliseconds, absolute paths, lower case", () => {
  const config = settings(LEAST);
  assert.equal(config.hostname, "mail.example.com");
  assert.equal(config.store, "/var/lib/maildemon");
  assert.equal(config.kv, undefined);
  assert.deepEqual(config.domains, [
    {
      name: "example.com",
      catch_all: undefined,
      default_forward: undefined,
      forward: "transparent",
      forward_live: false,
      dkim: [],
    },
  ]);
  assert.deepEqual(config.listeners, [
    { address: { hostname: "::", port: 25 }, kind: "mx", proxy_protocol_from: [] },
  ]);
  assert.equal(config.limits.max_message_size, 25 * 1024 * 1024);
  assert.equal(config.limits.command_timeout, 300_000);
  assert.equal(config.limits.min_data_rate, 500);
  assert.deepEqual(config.auth.mechanisms, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
  assert.equal(config.checks.spf, "reject-unsigned");
  assert.deepEqual(config.outbound.retry.slice(-2), [7_200_000, 14_400_000]);
  assert.equal(config.outbound.give_up_after, 5 * 86_400_000);
  assert.deepEqual(config.status.listen, { hostname: "127.0.0.1", port: 8025 });
});

Deno.test("configuration takes every kind of value", () => {
  const config = settings(`hostname = "mail.b\u00fccher.example"
store = "./store/../data"
kv = "http://localhost:4512"
domains = [{ name = "example.com", catch_all = '"a b"@Example.com', dkim = [
  { selector = "s1", key = "s1.pem" }, # Two of them
  { selector = "s2", key = "/keys/s2.pem" },
] }, { name = "b\u00fccher.example" }]
[[listeners]]
address = "127.0.0.1:0"
kind = "submission"
proxy_protocol_from = ["10.0.0.0/8", "2001:DB8:0::/32", "0.0.0.0/0", "::1/128"]
[[listeners]]
address = "127.0.0.1:0"
kind = "submissions"
[[listeners]]
address = "LOCALHOST:2525"
kind = "mx"
[dns]
servers = ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:5353"]
[[tls.certificates]]
certificate = "a.pem"
key = "b.pem"
[outbound]
route = "smarthost"
smarthost = "smtp.example.net:587"
retry = ["30s", "1s"]
[status]
listen = ""
[log]
format = "json"
`);
  assert.equal(config.hostname, "mail.xn--bcher-kva.example");
  assert.equal(config.store, "/etc/maildemon/data");
  assert.equal(config.domains[0]?.catch_all, '"a b"@example.com');
  assert.deepEqual(config.domains[0]?.dkim, [
    { selector: "s1", key: "/etc/maildemon/s1.pem" },
    { selector: "s2", key: "/keys/s2.pem" },
  ]);
  assert.equal(config.domains[1]?.name, "xn--bcher-kva.example");
  assert.deepEqual(config.listeners[0]?.proxy_protocol_from, ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "::1/128"]);
  assert.deepEqual(config.listeners[2]?.address, { hostname: "localhost", port: 2525 });
  assert.deepEqual(config.dns.servers, [
    { hostname: "127.0.0.1", port: 53 },
    { hostname: "127.0.0.1", port: 5353 },
    { hostname: "::1", port: 53 },
    { hostname: "::1", port: 53 },
    { hostname: "::1", port: 5353 },
  ]);
  assert.deepEqual(config.tls.certificates, [
    { certificate: "/etc/maildemon/a.pem", key: "/etc/maildemon/b.pem" },
  ]);
  assert.deepEqual(config.outbound.smarthost, { hostname: "smtp.example.net", port: 587 });
  assert.deepEqual(config.outbound.retry, [30_000, 1000]);
  assert.equal(config.status.listen, undefined);
});

Deno.test("status page needs a token on every address that is not loopback", () => {
  for (const address of ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "localhost:80"]) {
    settings(`${LEAST}[status]\nlisten = "${address}"`);
  }
  for (const address of ["0.0.0.0:80", "[::]:80", "192.168.0.1:80", "127.example.com:80", "mail.example.com:80"]) {
    assert.match(report(`${LEAST}[status]\nlisten = "${address}"`), /^mail.toml:7: status.token_file: is missing/);
    settings(`${LEAST}[status]\nlisten = "${address}"\ntoken_file = "token"`);
  }
});

Deno.test("loading a configuration that is not there says what to do", () =>
  inFolder(async (folder) => {
    const file = join(folder, "mail.toml");
    await assert.rejects(loadConfig(file), {
      name: "ConfigError",
      message:
        `${file}: the configuration does not exist; make one with maildemon init ADDRESS, or name another with --config`,
    });
  }));

Deno.test("loading a configuration that cannot be read says why", () =>
  inFolder(async (folder) => {
    await assert.rejects(loadConfig(folder), {
      message: `${folder}: the configuration is not an ordinary file; must be a TOML file that this user may read`,
    });
    const closed = join(folder, "closed.toml");
    await Deno.writeTextFile(closed, LEAST, { mode: 0 });
    // Root may read everything.
    if (Deno.uid() === 0) return;
    await assert.rejects(loadConfig(closed), {
      message: `${closed}: the configuration may not be read by this user; must be a TOML file that this user may read`,
    });
  }));

Deno.test("loading a configuration with mistakes throws them all", () =>
  inFolder(async (folder) => {
    const file = join(folder, "mail.toml");
    await Deno.writeTextFile(file, "hostname = 5\nx = 1\n");
    await assert.rejects(loadConfig(file), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(error.problems.map(({ line, key }) => [line, key]), [
        [1, "hostname"],
        [1, "domains"],
        [1, "listeners"],
        [2, "x"],
      ]);
      return true;
    });
  }));
