import { join, resolve } from "node:path";
import { loadConfig } from "../config.ts";
import { Resolver } from "../dns/resolver.ts";
import { type Log, openLog, silent } from "../log.ts";
import { type NameServer, serveZone } from "../sandbox/name_server.ts";
import { type Step, walk } from "../sandbox/tour.ts";
import { INHABITANTS, villageZone } from "../sandbox/village.ts";
import { parseZone } from "../sandbox/zone_file.ts";
import { dkimRecord, dkimRecordName, generateDkimKey } from "../send/dkim_key.ts";
import { openServer, type Running } from "../server/server.ts";
import { openKv } from "../store/kv.ts";
import { Users } from "../store/users.ts";
import { selfSigned } from "../tls/self_signed.ts";
import { type Command, type Context, DONE, FAILED } from "./arguments.ts";
import { untilSignal } from "./serve.ts";

const DOMAIN = "dev.test", SELECTOR = "dev", PASSWORD = "maildemon";
const PORTS = { mx: 2525, submission: 2587, submissions: 2465, status: 8025 } as const;
type Ports = Readonly<Record<keyof typeof PORTS, number>>;
const FREE: Ports = { mx: 0, submission: 0, submissions: 0, status: 0 };

export const dev: Command = {
  name: "dev",
  summary: "try everything on this machine, with no set-up",
  examples: ["dev", "dev --store /tmp/trial", "dev --once"],
  options: [
    { name: "once", explain: "send a message along every path in a temporary store, show what became of it, and end" },
    { name: "store", value: "DIR", explain: "where everything is kept; default: ./data" },
  ],
  async run(_args, options, context) {
    if (options.has("once")) return await once(options.maybe("store"), context);
    const store = resolve(options.maybe("store") ?? "data");
    const stopped = untilSignal();
    const { server, village } = await open(store, PORTS, openLog({ level: "info", format: "text" }));
    context.out(welcome(store, server));
    context.note(`stopping: ${await stopped}`);
    await server.stop();
    await village.close();
    return DONE;
  },
};

async function once(wanted: string | undefined, { out, colour }: Context): Promise<number> {
  const began = performance.now();
  const store = wanted === undefined ? await Deno.makeTempDir({ prefix: "maildemon-" }) : resolve(wanted);
  const { server, village } = await open(store, FREE, silent);
  const dns = new Resolver({ servers: [village.server] });
  try {
    const authority = await Deno.readTextFile(join(store, "tls", "authority.pem"));
    const ports = portsOf(server);
    let done = 0;
    const all = await walk({ store, ports, authority, password: PASSWORD, dns }, (step) => {
      if (step.ok) done++;
      out(lineOf(step, colour));
    });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    out(all ? `All ${done} paths work (${seconds} s).` : `Not all paths work (${seconds} s).`);
    return all ? DONE : FAILED;
  } finally {
    await dns.close();
    await server.stop();
    await village.close();
    if (wanted === undefined) await Deno.remove(store, { recursive: true });
  }
}

function lineOf({ name, seen, ok, took }: Step, colour: boolean): string {
  const mark = ok ? "ok  " : "FAIL", painted = colour ? `\x1b[${ok ? 32 : 31}m${mark}\x1b[0m` : mark;
  return `${painted} ${name.padEnd(44)}${`${Math.round(took)} ms`.padStart(8)}  ${seen}`;
}

function portsOf(server: Running): Readonly<Record<"mx" | "submission" | "submissions", number>> {
  const port = (wanted: string) => server.listeners().find(({ kind }) => kind === wanted)?.port ?? 0;
  return { mx: port("mx"), submission: port("submission"), submissions: port("submissions") };
}

/** The sandbox and the server in it. What is in the folder already (keys, users, mail) is kept. */
async function open(store: string, ports: Ports, log: Log): Promise<{ server: Running; village: NameServer }> {
  await Deno.mkdir(store, { recursive: true, mode: 0o700 });
  if (await kept(store, "tls/authority.pem") === undefined) {
    const pair = await selfSigned(["localhost", `mail.${DOMAIN}`, "127.0.0.1"]);
    await keep(store, "tls/fullchain.pem", pair.certificate);
    await keep(store, "tls/privkey.pem", pair.key);
    await keep(store, "tls/authority.pem", pair.authority);
  }
  const pem = await kept(store, `dkim/${DOMAIN}.pem`) ??
    await keep(store, `dkim/${DOMAIN}.pem`, await generateDkimKey("rsa"));
  const zone = villageZone({ name: dkimRecordName(DOMAIN, SELECTOR), record: dkimRecord(pem) });
  const village = await serveZone(parseZone(zone));
  try {
    const { address, port } = village.server;
    const file = join(store, "config.toml");
    await Deno.writeTextFile(file, configText(ports, `${address}:${port}`));
    const config = await loadConfig(file);
    await addPeople(store);
    return { server: await openServer(config, log), village };
  } catch (error) {
    await village.close();
    throw error;
  }
}

async function kept(store: string, name: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(join(store, name));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function keep(store: string, name: string, text: string): Promise<string> {
  const path = join(store, name);
  await Deno.mkdir(resolve(path, ".."), { recursive: true, mode: 0o700 });
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  return text;
}

function configText(ports: Ports, dns: string): string {
  return `# Written by \`maildemon dev\` at each start. Other commands find this world with --config.
hostname = "mail.${DOMAIN}"
store = "."

[[domains]]
name = "${DOMAIN}"
dkim = [{ selector = "${SELECTOR}", key = "dkim/${DOMAIN}.pem" }]

[[listeners]]
address = "127.0.0.1:${ports.mx}"
kind = "mx"

[[listeners]]
address = "127.0.0.1:${ports.submission}"
kind = "submission"

[[listeners]]
address = "127.0.0.1:${ports.submissions}"
kind = "submissions"

[dns]
servers = ["${dns}"] # the sandbox

[tls]
certificate = "tls/fullchain.pem"
key = "tls/privkey.pem"

[outbound]
route = "capture" # what leaves lands in outbox/

[status]
listen = "127.0.0.1:${ports.status}"
`;
}

async function addPeople(store: string): Promise<void> {
  const kv = await openKv({ store });
  try {
    const users = new Users(kv, { domains: [{ name: DOMAIN }], store });
    const there = new Set((await users.list()).map(({ address }) => address));
    const wanted = [
      { address: `ann@${DOMAIN}`, displayName: "Ann", password: PASSWORD, deliver: ["maildir"] },
      { address: `bob@${DOMAIN}`, displayName: "Bob", password: PASSWORD, deliver: ["forward:bob@remote.test"] },
    ];
    await Promise.all(wanted.filter(({ address }) => !there.has(address)).map((user) => users.add(user)));
  } finally {
    kv.close();
  }
}

function welcome(store: string, server: Running): string {
  const { mx, submission, submissions } = portsOf(server);
  const world = INHABITANTS.map(({ domain, about }) => `  ${domain.padEnd(14)} ${about}`).join("\n");
  return `
maildemon runs on this machine alone, everything in ${store}

  port ${mx}   mail from outside (mx)
  port ${submission}   submission, STARTTLS
  port ${submissions}   submission, implicit TLS
  http://127.0.0.1:${server.statusPort()}/   status page

  ann@${DOMAIN}   password ${PASSWORD}, mail is stored in ${join(store, "mail", DOMAIN, "ann")}
  bob@${DOMAIN}   password ${PASSWORD}, mail is forwarded to bob@remote.test
  What leaves lands in ${join(store, "outbox")}

The world around it:
${world}

Try:
  printf 'From: carol@remote.test\\nTo: ann@${DOMAIN}\\nSubject: hello\\n\\nHi Ann\\n' |
    curl -s --crlf smtp://127.0.0.1:${mx} --mail-from carol@remote.test --mail-rcpt ann@${DOMAIN} -T -
  printf 'From: ann@${DOMAIN}\\nTo: carol@remote.test\\nSubject: hello\\n\\nHi Carol\\n' |
    curl -s --crlf smtps://127.0.0.1:${submissions} --cacert ${join(store, "tls", "authority.pem")} \\
      --user ann@${DOMAIN}:${PASSWORD} --mail-from ann@${DOMAIN} --mail-rcpt carol@remote.test -T -
  swaks --server 127.0.0.1:${submission} --tls --auth PLAIN --auth-user ann@${DOMAIN} \\
      --auth-password ${PASSWORD} --from ann@${DOMAIN} --to someone@remote.test
  deno task start --config ${join(store, "config.toml")} user list
  deno task start --config ${join(store, "config.toml")} why carol@remote.test
  deno task start --config ${join(store, "config.toml")} try --ip 192.0.2.7 --from boss@forged.test --to ann@${DOMAIN}

Stop it with Ctrl+C.
`;
}
