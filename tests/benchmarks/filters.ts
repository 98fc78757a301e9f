/**
 * What Postfix checks with, as Debian documents it: OpenDKIM as a milter, policyd-spf as a policy service. Both would
 * let mail of this machine pass unlooked; here they do not. And the name server that everybody asks.
 */

import { join } from "node:path";
import { find } from "../interoperability/programs.ts";
import { type Filters, run } from "./postfix.ts";

/** Milliseconds until each must be there. */
const START_WITHIN = 10_000;

export interface Service {
  readonly process: number;
  stop(): Promise<void>;
}

export interface NameServer extends Service {
  readonly address: string;
}

/**
 * On port 53, because resolv.conf has no place for another one, of an address that is not loopback, where OpenDKIM's
 * resolver asks nobody. It could be told otherwise by a file, but then OpenDKIM reads that file anew for each message,
 * in several threads at a time, and fails. Until the benchmark ends, the net of this machine can ask for our zone.
 */
export async function startNameServer(zone: string): Promise<NameServer> {
  const address = Deno.networkInterfaces().find(({ family, address }) => family === "IPv4" && !/^127\./.test(address))
    ?.address;
  if (address === undefined) throw new Error("This needs an IPv4 address that is not loopback, for the name server.");
  const script = new URL("serve_zone.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", script, zone, address, "53"],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  // It says one word when it listens, and nothing ever after.
  const { done } = await child.stdout.getReader().read();
  if (done) throw new Error(`No name server on ${address}:53; is another one there?`);
  return { address, ...serviceOf(child) };
}

/** Into `folder`, which others may enter. */
export async function startFilters(folder: string, nameServer: string): Promise<Filters & Service> {
  const resolvConf = join(folder, "resolv.conf"), spf = join(folder, "policyd-spf.conf");
  await Deno.writeTextFile(resolvConf, `nameserver ${nameServer}\n`);
  await Deno.writeTextFile(spf, POLICYD_SPF);
  const milter = join(folder, "opendkim", "socket");
  const service = await startOpenDkim(folder, milter, nameServer);
  const policy = { argv: `${find("policyd-spf")} ${spf}`, user: "policyd-spf" };
  return { milter, policy, resolvConf, ...service };
}

/** Debian's, but for `skip_addresses`, where loopback stands, `TestOnly`, and `debugLevel`, which is cheaper for it. */
const POLICYD_SPF = `debugLevel = 0
TestOnly = 0
HELO_reject = Fail
Mail_From_reject = Fail
PermError_reject = False
TempError_Defer = False
skip_addresses = 192.0.2.0/32
`;

async function startOpenDkim(folder: string, socket: string, nameServer: string): Promise<Service> {
  const config = join(folder, "opendkim.conf"), own = join(folder, "opendkim");
  await Deno.mkdir(own);
  await run("chown", ["opendkim", own]);
  await Deno.writeTextFile(
    config,
    // No trust anchor: our zones are not signed. Nobody is internal: mail of internal hosts is signed, not verified.
    `Mode v
UserID opendkim
UMask 000
Socket local:${socket}
Syslog no
AuthservID mail.dev.test
AlwaysAddARHeader yes
InternalHosts 192.0.2.0
Nameservers ${nameServer}
`,
  );
  const child = new Deno.Command(find("opendkim") ?? "opendkim", {
    args: ["-f", "-x", config],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  const service = serviceOf(child);
  for (const deadline = performance.now() + START_WITHIN; performance.now() < deadline;) {
    if (await Deno.stat(socket).then(() => true).catch(() => false)) return service;
    await new Promise((done) => setTimeout(done, 50));
  }
  await service.stop();
  throw new Error(`OpenDKIM does not listen on ${socket} within ${START_WITHIN} ms.`);
}

function serviceOf(child: Deno.ChildProcess): Service {
  return {
    process: child.pid,
    async stop() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}
