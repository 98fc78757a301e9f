import { X509Certificate } from "node:crypto";
import { type Config, ConfigError, loadConfig } from "../config.ts";
import { publicAddresses } from "../doctor/addresses.ts";
import { examine, type Patient } from "../doctor/examine.ts";
import { doubtful, type Finding, wrong } from "../doctor/finding.ts";
import { type Port, reachable } from "../doctor/ports.ts";
import { formatRecord } from "../doctor/records.ts";
import { openDns } from "../server/inspection.ts";
import { parseDomain } from "../smtp/address.ts";
import { isIn, parseIp, parseNetwork } from "../smtp/network.ts";
import { askServer } from "../status/control.ts";
import { readAcmeState } from "../tls/acme.ts";
import { acmeSettings } from "../tls/acme_settings.ts";
import { isFor } from "../tls/certificate_names.ts";
import type { Command, Context } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION, WrongUsage } from "./arguments.ts";
import { ADDRESS_OPTION, addressesFrom, wantedDomains } from "./dns.ts";
import type { Column } from "./table.ts";
import { counted, formatJson, formatTable, printable } from "./table.ts";

/** Somebody who has mail servers everywhere. */
const PROBE = "gmail.com";
/** Milliseconds for the running server to answer. */
const PATIENCE = 5000;

export const doctor: Command = {
  name: "doctor",
  summary: "check the real world: DNS, ports, certificates, disk, queue",
  examples: ["doctor", "doctor example.com --json", "doctor --address 203.0.113.7 --probe example.org"],
  arguments: [{ name: "domain", explain: "all of the config when it is left out", optional: true }],
  options: [
    ADDRESS_OPTION,
    {
      name: "probe",
      value: "DOMAIN",
      explain: `whose mail servers are called to see whether port 25 is open (${PROBE})`,
    },
    JSON_OPTION,
  ],
  async run(args, options, context) {
    const probe = parseDomain(options.maybe("probe") ?? PROBE);
    if (probe === undefined || probe.startsWith("[")) throw new WrongUsage("--probe must be a name like example.org.");
    const addresses = addressesFrom(options) ?? publicAddresses();
    const findings: Finding[] = [];
    try {
      const config = await loadConfig(context.configFile);
      const domains = wantedDomains(args.maybe("domain"), config.domains);
      findings.push(...doubtsOf(config), ...await examined(patientOf(config, domains, addresses, probe), config));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      findings.push(...error.problems.map(({ file, line, key, message }) =>
        wrong(
          { topic: "config", about: line === 0 ? file : `${file}:${line}` },
          "config-wrong",
          key === "" ? message : `${key}: ${message}`,
          "Put it right first: nothing else was looked at.",
        )
      ));
    }
    show(findings, options.has("json"), context);
    return findings.some(({ result }) => result === "error") ? FAILED : DONE;
  },
};

async function examined(patient: Patient, config: Config): Promise<readonly Finding[]> {
  const dns = await openDns(config), acme = acmeSettings(config), watched = Deno.stderr.isTerminal();
  const say = (text: string) => watched && Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  try {
    return await examine(patient, {
      dns,
      ...(acme && { acme: () => readAcmeState(acme) }),
      ask: (what) => askServer(config.store, { do: what }, undefined, PATIENCE),
      now: Date.now(),
      progress: (done, all) => say(`${done} of ${all} checks are done`),
    });
  } finally {
    say("");
    await dns.close();
  }
}

/** What the doctor has to know of the settings. */
export function patientOf(
  config: Config,
  domains: Config["domains"],
  addresses: readonly string[],
  probe: string,
): Patient {
  const { hostname, dkim, listeners, certificates, tls, store, limits, checks, outbound } = config;
  const { route, smarthost, port, warn_after } = outbound;
  return {
    hostname,
    domains: domains.map(({ name }) => ({ name, dkim: dkim.filter(({ domain }) => domain === name) })),
    addresses,
    listeners: listeners.map(portOf),
    greetDelay: limits.greet_delay,
    tls: certificates.length > 0 || tls.acme !== undefined,
    certificates: chainsOf(config),
    store,
    maxMessage: limits.max_message_size,
    dnsbl: checks.dnsbl,
    outbound: {
      route,
      port,
      probe,
      ...(smarthost && { smarthost: { host: smarthost.hostname, port: smarthost.port } }),
    },
    warnAfter: warn_after,
  };
}

function portOf({ address, kind, proxy_protocol_from }: Config["listeners"][number]): Port {
  const { hostname: host, port } = address;
  // A call from this machine comes from the address that it goes to.
  const from = parseIp(reachable(host));
  const networks = proxy_protocol_from.map(parseNetwork).filter((network) => network !== undefined);
  return { host, port, kind, proxied: from !== undefined && networks.some((network) => isIn(from, network)) };
}

/** The one that is meant for our name first. */
function chainsOf({ certificates, hostname }: Config): Patient["certificates"] {
  const files = certificates.map(({ certificateFile, chain }) => {
    const parsed = (chain.match(/-----BEGIN [^]*?-----END CERTIFICATE-----/g) ?? []).map((pem) =>
      new X509Certificate(pem)
    );
    const isOurs = parsed[0] !== undefined && isFor(parsed[0], hostname);
    return { where: certificateFile, chain: parsed.map(({ raw }) => new Uint8Array(raw)), isOurs };
  });
  return files.sort((one, other) => Number(other.isOurs) - Number(one.isOurs));
}

/** What the config says of certificates is said of what is presented, too. */
function doubtsOf({ warnings, file }: Config): Finding[] {
  return warnings.filter(({ key }) => !key.startsWith("tls.")).map(({ line, key, message }) =>
    doubtful(
      { topic: "config", about: `${file}:${line}` },
      "config-doubtful",
      `${key}: ${message}`,
      "Look at the config.",
    )
  );
}

const COLUMNS: readonly Column<Finding>[] = [
  { head: "RESULT", cell: ({ result }) => result },
  { head: "CHECK", cell: ({ topic }) => topic },
  { head: "OF", cell: ({ about }) => about },
  { head: "FOUND", cell: ({ found }) => found },
];

function show(findings: readonly Finding[], asJson: boolean, { out, note, colour }: Context): void {
  if (asJson) return out(formatJson(findings));
  const [errors, warnings] = (["error", "warning"] as const).map((wanted) =>
    findings.filter(({ result }) => result === wanted)
  );
  const faults = [...errors ?? [], ...warnings ?? []];
  out([formatTable(COLUMNS, findings, colour), ...treatmentsOf(faults)].join("\n\n"));
  note(
    faults.length === 0
      ? "All is well."
      : `${counted(errors?.length ?? 0, "error")}, ${counted(warnings?.length ?? 0, "warning")}.`,
  );
}

/** What to do, under what it is about; what helps against several faults stands under the last of them. */
function treatmentsOf(faults: readonly Finding[]): string[] {
  const treatments = new Map<string, string[]>();
  for (const { result, topic, about, found, advice = "", records = [] } of faults) {
    const treatment = [advice, ...records.map((record) => `  ${formatRecord(record)}`)].map(printable).join("\n");
    const against = treatments.get(treatment) ?? [];
    treatments.set(treatment, [...against, printable(`${result}: ${topic} of ${about}: ${found}.`)]);
  }
  return [...treatments].map(([treatment, against]) => [...against, treatment].join("\n"));
}
