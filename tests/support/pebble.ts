/** Debian's pebble: a certificate authority for trials that speaks ACME and looks for itself whether a name is ours. */

import { NameServer, serveZone } from "../../src/sandbox/name_server.ts";
import { makeZone } from "../../src/sandbox/zone.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { find } from "../interoperability/programs.ts";
import { until } from "./letters.ts";

export interface Pebble extends AsyncDisposable {
  readonly directory: string;
  /** PEM: by what it is known over HTTPS. */
  readonly authority: string;
  /** Where it calls for http-01 and for tls-alpn-01. */
  readonly httpPort: number;
  readonly tlsPort: number;
  /** What it has written so far. */
  log(): string;
  /** The addresses of a name, for its resolver; none: the name does not exist. */
  publish(names: Readonly<Record<string, string>>): void;
  stop(): Promise<void>;
}

export const isPebbleMissing = find("pebble") === undefined;

/** A test with a pebble of its own; where it is not installed the test is ignored, and its line says so. */
export function withPebble(name: string, work: (pebble: Pebble) => Promise<void>): void {
  Deno.test({
    name: isPebbleMissing ? `${name} (skipped: install the Debian package pebble)` : name,
    ignore: isPebbleMissing,
    fn: async () => {
      await using pebble = await startPebble();
      await work(pebble);
    },
  });
}

/** `names`: what its resolver knows at first. Rejects with its log when it does not start. */
export async function startPebble(names: Readonly<Record<string, string>> = {}): Promise<Pebble> {
  const folder = await Deno.makeTempDir({ prefix: "pebble-" });
  const resolver = await serveZone(zoneOf(names));
  const { certificate, key, authority } = await selfSigned(["localhost"]);
  const [port, management, httpPort, tlsPort] = freePorts(4);
  await Deno.writeTextFile(`${folder}/certificate.pem`, certificate);
  await Deno.writeTextFile(`${folder}/key.pem`, key);
  await Deno.writeTextFile(
    `${folder}/config.json`,
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${port}`,
        managementListenAddress: `127.0.0.1:${management}`,
        certificate: `${folder}/certificate.pem`,
        privateKey: `${folder}/key.pem`,
        httpPort,
        tlsPort,
      },
    }),
  );
  const child = new Deno.Command(find("pebble") ?? "pebble", {
    args: ["-config", `${folder}/config.json`, "-dnsserver", `127.0.0.1:${resolver.server.port}`],
    // It believes nobody for what was proved before, and does not wait for the fun of it.
    env: { PEBBLE_VA_NOSLEEP: "1", PEBBLE_AUTHZREUSE: "0" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let log = "";
  const reading = [child.stdout, child.stderr].map(async (stream) => {
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) log += piece;
  });
  let stopped: Promise<void> | undefined;
  const stop = () =>
    stopped ??= (async () => {
      child.kill("SIGKILL");
      await child.status;
      await Promise.all(reading);
    })();
  const dispose = async () => {
    await stop();
    await resolver.close();
    await Deno.remove(folder, { recursive: true });
  };
  try {
    await until(
      () => Deno.connect({ port: port!, hostname: "127.0.0.1" }).then((conn) => (conn.close(), true), () => false),
      "pebble",
    );
  } catch (error) {
    await dispose();
    throw new Error(`${error}: ${log}`);
  }
  return {
    directory: `https://localhost:${port}/dir`,
    authority,
    httpPort: httpPort!,
    tlsPort: tlsPort!,
    log: () => log,
    publish: (names) => resolver.replaceZone(zoneOf(names)),
    stop,
    [Symbol.asyncDispose]: dispose,
  };
}

function zoneOf(names: Readonly<Record<string, string>>): Parameters<NameServer["replaceZone"]>[0] {
  const records = Object.entries(names).map(([name, data]) => ({ name, type: "A", ttl: 1, data } as const));
  return makeZone(records, new Map());
}

/** All different, and free a moment ago. */
function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const ports = listeners.map(({ addr }) => addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}
