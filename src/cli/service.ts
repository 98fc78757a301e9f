/**
 * The server as a service of the system. This program starts no other one: it writes the files, and says what root has
 * to run.
 */

import { dirname } from "node:path";
import { reasonOf } from "../log.ts";
import { accountIn, obstacle } from "../service/reach.ts";
import { hiddenPaths, SERVICE } from "../service/service_facts.ts";
import { askServer } from "../status/control.ts";
import { Refused } from "../store/people.ts";
import type { Command, Context, Given, Option } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION, YES_OPTION } from "./arguments.ts";
import { planService, type ServicePlan } from "./service_plan.ts";
import { formatJson, formatSides, printable } from "./table.ts";
import { readWhole, writeWhole } from "./whole_file.ts";

const FOR: Option = {
  name: "for",
  value: "MANAGER",
  choices: ["systemd", "launchd"],
  explain: "systemd (default on Linux) or launchd (default on macOS)",
};
const ROOT: Option = { name: "root", value: "DIR", explain: "write below this folder, for those who make packages" };
const EXECUTABLE: Option = { name: "executable", value: "FILE", explain: "the program to run (default: this one)" };

const print: Command = {
  name: "print",
  summary: "print the unit, and touch nothing",
  examples: ["service print", "service print --for launchd"],
  options: [FOR, EXECUTABLE],
  async run(_args, options, context) {
    const { configured, files: [description] } = await planService(options, context, "right if there");
    if (!configured) context.note(`${context.configFile} does not exist yet: this is the service for the defaults.`);
    context.out(description?.text.trimEnd() ?? "");
    return DONE;
  },
};

const install: Command = {
  name: "install",
  summary: "write the unit and the user it runs as, and say what to run next",
  examples: [
    "service install",
    "service install --yes",
    "service install --root ./package --executable /usr/bin/maildemon",
  ],
  options: [FOR, EXECUTABLE, ROOT, { name: "yes", explain: "overwrite a unit that was changed, without asking" }],
  async run(_args, options, context) {
    demandRoot(options);
    if (!Deno.build.standalone && !options.has("executable")) {
      throw new Refused(
        "This runs from its source: make an executable with deno task compile and install with that, or name one " +
          "with --executable FILE.",
      );
    }
    // Whoever makes a package has no configuration.
    const plan = await planService(options, context, options.has("root") ? "right if there" : "right");
    if (!options.has("root")) await demandProgram(plan.facts.executable);
    demandVisible(plan);
    let replaced = false, written = false;
    for (const { path, text } of plan.files) {
      const there = await readWhole(path);
      if (there === text) context.out(`${path} is there already.`);
      if (there === text) continue;
      if (there !== undefined && !await mayReplace(path, options, context)) return FAILED;
      await Deno.mkdir(dirname(path), { recursive: true });
      await writeWhole(path, text, 0o644);
      context.out(`Wrote ${path}.`);
      written = true;
      replaced ||= there !== undefined;
    }
    if (options.has("root")) return DONE;
    for (const doubt of await doubts(plan)) context.note(doubt);
    context.out(`${written ? "Now run" : "If it does not run yet"}: ${replaced ? plan.renew : plan.begin}`);
    return DONE;
  },
};

const uninstall: Command = {
  name: "uninstall",
  summary: "take away what install wrote; configuration, store and mail stay",
  examples: ["service uninstall", "service uninstall --yes"],
  options: [FOR, ROOT, YES_OPTION],
  async run(_args, options, context) {
    demandRoot(options);
    const plan = await planService(options, context, "none");
    const there = [];
    for (const { path } of plan.files) if (await isThere(path)) there.push(path);
    if (plan.link !== undefined && await isThere(plan.link)) there.push(plan.link);
    if (there.length === 0) {
      context.note("The service is not installed.");
      return DONE;
    }
    if (!options.has("yes") && !await context.prompt.confirm(`Remove ${there.join(" and ")}?`)) {
      context.note("Nothing was removed.");
      return FAILED;
    }
    for (const path of there) {
      await Deno.remove(path);
      context.out(`Removed ${path}.`);
    }
    context.out("The configuration, the store with the mail in it, and the user of the service stay.");
    if (!options.has("root")) context.out(`Now run: ${plan.end}`);
    return DONE;
  },
};

const status: Command = {
  name: "status",
  summary: "show whether the service is installed and the server runs",
  examples: ["service status", "service status --json"],
  options: [FOR, EXECUTABLE, ROOT, JSON_OPTION],
  async run(_args, options, context) {
    const plan = await planService(options, context, "right if there");
    const files = await Promise.all(plan.files.map(async ({ path, text }) => {
      const there = await readWhole(path);
      return { path, state: there === undefined ? "missing" : there === text ? "as printed" : "different" };
    }));
    const enabled = plan.link === undefined ? undefined : await isThere(plan.link);
    const server = await serverState(plan.facts.store);
    if (options.has("json")) context.out(formatJson({ files, enabled, server, store: plan.facts.store }));
    else {
      context.out(formatSides([
        ...files.map(({ path, state }) => [path, STATES[state] ?? state] as const),
        ...enabled === undefined ? [] : [["with the machine", enabled ? "it starts" : "it does not start"] as const],
        ["server", server.running ? `runs, version ${server.version}` : server.reason],
      ], context.colour));
    }
    return server.running && files.every(({ state }) => state === "as printed") ? DONE : FAILED;
  },
};

const STATES: Readonly<Record<string, string>> = {
  missing: "missing: service install writes it",
  "as printed": "installed",
  different: "installed, and not what service print shows: changed by hand, by another version, or by new settings",
};

export const service: Command = {
  name: "service",
  summary: "run as a service of this system",
  examples: ["service install"],
  subcommands: [install, uninstall, status, print],
};

function demandRoot(options: Given): void {
  if (options.has("root") || Deno.build.os === "windows" || Deno.uid() === 0) return;
  throw new Refused(
    `Only root may change the services of this system: run it with sudo, or name a folder with --root.`,
  );
}

async function demandProgram(path: string): Promise<void> {
  const isProgram = await Deno.stat(path).then(
    ({ isFile, mode }) => isFile && ((mode ?? 0) & 0o111) !== 0,
    () => false,
  );
  if (!isProgram) {
    throw new Refused(`${printable(path)} is no program: name one that can be run with --executable FILE.`);
  }
}

function demandVisible({ hidden: [path] }: ServicePlan): void {
  if (path === undefined) return;
  throw new Refused(
    `${path} cannot be used by a service, which sees no home and no temporary folder: put the program into ` +
      "/usr/local/bin, the configuration into /etc/maildemon and the store into /var/lib/maildemon.",
  );
}

async function mayReplace(path: string, options: Given, { prompt, note }: Context): Promise<boolean> {
  if (options.has("yes")) return true;
  const question = `${path} was changed by hand or by another version. Replace it?`;
  const sure = await prompt.confirm(question).catch((error) => {
    throw error instanceof Refused
      ? new Refused(`${path} is different from what would be written. ${error.message}`)
      : error;
  });
  if (!sure) note("It was not replaced.");
  return sure;
}

async function doubts({ facts, readByUser }: ServicePlan): Promise<string[]> {
  const account = accountIn(await readWhole("/etc/passwd") ?? "", SERVICE);
  const found: string[] = [];
  for (const path of [facts.executable, ...readByUser]) {
    const stopped = await obstacle(path, account);
    if (stopped !== undefined) {
      found.push(`The user ${SERVICE} has to be able to read ${path}, and the rights of ${stopped} may not allow it.`);
    }
  }
  for (const path of facts.maildirs) {
    found.push(
      hiddenPaths([path]).length === 0
        ? `The user ${SERVICE} has to be able to write to ${path}, too.`
        : `The service sees no home and no temporary folder, so mail for ${path} waits: choose another place for it. ` +
          `ProtectHome=no in a drop-in (systemctl edit ${SERVICE}) lets it into all homes.`,
    );
  }
  return found;
}

async function serverState(store: string): Promise<{ running: boolean; version?: string; reason: string }> {
  try {
    const answer = await askServer(store, { do: "version" }, undefined, 5_000);
    if (answer === "not running") return { running: false, reason: "does not run" };
    const version = answer.ok ? String((answer.value as { version?: unknown }).version) : "unknown";
    return { running: true, version, reason: "" };
  } catch (error) {
    return { running: false, reason: reasonOf(error) };
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
