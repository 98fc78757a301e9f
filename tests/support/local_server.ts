/**
 * The real server in this process: its config in a folder of its own, its DNS a zone of the test, its ports free ones.
 * What a test says to it and hears from it goes over real sockets.
 */

import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { openLog } from "../../src/log.ts";
import type { QueueRow, Selection } from "../../src/queue/selection.ts";
import { type NameServer, serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { openServer, type Running } from "../../src/server/server.ts";
import { askServer } from "../../src/status/control.ts";
import { Aliases, type NewAlias } from "../../src/store/aliases.ts";
import { domainsOf } from "../../src/store/domains.ts";
import { openKv } from "../../src/store/kv.ts";
import { type NewUser, Users } from "../../src/store/users.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { CHEAP } from "../store/temporary_store.ts";
import { textOf } from "./every_cut.ts";
import { expect, plain, until } from "./letters.ts";
import { SmtpPeer } from "./smtp_peer.ts";

export const PASSWORD = "Tulip-7 garden";
export const ANN: NewUser = { address: "ann@ours.test", password: PASSWORD };

/** Pieces of TOML go where their names say; everything else is as it comes. */
export interface LocalSettings {
  /** Our domain and its server, where its MX leads. Default: `ours.test` at 127.0.0.1. */
  readonly name?: string;
  readonly address?: string;
  /** Beside the configuration: text by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Keys before the first table, keys of the domain `ours.test`, keys of tables. */
  readonly top?: string;
  readonly domain?: string;
  readonly limits?: string;
  readonly auth?: string;
  readonly checks?: string;
  readonly reputation?: string;
  readonly unsubscribe?: string;
  /** Of the status page; default: there is none. */
  readonly status?: string;
  /** Default: capture. */
  readonly outbound?: string;
  /** Instead of one listener of each kind on a free port of 127.0.0.1. */
  readonly listeners?: string;
  /** Records besides those of `ours.test`. Default: those of `remote.test` at 127.0.0.2. */
  readonly zone?: string;
  /** Default: Ann, who has a Maildir. */
  readonly users?: readonly NewUser[];
  readonly aliases?: readonly NewAlias[];
}

export type Kind = "mx" | "submission" | "submissions";

const LISTENERS = (["mx", "submission", "submissions"] as const).map((kind) => `
[[listeners]]
address = "127.0.0.1:0"
kind = "${kind}"
`).join("");

const REMOTE = `
remote.test.       MX   10 mx.remote.test.
mx.remote.test.    A    127.0.0.2
`;

const pair = await selfSigned(["localhost", "127.0.0.1"]);

export class LocalServer {
  /** Each line of the log, at level debug. */
  readonly log: string[] = [];
  #running: Running | undefined;

  private constructor(
    readonly folder: string,
    readonly configFile: string,
    private readonly names: NameServer,
    private readonly domain: string,
  ) {}

  static async open(settings: LocalSettings = {}): Promise<LocalServer> {
    const server = await LocalServer.prepare(settings);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** All that a server needs to start, and nobody who starts it. */
  static async prepare(settings: LocalSettings = {}): Promise<LocalServer> {
    const folder = await Deno.makeTempDir({ prefix: "maildemon-test-" });
    const names = await serveZone(parseZone(zoneOf(settings)));
    const server = new LocalServer(folder, join(folder, "config.toml"), names, settings.name ?? "ours.test");
    try {
      await Deno.writeTextFile(join(folder, "fullchain.pem"), pair.certificate);
      await Deno.writeTextFile(join(folder, "privkey.pem"), pair.key, { mode: 0o600 });
      for (const [name, text] of Object.entries(settings.files ?? {})) {
        await Deno.writeTextFile(join(folder, name), text, { mode: 0o600 });
      }
      await Deno.writeTextFile(server.configFile, configOf(settings, names));
      await server.#addPeople(settings);
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  get store(): string {
    return join(this.folder, "store");
  }

  get running(): Running {
    if (this.#running === undefined) throw new Error("the server is not running");
    return this.#running;
  }

  async start(): Promise<void> {
    const log = openLog({ level: "debug", format: "text", write: (line) => this.log.push(line) });
    this.#running = await openServer(await loadConfig(this.configFile), log);
  }

  /** Writes the configuration anew; the server does not know of it yet. */
  async edit(change: (text: string) => string): Promise<void> {
    const text = await Deno.readTextFile(this.configFile), changed = change(text);
    if (changed === text) throw new Error("the configuration was to be changed, and was not");
    await Deno.writeTextFile(this.configFile, changed);
  }

  /** Takes over what the configuration says now. Rejects when that cannot be used. */
  async reload(): Promise<void> {
    await this.running.reload(() => loadConfig(this.configFile));
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.stop();
  }

  async close(): Promise<void> {
    await this.stop();
    await this.names.close();
    await Deno.remove(this.folder, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  port(kind: Kind): number {
    const found = this.running.listeners().find((listener) => listener.kind === kind);
    if (found === undefined) throw new Error(`no listener of kind ${kind}`);
    return found.port;
  }

  // ── who calls ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Somebody on the mx port, greeted and after EHLO; `patience` as `SmtpPeer` has it. */
  async outside(patience?: number): Promise<SmtpPeer> {
    const peer = await SmtpPeer.call(this.port("mx"), patience);
    await hello(peer, await peer.lastLine());
    return peer;
  }

  /** A client on the submissions port after EHLO. */
  async client(): Promise<SmtpPeer> {
    const peer = new SmtpPeer(await this.connectTls("submissions"));
    await hello(peer, await peer.lastLine());
    return peer;
  }

  /** The same, signed in. */
  async signedIn(login = ANN.address, password = PASSWORD): Promise<SmtpPeer> {
    const peer = await this.client();
    expect(await peer.say(`AUTH PLAIN ${plain(login, password)}`), "235");
    return peer;
  }

  /** A client on the submission port after STARTTLS and EHLO. */
  async afterStartTls(): Promise<SmtpPeer> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: this.port("submission") });
    const clear = new SmtpPeer(conn);
    await hello(clear, await clear.lastLine());
    expect(await clear.say("STARTTLS"), "220");
    const peer = new SmtpPeer(await underTls(conn));
    await hello(peer, "220");
    return peer;
  }

  /** A bare connection under TLS from its first byte; `port` may be that of somebody who stands in between. */
  async connectTls(to: Kind | number): Promise<Deno.TlsConn> {
    const port = typeof to === "number" ? to : this.port(to);
    return await Deno.connectTls({ hostname: "localhost", port, caCerts: [pair.authority] });
  }

  // ── where mail gets ──────────────────────────────────────────────────────────────────────────────────────────

  /** What lies in a Maildir of our domain, oldest first, one character for each byte. */
  async inbox(local = "ann"): Promise<string[]> {
    return await textsIn(join(this.store, "mail", this.domain, local, "new"));
  }

  /** What has left, when it is captured. */
  async outbox(): Promise<{ readonly sender: string; readonly to: readonly string[]; readonly text: string }[]> {
    const folder = join(this.store, "outbox");
    const names = (await namesIn(folder)).filter((name) => name.endsWith(".json"));
    return await Promise.all(names.map(async (name) => {
      const { sender, recipients } = JSON.parse(await Deno.readTextFile(join(folder, name)));
      const text = textOf(await Deno.readFile(join(folder, name.replace(/json$/, "eml"))));
      return { sender, to: recipients.map(({ address }: { address: string }) => address), text };
    }));
  }

  /** What waits, as `maildemon queue list` would be told. */
  async queue(): Promise<QueueRow[]> {
    return await this.ask({ do: "queue.list", selection: { all: true } }) as QueueRow[];
  }

  /** Over the control socket. Throws what the server refuses with. */
  async ask(request: { readonly do: string; readonly selection?: Selection }): Promise<unknown> {
    const answer = await askServer(this.store, { ...request });
    if (answer === "not running") throw new Error("the server is not running");
    if (!answer.ok) throw new Error(answer.error);
    return answer.value;
  }

  /** Resolves when everything that was taken has arrived, bounced or been dropped; milliseconds. */
  async emptyQueue(patience?: number): Promise<void> {
    await until(async () => (await this.queue()).length === 0, "the queue to be empty", patience);
  }

  async #addPeople({ users = [ANN], aliases = [] }: LocalSettings): Promise<void> {
    const { domains, store } = await loadConfig(this.configFile);
    const kv = await openKv({ store });
    try {
      const people = { domains: domainsOf(domains), store, cost: CHEAP };
      for (const user of users) await new Users(kv, people).add(user);
      for (const alias of aliases) await new Aliases(kv, people).add(alias);
    } finally {
      kv.close();
    }
  }
}

function configOf(settings: LocalSettings, names: NameServer): string {
  const { name = "ours.test", top = "", domain = "", limits = "", auth = "", checks = "", reputation } = settings;
  return `hostname = "mail.${name}"
store = "store"
${top}
[[domains]]
name = "${name}"
${domain}
${settings.listeners ?? LISTENERS}
[dns]
servers = ["${names.server.address}:${names.server.port}"]
[tls]
certificate = "fullchain.pem"
key = "privkey.pem"
[limits]
${limits}
[auth]
${auth}
[checks]
${checks}
${reputation === undefined ? "" : `[reputation]\n${reputation}`}
[unsubscribe]
${settings.unsubscribe ?? ""}
[outbound]
${settings.outbound ?? CAPTURE}
[status]
${settings.status ?? 'listen = ""'}
`;
}

const CAPTURE = 'route = "capture"\nallow_private = ["127.0.0.0/8"]';

/** For servers that stand on loopback beside us, at this port: as `outbound`. */
export function direct(port: number, more = ""): string {
  return `port = ${port}\nallow_private = ["127.0.0.0/8"]\n${more}`;
}

function zoneOf({ name = "ours.test", address = "127.0.0.1", zone = REMOTE }: LocalSettings): string {
  return `$TTL 60
${name}.         MX   10 mail.${name}.
mail.${name}.    A    ${address}
${zone}`;
}

async function hello(peer: SmtpPeer, greeting: string): Promise<void> {
  expect(greeting, "220");
  expect(await peer.say("EHLO client.remote.test"), "250");
}

/** The client half of the handshake over a connection in clear. */
export async function underTls(conn: Deno.TcpConn): Promise<Deno.TlsConn> {
  const secured = await Deno.startTls(conn, { hostname: "localhost", caCerts: [pair.authority] });
  await secured.handshake();
  return secured;
}

async function textsIn(folder: string): Promise<string[]> {
  return await Promise.all(
    (await namesIn(folder)).map(async (name) => textOf(await Deno.readFile(join(folder, name)))),
  );
}

async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(folder)) if (isFile && name[0] !== ".") names.push(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names.sort();
}
