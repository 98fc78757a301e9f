/** The running program with its folder, its names and its people: what the tests of one route have in common. */

import { join } from "node:path";
import { type NameServer, serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { type Answer, maildemon, RunningServer } from "../support/running_server.ts";

export const DOMAIN = "dev.test", ANN = `ann@${DOMAIN}`, PASSWORD = "Tulip-7 garden", SNI_NAME = "named.test";

const LOOPBACK_SENDS = '"v=spf1 ip4:127.0.0.0/8 ip6:::1 -all"';
const PATIENCE = 15_000;

export interface Setting {
  readonly listeners: readonly { readonly kind: string; readonly more?: string }[];
  /** Of `[outbound]`. */
  readonly outbound: string;
  /** Besides `dev.test` and `remote.test`. */
  readonly zone?: string;
  /** Addresses; Ann has a password and a Maildir anyway. */
  readonly people?: readonly string[];
  readonly dkim?: true;
}

interface DkimRecord {
  readonly name: string;
  readonly value: string;
}

/** As it lies in the outbox. */
export interface Captured {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly sender: string;
  readonly recipients: readonly string[];
}

export class PostOffice {
  private constructor(
    readonly folder: string,
    readonly server: RunningServer,
    readonly names: NameServer,
    /** As `maildemon dkim record` prints them. */
    readonly dkim: readonly DkimRecord[],
  ) {}

  static async open({ listeners, outbound, zone = "", people = [], dkim }: Setting): Promise<PostOffice> {
    const folder = await Deno.makeTempDir({ prefix: "maildemon-" });
    const file = join(folder, "config.toml");
    await keepPair(folder, "tls", ["localhost", "127.0.0.1"]);
    await keepPair(folder, "named", [SNI_NAME]);
    const world = (records: readonly DkimRecord[]) =>
      parseZone(`${HOME}\n${zone}\n${records.map(zoneLine).join("\n")}`);
    const names = await serveZone(world([]));
    const config = (keys: string) =>
      configText(listeners, `${names.server.address}:${names.server.port}`, outbound, keys);
    await Deno.writeTextFile(file, config(""));
    const made: Promise<Answer>[] = [
      maildemon(file, ["user", "add", ANN, "--deliver", "maildir"], `${PASSWORD}\n`),
      ...people.map((person) => maildemon(file, ["user", "add", person, "--deliver", "maildir", "--without-password"])),
    ];
    let records: readonly DkimRecord[] = [];
    if (dkim) {
      ok(await maildemon(file, ["dkim", "keygen", DOMAIN, "--type", "both", "--selector", "s1"]));
      const keys = ["s1", "s1-ed"].map((name) => `{ selector = "${name}", key = "dkim/${DOMAIN}.${name}.pem" }`);
      await Deno.writeTextFile(file, config(`dkim = [${keys.join(", ")}]`));
      records = JSON.parse(ok(await maildemon(file, ["dkim", "record", "--json"])).out);
      names.replaceZone(world(records));
    }
    for (const answer of await Promise.all(made)) ok(answer);
    return new PostOffice(folder, await RunningServer.start(file), names, records);
  }

  get config(): string {
    return join(this.folder, "config.toml");
  }

  /** For clients: whom to trust for `localhost`, and for the name that only SNI gets. */
  get authority(): string {
    return join(this.folder, "tls.authority.pem");
  }

  get namedAuthority(): string {
    return join(this.folder, "named.authority.pem");
  }

  async close(): Promise<void> {
    await this.server.stop();
    await this.names.close();
    await Deno.remove(this.folder, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** A command that has to succeed; what it prints. */
  async command(...args: readonly string[]): Promise<string> {
    return ok(await maildemon(this.config, args)).out;
  }

  /** What lies in Ann's Maildir for `ann+TAG`, now. */
  async stored(tag: string, local = "ann"): Promise<Uint8Array[]> {
    const wanted = `\r\nDelivered-To: ${local}${tag === "" ? "" : `+${tag}`}@${DOMAIN}\r\n`;
    const found: Uint8Array[] = [];
    for (const path of await filesIn(join(this.folder, "mail", DOMAIN, encodeURIComponent(local), "new"))) {
      if ((await beginning(path)).includes(wanted)) found.push(await Deno.readFile(path));
    }
    return found;
  }

  /** The one message for `ann+TAG`, as soon as it is there. */
  async letter(tag: string, local = "ann"): Promise<Uint8Array> {
    return await this.#until(`a message for ${local}+${tag}`, async () => (await this.stored(tag, local))[0]);
  }

  /** The first message in Ann's Maildir that holds these words: a bounce, for one. */
  async letterWith(...words: readonly string[]): Promise<string> {
    return await this.#until(`a message with ${words.join(" and ")}`, async () => {
      for (const path of await filesIn(join(this.folder, "mail", DOMAIN, "ann", "new"))) {
        const text = latin1(await Deno.readFile(path));
        if (words.every((word) => text.includes(word))) return text;
      }
      return undefined;
    });
  }

  /** What left for this recipient, as soon as it has. */
  async captured(recipient: string): Promise<Captured> {
    return await this.#until(`a message that left for ${recipient}`, async () => {
      for (const path of await filesIn(join(this.folder, "outbox"))) {
        if (!path.endsWith(".json")) continue;
        const { sender, recipients } = JSON.parse(await Deno.readTextFile(path));
        const addresses: string[] = recipients.map(({ address }: { address: string }) => address);
        if (!addresses.includes(recipient)) continue;
        const message = path.replace(/json$/, "eml");
        return { path: message, bytes: await Deno.readFile(message), sender, recipients: addresses };
      }
      return undefined;
    });
  }

  /** Waits for a line of the log. */
  async logged(pattern: RegExp): Promise<string> {
    return await this.#until(
      `a line of the log like ${pattern}`,
      () => this.server.log.find((line) => pattern.test(line)),
    );
  }

  async #until<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (performance.now() > deadline) {
        const end = this.server.log.slice(-20).join("\n");
        throw new Error(`${what} did not come within ${PATIENCE / 1000} s. The log ends with:\n${end}`);
      }
      await new Promise((done) => setTimeout(done, 20));
    }
  }
}

const HOME = `
$TTL 60
${DOMAIN}.             MX   10 mail.${DOMAIN}.
${DOMAIN}.             TXT  ${LOOPBACK_SENDS}
mail.${DOMAIN}.        A    127.0.0.1
remote.test.           MX   10 mx.remote.test.
remote.test.           TXT  ${LOOPBACK_SENDS}
mx.remote.test.        A    192.0.2.1
`;

function zoneLine({ name, value }: DkimRecord): string {
  return `${name}. TXT ${value.match(/.{1,250}/g)?.map((part) => `"${part}"`).join(" ")}`;
}

function configText(listeners: Setting["listeners"], dns: string, outbound: string, domainKeys: string): string {
  return `
hostname = "mail.${DOMAIN}"
store = "."

[[domains]]
name = "${DOMAIN}"
${domainKeys}
${
    listeners.map(({ kind, more = "" }) => `[[listeners]]\naddress = "127.0.0.1:0"\nkind = "${kind}"\n${more}`).join(
      "\n",
    )
  }

[dns]
servers = ["${dns}"]

[tls]
certificate = "tls.pem"
key = "tls.key"

[[tls.certificates]]
certificate = "named.pem"
key = "named.key"

[checks]
dmarc = "note" # what has no From arrives here too

[outbound]
${outbound}

[status]
listen = ""
`;
}

async function keepPair(folder: string, name: string, hosts: readonly string[]): Promise<void> {
  const { certificate, key, authority } = await selfSigned(hosts);
  await Deno.writeTextFile(join(folder, `${name}.pem`), certificate);
  await Deno.writeTextFile(join(folder, `${name}.key`), key, { mode: 0o600 });
  await Deno.writeTextFile(join(folder, `${name}.authority.pem`), authority);
}

function ok(answer: Answer): Answer {
  if (answer.code !== 0) throw new Error(`a command ended with ${answer.code}: ${answer.error}${answer.out}`);
  return answer;
}

async function filesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).filter(({ name }) => !name.startsWith("."))
      .map(({ name }) => join(folder, name));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function beginning(path: string): Promise<string> {
  const file = await Deno.open(path);
  try {
    const bytes = new Uint8Array(1024);
    return latin1(bytes.subarray(0, (await file.read(bytes)) ?? 0), "utf-8");
  } finally {
    file.close();
  }
}

function latin1(bytes: Uint8Array, encoding = "latin1"): string {
  return new TextDecoder(encoding).decode(bytes);
}
