/**
 * The executable, built with the flags of the task `compile`, in a folder where nothing else is: no Deno, no sources, no
 * packages, and as a user who can read nobody's cache. Where Deno's download host cannot be reached, the base of an
 * older Deno takes its place, whose TLS cannot answer a handshake; then that part of the story is left out.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { Resolver } from "../src/dns/resolver.ts";
import { serveZone } from "../src/sandbox/name_server.ts";
import { parseZone } from "../src/sandbox/zone_file.ts";
import { find, type Ran, run } from "./interoperability/programs.ts";
import { textOf } from "./support/every_cut.ts";
import { expect, letter, send, until } from "./support/letters.ts";
import { RemoteServer } from "./support/remote_server.ts";
import { SmtpPeer } from "./support/smtp_peer.ts";
import { withVerifier } from "./support/verifier.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const OFFLINE = join(ROOT, "../shared/tools/offline-compile");
const IS_ROOT = Deno.build.os === "linux" && Deno.uid() === 0;
const COMPILE_WITHIN = 120_000;
const NOBODY = 65534, PASSWORD = "a long enough one";

const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
const FLAGS: readonly string[] = tasks["compile:as"].split(" ").slice(2);

/** Rejects with what the compiler says. */
async function compile(source: string, output: string): Promise<void> {
  const args = [...FLAGS, "--output", output, source];
  const [program, ...first] = isThere(OFFLINE) ? ["bash", OFFLINE] : [Deno.execPath(), "compile"];
  const { success, stderr } = await new Deno.Command(program!, {
    args: [...first, ...args],
    cwd: ROOT,
    stdout: "null",
    // Where the compiler's own download host cannot be reached, it may wait for it.
    signal: AbortSignal.timeout(COMPILE_WITHIN),
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const folder = await Deno.makeTempDir({ prefix: "maildemon-compiled-" });
await Deno.chmod(folder, 0o755);
const executable = join(folder, "maildemon");
const missing = await compile("src/main.ts", executable).then(() => undefined, (error: Error) => error);

function compiled(name: string, fn: () => Promise<void>, can = true): void {
  const ignore = missing !== undefined || !can;
  const why = missing === undefined ? "needs root" : `nothing could be compiled: ${missing.message.split("\n")[0]}`;
  Deno.test({ name: ignore ? `${name} (skipped: ${why})` : name, ignore, fn });
}

/** With an empty environment, and as nobody where that can be had. */
function options(more: Deno.CommandOptions = {}): Deno.CommandOptions {
  return {
    clearEnv: true,
    env: { PATH: "", HOME: "/nonexistent" },
    ...IS_ROOT && { uid: NOBODY, gid: NOBODY },
    ...more,
  };
}

async function maildemon(cwd: string, args: readonly string[], input = ""): Promise<Ran> {
  const child = new Deno.Command(executable, {
    ...options({ args: [...args], cwd, stdin: "piped", stdout: "piped", stderr: "piped" }),
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  return { code, out: new TextDecoder().decode(stdout), error: new TextDecoder().decode(stderr) };
}

/** Runs it while `scene` plays; then SIGTERM, and exit code 0 at the end. */
async function serving(
  program: string,
  args: readonly string[],
  options: Deno.CommandOptions,
  scene: (log: () => string) => Promise<void>,
): Promise<void> {
  const child = new Deno.Command(program, {
    ...options,
    args: [...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  })
    .spawn();
  let log = "";
  const reading = (async () => {
    for await (const bytes of child.stderr) log += new TextDecoder().decode(bytes);
  })();
  let ended = false;
  child.status.then(() => ended = true);
  try {
    await until(() => ended || / started /.test(log), "the server to start", 20_000);
    assert.ok(!ended, log);
    await scene(() => log);
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 0, log);
  } finally {
    if (!ended) child.kill("SIGKILL");
    await child.status;
    await reading;
  }
}

async function inEmptyFolder(scene: (cwd: string) => Promise<void>): Promise<void> {
  const cwd = await Deno.makeTempDir({ prefix: "maildemon-empty-" });
  try {
    await Deno.chmod(cwd, 0o777);
    await scene(cwd);
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

compiled("from an empty folder to mail in and out: init, check, serve, send", async () => {
  await inEmptyFolder(async (cwd) => {
    await using elsewhere = new RemoteServer({ offers: ["PIPELINING", "8BITMIME", "CHUNKING"] });
    const line = ["init", "ann@example.test", "--dir", ".", "--yes", "--ports", "high", "--address", "203.0.113.7"];
    const made = await maildemon(cwd, [...line, "--smarthost", `127.0.0.1:${elsewhere.port}`], PASSWORD);
    assert.equal(made.code, 0, made.error);
    const at = ["--config", "config.toml"];
    assert.deepEqual(await maildemon(cwd, [...at, "check"]), { code: 0, out: "config.toml: ok\n", error: "" });

    await until(() => [2525, 2587, 2465, 8025].every(isFree), "the ports of --ports high to be free", 30_000);
    const texts = [letter("In.\r\n", "carol@remote.test"), letter("Again.\r\n", "carol@remote.test")];
    const inbox = join(cwd, "data/mail/example.test/ann/new");
    const stored = async () => {
      const names = isFolder(inbox) ? [...Deno.readDirSync(inbox)].map(({ name }) => join(inbox, name)) : [];
      return (await Promise.all(names.map((name) => Deno.readTextFile(name)))).sort();
    };
    const comesIn = async (text: string, count: number) => {
      const peer = await SmtpPeer.call(2525, 60_000);
      try {
        expect((await peer.reply())?.[0] ?? "", "220");
        expect(await peer.say("EHLO mx.remote.test"), "250");
        expect(await send(peer, "carol@remote.test", ["ann@example.test"], text), "250 2.0.0 Queued as ");
        await until(async () => (await stored()).length === count, "the message in the Maildir");
        // Not one byte of it has changed below our lines.
        assert.ok((await stored()).some((one) => one.endsWith(text)));
        expect(await peer.say("QUIT"), "221");
      } finally {
        peer.close();
      }
    };
    await serving(executable, [...at, "serve"], options({ cwd }), async () => {
      await comesIn(texts[0]!, 1);
      const out = letter("Out.\r\n", "ann@example.test");
      const sent = await maildemon(cwd, [...at, "send", "--user", "ann@example.test", "bob@remote.test"], out);
      assert.equal(sent.code, 0, sent.error);
      await until(() => elsewhere.messages.length > 0, "the message at the other server");
    });

    // Signed by the thread that signs, with keys that the printed records publish.
    const names = await serveZone(parseZone(made.out)), dns = new Resolver({ servers: [names.server] });
    try {
      await withVerifier(async (verify) => {
        const signatures = await verify(textOf(elsewhere.messages[0]!.bytes), dns);
        assert.deepEqual(signatures.map(({ result }) => result), ["pass", "pass"]);
      });
    } finally {
      await dns.close();
      await names.close();
    }

    // Killed or not, what it has kept is there for the next one.
    const listed = await maildemon(cwd, [...at, "user", "list"]);
    assert.match(listed.out, /^ann@example\.test /m);
    await serving(executable, [...at, "serve"], options({ cwd }), () => comesIn(texts[1]!, 2));
  });
});

compiled("it says its version and its manual with nothing around it", async () => {
  await inEmptyFolder(async (cwd) => {
    const { code, out, error } = await maildemon(cwd, ["version"]);
    assert.deepEqual([code, error], [0, ""]);
    assert.match(out, /^maildemon \d+\.\d+\.\d+\ndeno [\d.]+\nbuild \S+ executable\n$/);
    assert.match((await maildemon(cwd, ["help", "--man"])).out, /^\.TH MAILDEMON 8 /);
    assert.deepEqual([...Deno.readDirSync(cwd)], []);
    assert.match((await maildemon(cwd, ["check"])).error, /config\.toml: the configuration does not exist/);
  });
});

compiled("what the program has no business with is refused to it, without a question", async () => {
  const probe = join(folder, "probe");
  await compile("tests/compiled_probe.ts", probe);
  const { stdout, stderr } = await new Deno.Command(probe, options({ env: { SECRET_OF_OTHERS: "x" }, stdin: "null" }))
    .output();
  assert.equal(new TextDecoder().decode(stderr), "");
  assert.deepEqual(new TextDecoder().decode(stdout).trim().split("\n"), [
    "start another program: NotCapable",
    "load a library: NotCapable",
    "read a variable: nothing there",
    "list variables: nothing there",
    "tell the load: NotCapable",
    "tell the memory: NotCapable",
  ]);
});

compiled("with the one capability of its unit it has port 25, and is not root", async () => {
  await inEmptyFolder(async (cwd) => {
    const config = join(cwd, "config.toml");
    await Deno.writeTextFile(
      config,
      `hostname = "mail.ours.test"\nstore = "store"\nstatus.listen = ""\n[[domains]]\nname = "ours.test"\n` +
        `[[listeners]]\naddress = "127.0.47.25:25"\nkind = "mx"\n`,
    );
    const only = ["--inh-caps", "--ambient-caps", "--bounding-set"].flatMap((set) => [set, "-all,+net_bind_service"]);
    const who = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--no-new-privs", ...only];
    const args = [...who, executable, "--config", config, "serve"];
    await serving("setpriv", args, { clearEnv: true, env: { PATH: Deno.env.get("PATH") ?? "" } }, async () => {
      const peer = new SmtpPeer(await Deno.connect({ hostname: "127.0.47.25", port: 25 }));
      expect((await peer.reply())?.[0] ?? "", "220");
      peer.close();
      assert.equal((await Deno.stat(join(cwd, "store/kv.sqlite"))).uid, NOBODY);
    });
  });
}, IS_ROOT && find("setpriv") !== undefined);

Deno.test("every thread of the program is named to the compiler, which finds them no other way", async () => {
  const { out } = await run("grep", [
    "-rhoE",
    'new URL\\("[^"]+_?[a-z]+\\.ts", import\\.meta\\.url\\)',
    join(ROOT, "src"),
  ]);
  const threads = [...out.matchAll(/"(?:\.\.\/|\.\/)+(?:worker\/)?([a-z_]+\.ts)"/g)].map(([, name]) =>
    `src/worker/${name}`
  );
  const included = FLAGS.flatMap((flag, at) => flag === "--include" ? [FLAGS[at + 1]] : []);
  assert.deepEqual([...new Set(threads)].sort(), included.sort());
});

addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "::", port }).close();
    return true;
  } catch {
    return false;
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
