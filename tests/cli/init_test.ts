import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { check } from "../../src/cli/check.ts";
import { init } from "../../src/cli/init.ts";
import { user } from "../../src/cli/user.ts";
import { loadConfig } from "../../src/config.ts";
import { lookIn } from "../../src/sandbox/zone.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { dkimRecord } from "../../src/send/dkim_key.ts";
import { inFolder } from "../config/temporary_folder.ts";
import { interop, PYTHON, run } from "../interoperability/programs.ts";
import { typed, type Typing } from "./typed.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const commands = [init, check, user];
const PASSWORD = "a long enough one";

function begin(folder: string, more: readonly string[] = [], typing: Typing = {}) {
  return typed(["init", "ann@ours.test", "--dir", folder, "--address", "203.0.113.7", ...more], {
    commands,
    ...typing,
  });
}

/** Every file with its rights and what is in it, but for the store, which lives. */
async function contents(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (name === "data") continue;
    if (isDirectory) { for (const [inner, text] of await contents(path)) found.set(inner, text); }
    else found.set(path, `${((await Deno.stat(path)).mode ?? 0) & 0o777} ${await Deno.readTextFile(path)}`);
  }
  return found;
}

Deno.test("init makes all that a server needs, and a second run keeps every byte of it", async () => {
  await inFolder(async (folder) => {
    const made = await begin(folder, ["--yes"], { piped: PASSWORD });
    assert.equal(made.code, 0, made.error);
    assert.doesNotMatch(made.out + made.error, new RegExp(PASSWORD));

    const file = `${folder}/config.toml`, config = await loadConfig(file);
    assert.deepEqual([config.hostname, config.store], ["mail.ours.test", `${folder}/data`]);
    assert.deepEqual(config.listeners.map(({ kind, address }) => `${kind} ${address.port}`), [
      "mx 25",
      "submission 587",
      "submissions 465",
    ]);
    assert.equal(config.tls.acme?.email, "ann@ours.test");
    assert.deepEqual(config.warnings, []);
    assert.deepEqual(await typed(["--config", file, "check"], { commands }), {
      code: 0,
      out: `${file}: ok\n`,
      error: "",
    });
    const shown = await typed(["--config", file, "user", "show", "ann@ours.test"], { commands });
    assert.match(shown.out, /^deliver +default\n[^]*^password +set$/m);

    const before = await contents(folder);
    assert.deepEqual(
      [...before].map(([path, text]) => `${text.slice(0, 3)} ${dirname(path).slice(folder.length)}`).sort(),
      [
        "384 /dkim",
        "384 /dkim",
        "420 ",
      ],
    );
    assert.match(made.error, /^A certificate is fetched once the name leads here; /m);
    const again = await begin(folder, ["--yes", "--hostname", "other.ours.test"], { piped: "never asked for" });
    assert.equal(again.code, 0, again.error);
    assert.match(
      again.error,
      /config\.toml is there already, and stays as it is\.\nThe user ann@ours\.test is there already, and stays as it is\./,
    );
    assert.equal(again.out, made.out);
    assert.deepEqual(await contents(folder), before);
  });
});

Deno.test("the records that init prints are those of its keys, and a zone takes them", async () => {
  await inFolder(async (folder) => {
    const { out } = await begin(folder, ["--yes", "--hostname", "mx1.ours.test"], { piped: PASSWORD });
    const zone = parseZone(out);
    const { dkim } = await loadConfig(`${folder}/config.toml`);
    assert.deepEqual(dkim.map(({ algorithm }) => algorithm), ["rsa", "ed25519"]);
    for (const { selector, pem } of dkim) {
      const { records } = lookIn(zone, `${selector}._domainkey.ours.test`, "TXT");
      assert.deepEqual(records.map(({ data }) => data), [dkimRecord(pem)]);
    }
    for (const wanted of ["ours.test. IN MX 10 mx1.ours.test.", "mx1.ours.test. IN A 203.0.113.7"]) {
      assert.ok(out.includes(wanted), out);
    }
  });
});

Deno.test("without a password on standard input one is made and shown once, and not among the records", async () => {
  await inFolder(async (folder) => {
    const shown = /^Password of ann@ours\.test, shown only here: ([a-km-np-z2-9]{5}(?:-[a-km-np-z2-9]{5}){3})\n/m;
    const { code, out, error } = await begin(folder, ["--yes"]);
    assert.equal(code, 0, error);
    const password = shown.exec(error)?.[1] ?? assert.fail(error);
    assert.ok(!out.includes(password), "what goes to standard output goes into a zone");
    assert.doesNotMatch((await begin(folder, ["--yes"])).error, /Password/);
    assert.notEqual(password, shown.exec((await begin(join(folder, "other"), ["--yes"])).error)?.[1]);
  });
});

Deno.test("a password that cannot be is said last, and the same line with another one ends the set-up", async () => {
  await inFolder(async (folder) => {
    const refused = await begin(folder, ["--yes"], { piped: "short" });
    assert.equal(refused.code, 1);
    assert.match(
      refused.error,
      /\nThe password is too short: .*\nWhat was written stays: the same line, said again, adds the user\.\n$/,
    );
    const before = await contents(folder), made = await begin(folder, ["--yes"], { piped: PASSWORD });
    assert.equal(made.code, 0, made.error);
    assert.match(made.error, /^Added the user ann@ours\.test\.$/m);
    assert.deepEqual(await contents(folder), before);
  });
});

Deno.test("what comes next is said in its order, in lines that a shell takes", async () => {
  await inFolder(async (folder) => {
    const { error } = await begin(join(folder, "it's here"), ["--yes", "--ports", "high"]);
    const [, steps = ""] = error.split("What comes next:\n");
    assert.deepEqual([...steps.matchAll(/^ {2}\d\. .*(Publish|serve|doctor)"? /gm)].map(([, step]) => step), [
      "Publish",
      "serve",
      "doctor",
    ]);
    const line = /"maildemon (--config .* doctor)"/.exec(steps)?.[1] ?? assert.fail(error);
    assert.equal(
      (await run("sh", ["-c", `printf '%s\\n' ${line}`])).out,
      `--config\n${folder}/it's here/config.toml\ndoctor\n`,
    );
  });
});

Deno.test("what is answered stands in the configuration: name, no certificate, mail that goes elsewhere", async () => {
  await inFolder(async (folder) => {
    const asked = await begin(folder, [], {
      answers: ["mx9.ours.test", "ann@elsewhere.test"],
      confirm: false,
      password: PASSWORD,
    });
    assert.equal(asked.code, 0, asked.error);
    const file = `${folder}/config.toml`, config = await loadConfig(file);
    assert.equal(config.hostname, "mx9.ours.test");
    // Without the terms no certificate, and without a certificate nobody can sign in.
    assert.deepEqual([config.tls.acme, config.listeners.map(({ kind }) => kind)], [undefined, ["mx"]]);
    const shown = await typed(["--config", file, "user", "show", "ann@ours.test", "--json"], { commands });
    assert.deepEqual(JSON.parse(shown.out).deliver, ["forward:ann@elsewhere.test"]);
  });
});

Deno.test("high ports and a smarthost are options", async () => {
  await inFolder(async (folder) => {
    const { code, error } = await begin(folder, ["--yes", "--ports", "high", "--smarthost", "127.0.0.1:2626"]);
    assert.equal(code, 0, error);
    const { listeners, outbound, tls } = await loadConfig(`${folder}/config.toml`);
    assert.deepEqual(listeners.map(({ address }) => address.port), [2525, 2587, 2465]);
    assert.equal(tls.acme?.listen?.port, 8080);
    assert.deepEqual([outbound.route, outbound.smarthost], ["smarthost", { hostname: "127.0.0.1", port: 2626 }]);
  });
});

Deno.test("what cannot be is refused before anything is written", async () => {
  await inFolder(async (folder) => {
    const table: readonly (readonly [readonly string[], RegExp])[] = [
      [["--hostname", "no name"], /hostname: must be/],
      [["--hostname", 'x"\nstore = "/etc'], /hostname: must be/],
      [["--smarthost", "nowhere:x"], /outbound\.smarthost: must be/],
      [["--deliver", "|command"], /Delivery .* is unknown/],
      [["--address", "somewhere"], /--address must be an IPv4 or IPv6 address/],
      [["--dir", ""], /--dir must be a folder; the current one is \./],
    ];
    for (const [options, reason] of table) {
      const { code, error } = await begin(join(folder, "new"), ["--yes", ...options]);
      assert.ok(code > 0, options.join(" "));
      assert.match(error, reason);
    }
    for (
      const [address, reason] of [
        ["ann@[192.0.2.1]", /must be in a domain/],
        ["ann+shop@ours.test", /what stands behind "\+" is a tag/],
      ] as const
    ) {
      assert.match((await typed(["init", address, "--dir", join(folder, "new"), "--yes"], { commands })).error, reason);
    }
    await assert.rejects(Deno.stat(join(folder, "new")), Deno.errors.NotFound);

    const blocked = await begin("/dev/null/x", ["--yes"]);
    assert.equal(blocked.code, 1);
    assert.match(blocked.error, /^Cannot (make the folder|read) \/dev\/null\/x.*: .*\.\n$/);
  });
});

Deno.test("a configuration for other domains is left alone", async () => {
  await inFolder(async (folder) => {
    await begin(folder, ["--yes"]);
    const { code, error } = await typed(["init", "bob@else.test", "--dir", folder, "--yes"], { commands });
    assert.equal(code, 1);
    assert.match(error, /has no domain else\.test: add \[\[domains\]\] with this name there, or choose another --dir/);
  });
});

Deno.test("a run that was killed is finished by the next one, and nothing is ever there by half", async () => {
  await inFolder(async (folder) => {
    const line = ["init", "ann@ours.test", "--dir", folder, "--yes", "--address", "203.0.113.7"];
    const args = ["run", "--quiet", "--no-check", "--allow-all", MAIN, ...line];
    const start = () =>
      new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "null", stderr: "piped" }).spawn();
    // How far it has come is told by what it says.
    for (const far of ["s20", "e20", "config.toml", "Added"]) {
      const child = start();
      let said = "";
      for await (const bytes of child.stderr) {
        said += new TextDecoder().decode(bytes);
        if (!said.includes(far)) continue;
        child.kill("SIGKILL");
        break;
      }
      await child.status;
      for (const [path, text] of await contents(folder)) {
        if (path.endsWith(".pem")) assert.match(text, /-----END PRIVATE KEY-----\n$/, path);
      }
    }
    const before = await contents(folder);
    const last = await run(Deno.execPath(), args);
    assert.equal(last.code, 0, last.error);
    assert.deepEqual(await contents(folder), before);
    assert.equal(before.size, 3);
    assert.equal((await typed(["--config", `${folder}/config.toml`, "check"], { commands })).code, 0);
  });
});

Deno.test("keys that another day has left are taken, not made anew", async () => {
  await inFolder(async (folder) => {
    await begin(folder, ["--yes"]);
    const dkim = [...Deno.readDirSync(`${folder}/dkim`)].map(({ name }) => name);
    for (const name of dkim) {
      await Deno.rename(`${folder}/dkim/${name}`, `${folder}/dkim/${name.replace(/\d{8}/, "2020")}`);
    }
    await Deno.remove(`${folder}/config.toml`);
    assert.equal((await begin(folder, ["--yes"])).code, 0);
    const config = await loadConfig(`${folder}/config.toml`);
    assert.deepEqual(config.dkim.map(({ selector }) => selector), ["s2020", "e2020"]);
    assert.equal([...Deno.readDirSync(`${folder}/dkim`)].length, 2);
  });
});

// A terminal is what only another program can give us.
interop("at a terminal it asks, and the password is not shown", ["python"], async () => {
  await inFolder(async (folder) => {
    const line = [
      Deno.execPath(),
      "run",
      "--quiet",
      "--no-check",
      "--allow-all",
      MAIN,
      "init",
      "ann@ours.test",
      "--dir",
      folder,
    ];
    const script = `
import os, pty, sys
answers = [b"\\r", b"y\\r", b"\\r", b"${PASSWORD}\\r", b"${PASSWORD}\\r"]
waits = [b"DNS [mail.ours.test] ", b"[y/N] ", b"[here] ", b"Password of ann@ours.test: ", b"once more: "]
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
said = b""
for wait, answer in zip(waits, answers):
    while wait not in said: said += os.read(fd, 4096)
    os.write(fd, answer)
try:
    while True: said += os.read(fd, 4096)
except OSError: pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"${PASSWORD}" in said)
`;
    const { out, error } = await run(PYTHON, ["-c", script, ...line]);
    assert.equal(out, "0 False\n", error);
    assert.equal((await typed(["--config", `${folder}/config.toml`, "check"], { commands })).code, 0);
  });
});
