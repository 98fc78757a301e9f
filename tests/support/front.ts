/** A real front door on loopback: `Listener`, `Connection` and `Session` with a host in memory behind each caller. */

import type { Caller } from "../../src/accept/caller.ts";
import { Connection, type ConnectionLimits, type Host } from "../../src/accept/connection.ts";
import { type Door, Guests, Listener, type ListenerSettings } from "../../src/accept/listener.ts";
import type { Log } from "../../src/log.ts";
import { Session, type SessionSettings } from "../../src/smtp/session.ts";
import { Certificates } from "../../src/tls/certificates.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { MemoryHost } from "./memory_host.ts";

export const SESSION: SessionSettings = {
  kind: "mx",
  hostname: "mail.dev.test",
  secure: false,
  canStartTls: true,
  mechanisms: ["SCRAM-SHA-256", "PLAIN", "LOGIN"],
  maxMessageSize: 65536,
  maxLine: 4096,
  maxCommand: 2048,
  maxRecipients: 1000,
  maxMessages: 100,
  maxErrors: 20,
};

export const LIMITS: ConnectionLimits = {
  commandTimeout: 300_000,
  dataTimeout: 180_000,
  sessionTimeout: 1_800_000,
  minDataRate: 500,
  greetDelay: 0,
};

const pair = await selfSigned(["localhost", "127.0.0.1"]);
/** For clients: whom to trust. */
export const AUTHORITY = pair.authority;
export const certificates = new Certificates([pair]);

export interface Front {
  readonly port: number;
  readonly guests: Guests;
  /** In the order in which they came. */
  readonly callers: readonly Caller[];
  readonly hosts: readonly MemoryHost[];
  readonly connections: readonly Connection[];
  /** One `event key=value …` for each log line. */
  readonly log: readonly string[];
  /** Resolves when nobody is in any more. */
  empty(): Promise<void>;
  /** Patience in milliseconds. */
  close(patience?: number): Promise<void>;
}

export interface FrontSettings {
  readonly kind?: SessionSettings["kind"];
  readonly session?: Partial<SessionSettings>;
  readonly limits?: Partial<ConnectionLimits>;
  readonly door?: Partial<Door>;
  readonly proxies?: ListenerSettings["proxies"];
  /** Stands in front of the host in memory. */
  readonly host?: (memory: MemoryHost) => Host;
}

export function openFront(settings: FrontSettings = {}): Front {
  const kind = settings.kind ?? "mx";
  const lines: string[] = [], hosts: MemoryHost[] = [], callers: Caller[] = [], connections: Connection[] = [];
  const log: Log = (_level, event, fields = {}) => {
    lines.push(`${event} ${Object.entries(fields).map(([key, value]) => `${key}=${value}`).join(" ")}`);
  };
  const guests = new Guests({ maxConnections: 1000, maxConnectionsPerHost: 1000, ...settings.door });
  const listener = new Listener({ host: "127.0.0.1", port: 0, kind, proxies: settings.proxies ?? [] }, guests, (
    stream,
    peer,
  ) => {
    const memory = new MemoryHost();
    const caller: Caller = { id: String(hosts.length), ...peer };
    hosts.push(memory);
    callers.push(caller);
    const session = new Session({ ...SESSION, kind, secure: kind === "submissions", ...settings.session });
    const limits = { ...LIMITS, ...settings.limits, shownTo: certificates.shownTo.bind(certificates) };
    const connection = new Connection(caller, stream, session, settings.host?.(memory) ?? memory, limits, log);
    connections.push(connection);
    return { connection, ended: () => {} };
  }, log);
  const running = listener.run();
  return {
    port: listener.address.port,
    guests,
    callers,
    hosts,
    connections,
    log: lines,
    async empty() {
      const end = performance.now() + 5_000;
      while (guests.size > 0) {
        if (performance.now() > end) throw new Error(`${guests.size} connections are still open`);
        await new Promise((done) => setTimeout(done, 5));
      }
    },
    async close(patience = 2_000) {
      listener.close();
      await guests.close(patience);
      await running;
      await this.empty();
    },
  };
}
