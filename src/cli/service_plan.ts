/** Which files make the server a service of this system, and what is to be run around them. */

import { dirname, join, resolve } from "node:path";
import { credentialName, loadConfig } from "../config.ts";
import { LAUNCHD_USER, launchdPlist } from "../service/launchd_plist.ts";
import { hiddenPaths, SERVICE, type ServiceFacts } from "../service/service_facts.ts";
import { isStateFolder, systemdUnit, sysusersLine } from "../service/systemd_unit.ts";
import { demandDelivery } from "../store/delivery.ts";
import { Refused } from "../store/people.ts";
import type { Context, Given } from "./arguments.ts";
import { shellWord } from "./shell_word.ts";
import { readWhole } from "./whole_file.ts";
import { withPeople } from "./with_people.ts";

export type Manager = "systemd" | "launchd";

export interface ServicePlan {
  readonly facts: ServiceFacts;
  /** False: there is no configuration yet, and the facts are those of the defaults. */
  readonly configured: boolean;
  /** What the server reads as its own user, besides the secrets that are handed to it. */
  readonly readByUser: readonly string[];
  /** Paths of it that the service could not see. */
  readonly hidden: readonly string[];
  /** The description of the service first. Paths begin below `root`. */
  readonly files: readonly { readonly path: string; readonly text: string }[];
  /** The link that starts the service with the machine; none where the description itself says so. */
  readonly link?: string;
  /** Lines for a root shell: after installing, after replacing an older description, after removing. */
  readonly begin: string;
  readonly renew: string;
  readonly end: string;
}

/**
 * `needs`: a configuration that is right, one that is right if it is there, or none, for the paths of the files alone.
 * Rejects with ConfigError.
 */
export async function planService(
  options: Given,
  context: Context,
  needs: "right" | "right if there" | "none",
): Promise<ServicePlan> {
  const manager = managerOf(options), root = options.maybe("root") ?? "/";
  const named = options.maybe("executable");
  const executable = named !== undefined
    ? resolve(named)
    : Deno.build.standalone
    ? Deno.execPath()
    : `/usr/local/bin/${SERVICE}`;
  const missing = needs === "none" || needs !== "right" && await readWhole(context.configFile) === undefined;
  const rest = missing ? defaults(context.configFile) : await configured(context);
  const facts: ServiceFacts = { executable, ...rest.facts };
  return { facts, configured: !missing, readByUser: rest.readByUser, ...plans[manager](facts, root, rest.readByUser) };
}

function managerOf(options: Given): Manager {
  const named = options.maybe("for");
  if (named === "systemd" || named === "launchd") return named;
  if (Deno.build.os === "linux") return "systemd";
  if (Deno.build.os === "darwin") return "launchd";
  throw new Refused(
    `This program makes no service on ${Deno.build.os}: let the service manager you have run "maildemon serve", or ` +
      "name another one with --for.",
  );
}

type Facts = Omit<ServiceFacts, "executable">;

function defaults(config: string): { facts: Facts; readByUser: readonly string[] } {
  const file = resolve(config);
  const facts = { config: file, store: `/var/lib/${SERVICE}`, secrets: [], maildirs: [], sharedKv: false };
  return { facts, readByUser: [file] };
}

async function configured(context: Context): Promise<{ facts: Facts; readByUser: readonly string[] }> {
  const { file, files, certificateFiles, store, kv, tls } = await loadConfig(context.configFile);
  // A certificate is renewed while the server runs, and would not be handed over again.
  const readByUser = [
    file,
    ...certificateFiles,
    ...tls.acme?.directory_ca === undefined ? [] : [tls.acme.directory_ca],
  ];
  const secrets = files.filter((name) => !readByUser.includes(name)).map((name) => ({
    name: credentialName(name),
    file: name,
  }));
  const maildirs = await outsideMaildirs(context, store, kv !== undefined);
  return { facts: { config: file, store, secrets, maildirs, sharedKv: kv !== undefined }, readByUser };
}

async function outsideMaildirs(context: Context, store: string, sharedKv: boolean): Promise<string[]> {
  if (!sharedKv && await Deno.stat(join(store, "kv.sqlite")).then(() => false, () => true)) return [];
  const users = await withPeople(context, ({ users }) => users.list()).catch((error) => {
    // The service itself waits for such a server; its description need not.
    if (!sharedKv || !(error instanceof Error)) throw error;
    context.note(`${error.message} Maildirs that users have outside the store are therefore not looked at.`);
    return [];
  });
  const paths = users.flatMap(({ deliver }) => deliver).map(demandDelivery)
    .flatMap((delivery) => delivery.by === "maildir" && delivery.path.startsWith("/") ? [delivery.path] : []);
  return [...new Set(paths)].filter((path) => !path.startsWith(`${store}/`)).sort();
}

type Plan = Pick<ServicePlan, "files" | "hidden" | "link" | "begin" | "renew" | "end">;

const plans: Readonly<Record<Manager, (facts: ServiceFacts, root: string, readByUser: readonly string[]) => Plan>> = {
  systemd(facts, root, readByUser) {
    const folder = join(root, "etc/systemd/system"), unit = `${SERVICE}.service`;
    const owned = ["systemd-sysusers"];
    if (!isStateFolder(facts.store)) {
      owned.push(`mkdir -p -m 700 ${facts.store}`, `chown -R ${SERVICE}: ${facts.store}`);
    }
    return {
      files: [
        { path: join(folder, unit), text: systemdUnit(facts) },
        { path: join(root, `etc/sysusers.d/${SERVICE}.conf`), text: sysusersLine(facts.store) },
      ],
      hidden: hiddenPaths([facts.executable, facts.store, ...readByUser]),
      link: join(folder, "multi-user.target.wants", unit),
      begin: [...owned, "systemctl daemon-reload", `systemctl enable --now ${SERVICE}`].join(" && "),
      renew: [...owned, "systemctl daemon-reload", `systemctl restart ${SERVICE}`].join(" && "),
      end: `systemctl stop ${SERVICE}; systemctl daemon-reload`,
    };
  },
  launchd(facts, root) {
    // Nobody hands secrets over here: the user has to own the files, or their folder.
    const secrets = facts.secrets.map(({ file }) => dirname(file) === dirname(facts.config) ? file : dirname(file));
    const store = shellWord(facts.store), theirs = [facts.store, ...new Set(secrets)].map(shellWord).join(" ");
    const plist = `/Library/LaunchDaemons/${SERVICE}.plist`;
    const start = [
      `id ${LAUNCHD_USER} >/dev/null 2>&1 || ` +
      `sysadminctl -addUser ${LAUNCHD_USER} -roleAccount -home ${store} -shell /usr/bin/false`,
      `mkdir -p ${store}`,
      `chown -R ${LAUNCHD_USER} ${theirs}`,
      `launchctl bootstrap system ${plist}`,
    ].join(" && ");
    return {
      files: [{ path: join(root, plist), text: launchdPlist(facts) }],
      hidden: [],
      begin: start,
      renew: `launchctl bootout system/${SERVICE}; ${start}`,
      end: `launchctl bootout system/${SERVICE}`,
    };
  },
};
