/** Whether we answer where the config says, and how. */

import { formatServer } from "../dns/servers.ts";
import { call, CallFailed, type Met } from "./caller.ts";
import { doubtful, type Finding, fine, type Subject, wrong } from "./finding.ts";

export interface Port {
  /** As the config has it. Port 0 is a free one, which nobody can know. */
  readonly host: string;
  readonly port: number;
  readonly kind: "mx" | "submission" | "submissions";
  /** Networks whose calls begin with the line of a proxy include this machine. */
  readonly proxied: boolean;
}

export interface PortSettings {
  readonly hostname: string;
  /** Whether STARTTLS is to be offered. */
  readonly tls: boolean;
  /** Milliseconds for a call, and how long we let callers wait for our greeting. */
  readonly patience: number;
  readonly greetDelay: number;
  /** As in a call. */
  readonly authority?: string;
}

/** Milliseconds: nobody waits longer for the greeting of a server that makes callers wait. */
const LONGEST_DELAY = 12_000;

/** With what was presented there. */
export async function checkPort(
  { host, port, kind, proxied }: Port,
  { hostname, tls, patience, greetDelay, authority }: PortSettings,
  isRunning: boolean,
): Promise<{ readonly findings: readonly Finding[] } & Pick<Met, "chain" | "distrust">> {
  const about = `${formatServer({ address: host, port })} (${kind})`, subject = { topic: "port", about } as const;
  if (port === 0) return { findings: [fine(subject, "is any free port")] };
  let met: Met;
  try {
    met = await call({
      host: reachable(host),
      port,
      // With our name from an address of this machine we would be somebody who lies.
      hello: literalOf(reachable(host)),
      tls: !isRunning ? "none" : kind === "submissions" ? "implicit" : "starttls",
      serverName: hostname,
      proxied: isRunning && proxied,
      ...(authority !== undefined && { authority }),
      patience: patience + Math.min(greetDelay, LONGEST_DELAY),
    });
  } catch (error) {
    if (!(error instanceof CallFailed)) throw error;
    // That the server does not run is said elsewhere: then only who holds its port is of interest.
    if (!isRunning) return { findings: error.at === "connection" ? [] : [taken(subject, error.message)] };
    if (error.at === "greeting" && greetDelay > LONGEST_DELAY) {
      return { findings: [fine(subject, "takes calls; its greeting was not waited for (greet_delay)")] };
    }
    return { findings: [failed(subject, error)] };
  }
  const isOurs = met.greeting.slice(4).split(" ")[0]?.toLowerCase() === hostname;
  if (!isRunning || !isOurs) return { findings: [taken(subject, `greets with "${met.greeting}"`)] };
  const { chain, distrust } = met;
  if (tls && chain === undefined) {
    const advice = "Look into the log of the server, and at [tls].";
    return { findings: [wrong(subject, "port-without-tls", "answers, but offers no TLS", advice)] };
  }
  if (chain === undefined) {
    const advice = "Write certificate and key into [tls], or nobody can send to us under TLS.";
    return { findings: [doubtful(subject, "port-without-tls", "answers without TLS", advice)] };
  }
  return {
    findings: [fine(subject, kind === "submissions" ? "answers under TLS" : "answers, and offers TLS")],
    chain,
    ...(distrust !== undefined && { distrust }),
  };
}

function failed(subject: Subject, { at, message }: CallFailed): Finding {
  switch (at) {
    case "connection":
      return wrong(
        subject,
        "port-shut",
        `nobody answers there: ${message}`,
        "The running server does not have this port: restart it, and see in its log why it could not open it.",
      );
    case "greeting":
      return wrong(
        subject,
        "port-rude",
        `the connection is taken, and then: ${message}`,
        "Look into the log of the server. With proxy_protocol_from, only those networks may call.",
      );
    case "tls":
      return wrong(
        subject,
        "port-without-tls",
        `TLS fails: ${message}`,
        "Look into the log of the server, and at [tls].",
      );
    default:
      return at satisfies never;
  }
}

function taken(subject: Subject, found: string): Finding {
  return wrong(
    subject,
    "port-taken",
    `another program has this port: ${found}`,
    "Stop it, or give the listener another address or port.",
  );
}

/** Who listens everywhere listens here, too; on IPv4 also where `::` stands and the machine has no IPv6. */
export function reachable(host: string): string {
  return host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
}

function literalOf(address: string): string {
  return address.includes(":") ? `[IPv6:${address}]` : `[${address}]`;
}
