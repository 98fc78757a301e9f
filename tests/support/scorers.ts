/**
 * A real rspamd and a real spamd on free ports of loopback, in folders of their own. They ask nobody outside.
 * Tests that start them say so with `interop`, which skips them where Debian's packages `rspamd` and `spamd` are missing.
 */

import { join } from "node:path";
import { find } from "../interoperability/programs.ts";

/** Milliseconds. Cold and beside other tests they take some seconds. */
const START_WITHIN = 60_000, STOP_WITHIN = 10_000;

export interface RunningScorer {
  readonly port: number;
  /** Milliseconds until it answered. */
  readonly started: number;
  /** As `[checks] spam` has it. */
  readonly setting: string;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

// What asks the DNS, the web, Redis or the past.
const WITHOUT = [
  ...["antivirus", "arc", "asn", "clickhouse", "dkim", "dkim_signing", "dmarc", "elastic", "external_services"],
  ...["fuzzy_check", "greylist", "hfilter", "history_redis", "mx_check", "neural", "once_received", "p0f", "phishing"],
  ...["ratelimit", "rbl", "replies", "reputation", "rspamd_update", "spf", "surbl", "url_redirector", "whitelist"],
];

/** Debian's configuration, with what stands in a folder of this test over it. */
export async function startRspamd(): Promise<RunningScorer> {
  const folder = await Deno.makeTempDir({ prefix: "rspamd-" });
  const port = freePort(), over = join(folder, "override.d"), state = join(folder, "state");
  await Deno.mkdir(over);
  await Deno.mkdir(state);
  const files: Record<string, string> = {
    // Compiling the names of all top-level domains takes it ten seconds. Nobody answers at the discard port.
    "options.inc": `url_tld = "${folder}/tld.dat"; disable_hyperscan = true; filters = "chartable,regexp";
tempdir = "${state}"; control_socket = "${state}/control mode=0600";
dns { nameserver = ["127.0.0.1:9:1"]; timeout = 0.1s; retransmits = 1; sockets = 1; }`,
    "worker-normal.inc": `bind_socket = "127.0.0.1:${port}"; count = 1;`,
    "worker-controller.inc": "enabled = false; count = -1;",
    "worker-proxy.inc": "enabled = false; count = -1;",
    "logging.inc": 'type = "console"; level = "warning";',
    "statistic.conf": "",
  };
  for (const module of WITHOUT) files[`${module}.conf`] = "enabled = false;";
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(join(over, name), text);
  await Deno.writeTextFile(join(folder, "tld.dat"), "test\ncom\norg\n");
  const paths = { LOCAL_CONFDIR: folder, DBDIR: state, RUNDIR: state, LOGDIR: state };
  return await start("rspamd", [
    ...["-f", "-c", "/etc/rspamd/rspamd.conf", ...await unprivileged([folder, state], "nobody", "nogroup")],
    ...Object.entries(paths).flatMap(([name, path]) => ["--var", `${name}=${path}`]),
  ], { folder, port, setting: `rspamd:http://127.0.0.1:${port}` });
}

/** SpamAssassin's rules as Debian ships them, without those that ask the network and without anybody's preferences. */
export async function startSpamd(): Promise<RunningScorer> {
  const folder = await Deno.makeTempDir({ prefix: "spamd-" });
  const port = freePort();
  return await start("spamd", [
    ...["--local", "--nouser-config", `--listen=127.0.0.1:${port}`, "--syslog=stderr"],
    ...["--min-children=1", "--max-children=2", `--helper-home-dir=${folder}`],
    ...["--cf=use_bayes 0", ...await unprivileged([folder], "nobody")],
  ], { folder, port, setting: `spamd:127.0.0.1:${port}` });
}

/** They do not want to be root: the user they become has to write there. */
async function unprivileged(folders: readonly string[], user: string, group?: string): Promise<string[]> {
  if (Deno.uid() !== 0) return [];
  for (const folder of folders) await Deno.chmod(folder, 0o777);
  return ["-u", user, ...group === undefined ? [] : ["-g", group]];
}

async function start(
  program: string,
  args: string[],
  { folder, port, setting }: { folder: string; port: number; setting: string },
): Promise<RunningScorer> {
  const began = performance.now(), log = join(folder, "output");
  const child = new Deno.Command(find(program) ?? program, { args, stdin: "null", stdout: "piped", stderr: "piped" })
    .spawn();
  const written = [child.stdout, child.stderr].map((stream, at) =>
    stream.pipeTo(Deno.openSync(`${log}.${at}`, { write: true, create: true }).writable)
  );
  let ended = false, stopped: Promise<void> | undefined;
  const end = child.status.then(() => (ended = true));
  const stop = async () => {
    signal(child, "SIGTERM");
    const timer = setTimeout(() => signal(child, "SIGKILL"), STOP_WITHIN);
    await end;
    clearTimeout(timer);
    await Promise.allSettled(written);
    await Deno.remove(folder, { recursive: true });
  };
  const stopOnce = () => stopped ??= stop();
  const deadline = began + START_WITHIN;
  while (!await listens(port)) {
    if (!ended && performance.now() < deadline) {
      await new Promise((done) => setTimeout(done, 50));
      continue;
    }
    if (!ended) signal(child, "SIGKILL");
    await end;
    await Promise.allSettled(written);
    const said = (await Promise.all([0, 1].map((at) => Deno.readTextFile(`${log}.${at}`)))).join("").slice(-2000);
    await stopOnce();
    throw new Error(`${program} does not listen on port ${port}:\n${said}`);
  }
  return {
    port,
    setting,
    started: Math.round(performance.now() - began),
    stop: stopOnce,
    [Symbol.asyncDispose]: stopOnce,
  };
}

async function listens(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

function signal(child: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    child.kill(name);
  } catch { /* It has ended. */ }
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}
