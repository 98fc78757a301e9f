/**
 * Two maildemons and a mail server of others, each with an address of its own on loopback and all at one port, as on the
 * Internet: `ours.test` at 127.0.0.2, `theirs.test` at 127.0.0.3, and at 127.0.0.4 whoever a test wants there.
 */

import { generateDkimKey } from "../../src/send/dkim_key.ts";
import { dkimRecord } from "../../src/send/dkim_key.ts";
import { direct, type LocalServer, type LocalSettings } from "../support/local_server.ts";
import { type RemoteScript, RemoteServer } from "../support/remote_server.ts";
import { rsaKey, signedLetter } from "../support/signed_letter.ts";

const PEMS = new Map(
  await Promise.all(["ours.test", "theirs.test"].map(async (name) => [name, await generateDkimKey("rsa")] as const)),
);
/** Of `strict.test`. */
const KEY = rsaKey();

/**
 * `strict.test` wants refused what is not its mail: it is sent from 192.0.2.0/24, signed or not. Our own servers send from
 * 127.0.0.1.
 */
export const WORLD = `
$TTL 60
ours.test.               TXT  "v=spf1 ip4:127.0.0.1 -all"
theirs.test.             TXT  "v=spf1 ip4:127.0.0.1 -all"
_dmarc.ours.test.        TXT  "v=DMARC1; p=reject"
_dmarc.theirs.test.      TXT  "v=DMARC1; p=reject"
${[...PEMS].map(([name, pem]) => `s1._domainkey.${name}. TXT ${strings(dkimRecord(pem))}`).join("\n")}
strict.test.             MX   10 mx.strict.test.
strict.test.             TXT  "v=spf1 ip4:192.0.2.0/24 -all"
mail.strict.test.        TXT  "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.strict.test.      TXT  "v=DMARC1; p=reject"
one._domainkey.strict.test. TXT ${strings(KEY.record)}
mx.strict.test.          A    127.0.0.4
remote.test.             MX   10 mx.remote.test.
mx.remote.test.          A    127.0.0.4
`;

/** A port that is free at all of these addresses. */
export function freePort(): number {
  for (;;) {
    const first = Deno.listen({ hostname: "127.0.0.2", port: 0 }), { port } = first.addr;
    const others: Deno.Listener[] = [];
    try {
      for (const hostname of ["127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"]) {
        others.push(Deno.listen({ hostname, port }));
      }
      return port;
    } catch {
      continue;
    } finally {
      for (const listener of [first, ...others]) listener.close();
    }
  }
}

/** A server of this domain: reached by others at its address, and by tests on a port where they may say who they are. */
export function settingsOf(
  name: "ours.test" | "theirs.test",
  port: number,
  more: Omit<LocalSettings, "domain"> & { readonly domain?: string; readonly outboundMore?: string },
): LocalSettings {
  const address = name === "ours.test" ? "127.0.0.2" : "127.0.0.3", other = name === "ours.test" ? "theirs" : "ours";
  const { domain = "", zone = "", outboundMore = "", ...rest } = more;
  return {
    name,
    address,
    outbound: direct(port, outboundMore),
    listeners: `
[[listeners]]
address = "127.0.0.1:0"
kind = "mx"
proxy_protocol_from = ["127.0.0.0/8"]
[[listeners]]
address = "127.0.0.1:0"
kind = "submissions"
[[listeners]]
address = "${address}:${port}"
kind = "mx"
`,
    files: { "dkim.pem": PEMS.get(name) ?? "" },
    domain: `dkim = [{ selector = "s1", key = "dkim.pem" }]\n${domain}`,
    zone: `${WORLD}
${other}.test.       MX   10 mail.${other}.test.
mail.${other}.test.  A    ${other === "ours" ? "127.0.0.2" : "127.0.0.3"}
${zone}`,
    ...rest,
  };
}

/** Whoever is at 127.0.0.4 or another of these addresses. */
export function remoteAt(port: number, script: RemoteScript = {}, hostname = "127.0.0.4"): RemoteServer {
  return new RemoteServer(script, { hostname, port });
}

/** A message of `strict.test` with a signature that covers all that is worth it. */
export function signed(to: string, subject = "signed"): string {
  const fields = `To: ${to}\r\nSubject: ${subject}\r\nDate: Sun, 22 Nov 2026 03:00:00 +0000\r\n` +
    `Message-ID: <${crypto.randomUUID()}@strict.test>\r\n`;
  const tags = { d: "strict.test", h: "from:to:subject:date:message-id" };
  return signedLetter(KEY, { from: "Carol <carol@strict.test>", fields, body: "Hello.\r\n.dot\r\n", tags });
}

export function unsigned(to: string, subject = "unsigned"): string {
  return `From: Carol <carol@strict.test>\r\nTo: ${to}\r\nSubject: ${subject}\r\n\r\nHello.\r\n`;
}

/** What stands below the trace lines of all servers on the way. */
export function belowTrace(text: string): string {
  const fields = text.split(/(?<=\r\n)(?![ \t])/);
  const trace = /^(return-path|delivered-to|received|received-spf|authentication-results|x-spam):/i;
  return fields.slice(fields.findIndex((field) => !trace.test(field))).join("");
}

export function textOfMessages(remote: RemoteServer): string[] {
  return remote.messages.map(({ bytes }) => new TextDecoder("latin1").decode(bytes));
}

/** Everything that lies or waits somewhere is done. */
export async function settled(...servers: readonly LocalServer[]): Promise<void> {
  for (let quiet = 0; quiet < 2;) {
    for (const server of servers) await server.emptyQueue(20_000);
    const waiting = await Promise.all(servers.map((server) => server.queue()));
    quiet = waiting.every((rows) => rows.length === 0) ? quiet + 1 : 0;
  }
}

function strings(record: string): string {
  return record.match(/.{1,250}/g)?.map((part) => `"${part}"`).join(" ") ?? '""';
}
