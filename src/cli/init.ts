/**
 * From nothing to a server that can be started. Each step makes what is missing and keeps what is there, and each file
 * appears whole: whatever ends it in the middle, the next run goes on from there.
 */

import { dirname, join, relative, resolve } from "node:path";
import { type Config, loadConfig, parseConfig } from "../config.ts";
import { publicAddresses } from "../doctor/addresses.ts";
import { formatZone, recordsOf } from "../doctor/records.ts";
import { reasonOf } from "../log.ts";
import { dkimRecord, generateDkimKey } from "../send/dkim_key.ts";
import { formatMailbox, type Mailbox } from "../smtp/address.ts";
import { demandDelivery } from "../store/delivery.ts";
import { demandMailbox, Refused } from "../store/people.ts";
import { demandNoTag } from "../store/users.ts";
import type { Command, Context, Given } from "./arguments.ts";
import { DEFAULT_CONFIG, DONE, WrongUsage } from "./arguments.ts";
import { datedSelectors } from "./dkim.ts";
import { ADDRESS_OPTION, addressesFrom } from "./dns.ts";
import { HIGH_PORTS, initialConfig, STANDARD_PORTS } from "./init_config.ts";
import { shellWord } from "./shell_word.ts";
import { printable } from "./table.ts";
import { readWhole, removeParts, writeWhole } from "./whole_file.ts";
import { withPeople } from "./with_people.ts";

const TERMS = "https://letsencrypt.org/repository/";

export const init: Command = {
  name: "init",
  summary: "set up a new server: configuration, keys, the first user, DNS records; keeps what is there",
  examples: [
    "init ann@example.com",
    "init ann@example.com --deliver forward:ann@elsewhere.test --yes < password",
    "init ann@example.com --dir ./mail --ports high --smarthost smtp.example.net:587",
  ],
  arguments: [{ name: "address", explain: "the first user, in the domain whose mail comes here" }],
  options: [
    {
      name: "dir",
      value: "DIR",
      explain: "where everything goes (default: the configuration's folder, /var/lib/maildemon)",
    },
    { name: "hostname", value: "NAME", explain: "name of this machine in the DNS (default: mail.DOMAIN)" },
    { name: "deliver", value: "WHERE", explain: "maildir (default) to keep the mail here, or forward:ADDRESS" },
    ADDRESS_OPTION,
    {
      name: "ports",
      value: "WHICH",
      choices: ["standard", "high"],
      explain: "standard (default: 25, 587, 465) or high",
    },
    { name: "smarthost", value: "HOST:PORT", explain: "send all mail through this server, as where port 25 is closed" },
    {
      name: "yes",
      explain: "ask nothing: take the defaults, accept the terms of Let's Encrypt, read the password from standard " +
        "input or make one",
    },
  ],
  async run(args, options, context) {
    const address = demandMailbox(args.text("address"), "The address");
    if (address.domain.startsWith("[")) throw new WrongUsage("ADDRESS must be in a domain, like ann@example.com.");
    demandNoTag(address);
    const delivery = options.maybe("deliver");
    if (delivery !== undefined) demandDelivery(delivery);
    const addresses = addressesFrom(options) ?? publicAddresses();
    const dir = options.maybe("dir");
    if (dir === "") throw new WrongUsage("--dir must be a folder; the current one is .");
    const file = resolve(dir === undefined ? context.configFile : join(dir, "config.toml"));
    const there = { ...context, configFile: file };

    const fresh = await readWhole(file) === undefined;
    if (fresh) await writeConfig(address, options, there);
    else context.note(`${printable(file)} is there already, and stays as it is.`);
    const config = await loadConfig(file);
    await addUser(address, delivery, config, options, there).catch((error) => {
      if (!fresh || !(error instanceof Error)) throw error;
      throw new Refused(`${error.message}\nWhat was written stays: the same line, said again, adds the user.`);
    });

    const keys = config.domains.map(({ name }) => ({
      name,
      dkim: config.dkim.filter(({ domain }) => domain === name),
    }));
    context.note("Publish these records:");
    context.out(formatZone(recordsOf({ hostname: config.hostname, domains: keys, addresses })));
    context.note(nextSteps(config, addresses));
    return DONE;
  },
};

async function writeConfig(address: Mailbox, options: Given, context: Context): Promise<void> {
  const { configFile: file, prompt, note } = context;
  const folder = dirname(file), asks = !options.has("yes");
  const proposal = options.maybe("hostname") ?? `mail.${address.domain}`;
  const hostname = asks && !options.has("hostname")
    ? await prompt.ask("Name of this machine in the DNS", proposal)
    : proposal;
  const agreed = !asks || await prompt.confirm(
    `Certificates come from Let's Encrypt. Do you accept its terms of service (${TERMS})?`,
  );
  const smarthost = options.maybe("smarthost");
  const keys = await plannedKeys(folder, address.domain);
  const text = initialConfig({
    hostname,
    store: isSystemFolder(file, options) ? "/var/lib/maildemon" : "data",
    domain: address.domain,
    dkim: keys.map(({ selector, file }) => ({ selector, key: relative(folder, file) })),
    ports: options.maybe("ports") === "high" ? HIGH_PORTS : STANDARD_PORTS,
    everywhere: hasIpv6() ? "[::]" : "0.0.0.0",
    ...agreed && { acme: { email: formatMailbox(address) } },
    ...smarthost !== undefined && { smarthost },
  });
  // Before anything is written: what was typed may be no host name.
  const parsed = parseConfig(text, file);
  if ("problems" in parsed) {
    throw new Refused(parsed.problems.map(({ key, message }) => `${key}: ${message}`).join("\n"));
  }
  await makeFolder(folder, 0o755);
  await makeFolder(join(folder, "dkim"), 0o700);
  for (const one of [folder, join(folder, "dkim")]) await removeParts(one);
  for (const { type, file } of keys) {
    if (await readWhole(file) !== undefined) note(`${printable(file)} is there already, and stays as it is.`);
    else {
      await writeWhole(file, await generateDkimKey(type), 0o600);
      note(`Wrote ${printable(file)}.`);
    }
  }
  // Last, because it names the others: where it is, all is. It holds no secret, and the service has to read it.
  await writeWhole(file, text, 0o644);
  note(`Wrote ${printable(file)}.`);
}

interface PlannedKey {
  readonly type: "rsa" | "ed25519";
  readonly selector: string;
  readonly file: string;
}

/** Those that a run has left that did not come to its end, and new ones for what is missing. */
async function plannedKeys(folder: string, domain: string): Promise<PlannedKey[]> {
  const left = new Map<string, PlannedKey>();
  const dkim = join(folder, "dkim");
  try {
    for await (const { name, isFile } of Deno.readDir(dkim)) {
      const selector = name.startsWith(`${domain}.`)
        ? /^([^.]+)\.pem$/.exec(name.slice(domain.length + 1))?.[1]
        : undefined;
      if (!isFile || selector === undefined) continue;
      const file = join(dkim, name), type = typeOf(await Deno.readTextFile(file));
      if (type !== undefined) left.set(type, { type, selector, file });
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const selectors = datedSelectors();
  return (["rsa", "ed25519"] as const).map((type) => {
    const selector = selectors[type];
    return left.get(type) ?? { type, selector, file: join(dkim, `${domain}.${selector}.pem`) };
  });
}

function typeOf(pem: string): PlannedKey["type"] | undefined {
  try {
    return /k=ed25519/.test(dkimRecord(pem)) ? "ed25519" : "rsa";
  } catch {
    return undefined;
  }
}

async function addUser(
  address: Mailbox,
  delivery: string | undefined,
  config: Config,
  options: Given,
  context: Context,
): Promise<void> {
  const { prompt, note } = context, login = formatMailbox(address);
  if (!config.domains.some(({ name }) => name === address.domain)) {
    throw new Refused(
      `${config.file} has no domain ${address.domain}: add [[domains]] with this name there, or choose another --dir.`,
    );
  }
  await withPeople(context, async ({ users }) => {
    const all = await users.list();
    if (all.some((user) => user.address.toLowerCase() === login.toLowerCase())) {
      note(`The user ${printable(login)} is there already, and stays as it is.`);
      return;
    }
    const asks = !options.has("yes");
    const deliver = delivery ?? (asks ? await askDelivery(context) : "maildir");
    const given = asks
      ? await prompt.password(`Password of ${printable(login)}`, "new")
      : await prompt.piped("a password") || undefined;
    const password = given ?? newPassword();
    await users.add({ address: login, deliver: deliver === "maildir" ? [] : [deliver], password });
    note(`Added the user ${printable(login)}.`);
    // Not to standard output: that goes into a zone.
    if (given === undefined) note(`Password of ${printable(login)}, shown only here: ${password}`);
  });
}

async function askDelivery({ prompt }: Context): Promise<string> {
  const answer = await prompt.ask('Where shall the mail go: "here", or an address to forward it to', "here");
  if (answer.toLowerCase() === "here") return "maildir";
  const delivery = answer.includes(":") ? answer : `forward:${answer}`;
  demandDelivery(delivery);
  return delivery;
}

// 32 of them, none of which is mistaken for another.
const SIGNS = "abcdefghijkmnpqrstuvwxyz23456789";

/** 100 bits. */
function newPassword(): string {
  const signs = Array.from(crypto.getRandomValues(new Uint8Array(20)), (byte) => SIGNS[byte % SIGNS.length]);
  return (signs.join("").match(/.{5}/g) ?? []).join("-");
}

/** The one of the system, whose data has its own place; everywhere else all stays together. */
function isSystemFolder(file: string, options: Given): boolean {
  return !options.has("dir") && dirname(file) === dirname(DEFAULT_CONFIG);
}

async function makeFolder(folder: string, mode: number): Promise<void> {
  try {
    await Deno.mkdir(folder, { recursive: true, mode });
  } catch (error) {
    const why = error instanceof Deno.errors.PermissionDenied ? "this user may not" : reasonOf(error);
    throw new Refused(`Cannot make the folder ${folder}: ${why}. Run it with sudo, or choose another one with --dir.`);
  }
}

function hasIpv6(): boolean {
  return Deno.networkInterfaces().some(({ family }) => family === "IPv6");
}

function nextSteps({ file, listeners, certificates, tls }: Config, addresses: readonly string[]): string {
  const near = relative(Deno.cwd(), file), named = near.startsWith("..") ? file : near;
  const isOfSystem = file === DEFAULT_CONFIG;
  const maildemon = isOfSystem ? "maildemon" : `maildemon --config ${printable(shellWord(named))}`;
  const lines: string[] = [];
  if (addresses.length === 0) {
    lines.push(
      "This machine has no public address of its own. Say it with --address IP, and its records are there, too.",
    );
  }
  if (tls.acme !== undefined && certificates.length === 0) {
    lines.push("A certificate is fetched once the name leads here; until then the server presents one of its own.");
  } else if (certificates.length === 0) {
    lines.push("Without a certificate nobody can sign in and send: the configuration says where to name one.");
  }
  if (Deno.build.os !== "windows" && Deno.uid() !== 0 && listeners.some(({ address }) => address.port < 1024)) {
    lines.push("Ports below 1024 need root or the service; with --ports high in a new folder they are not needed.");
  }
  return [
    ...lines,
    "What comes next:",
    "  1. Publish the records at your DNS provider.",
    isOfSystem
      ? `  2. "${maildemon} service install" makes it a service, and prints the line that starts it.`
      : `  2. "${maildemon} serve" runs the server.`,
    `  3. "${maildemon} doctor" says what is still missing.`,
  ].join("\n");
}
