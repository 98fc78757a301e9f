import assert from "node:assert/strict";
import { join, relative } from "node:path";
import { service } from "../../src/cli/service.ts";
import { user } from "../../src/cli/user.ts";
import { credentialName } from "../../src/config.ts";
import { silent } from "../../src/log.ts";
import { accountIn, obstacle } from "../../src/service/reach.ts";
import { plainPath } from "../../src/service/service_facts.ts";
import { Control } from "../../src/status/control.ts";
import { generateDkimKey } from "../../src/send/dkim_key.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { inFolder } from "../config/temporary_folder.ts";
import { interop, run } from "../interoperability/programs.ts";
import { type Answered, type Site, type Typing, withSite } from "./typed.ts";

const commands = [service, user];
const IS_ROOT = Deno.build.os !== "windows" && Deno.uid() === 0;
/** It has to be there for systemd-analyze. */
const EXECUTABLE = "/bin/true";
const UNIT = "etc/systemd/system/maildemon.service", USER = "etc/sysusers.d/maildemon.conf";

function typing(site: Site, more: Typing = {}) {
  return (...line: string[]): Promise<Answered> => site.type(["service", ...line], { commands, ...more });
}

async function unitOf(site: Site, ...options: string[]): Promise<string> {
  const { code, out, error } = await typing(site)("print", "--for", "systemd", "--executable", EXECUTABLE, ...options);
  assert.equal(code, 0, error);
  return out;
}

async function withSecrets(work: (site: Site) => Promise<void>): Promise<void> {
  await withSite(async (site) => {
    const { folder, config } = site;
    await Deno.writeTextFile(config, `dkim = [{ selector = "s1", key = "s1.pem" }]\n`, { append: true });
    await Deno.writeTextFile(join(folder, "s1.pem"), await generateDkimKey("ed25519"), { mode: 0o600 });
    await Deno.writeTextFile(join(folder, "token"), "secret\n", { mode: 0o600 });
    // Others may read it, and it is renewed by hand.
    await Deno.writeTextFile(join(folder, "ca.pem"), (await selfSigned(["ca.test"])).authority);
    await work(site);
  }, `[status]\ntoken_file = "token"\n[tls.acme]\nagree_to_terms = true\ndirectory_ca = "ca.pem"`);
}

interop("the unit is right for systemd, and exposes little", ["systemd-analyze"], async () => {
  await withSecrets(async (site) => {
    const file = join(site.folder, "maildemon.service");
    for (const store of ["/var/lib/maildemon", "/srv/mail"]) {
      await Deno.writeTextFile(
        site.config,
        (await Deno.readTextFile(site.config)).replace(/store = ".*"/, `store = "${store}"`),
      );
      await Deno.writeTextFile(file, await unitOf(site));
      assert.deepEqual(await run("systemd-analyze", ["verify", file]), { code: 0, out: "", error: "" });
      const { out } = await run("systemd-analyze", ["security", "--offline=true", "--no-pager", file]);
      const exposure = Number(/exposure level for maildemon\.service: ([\d.]+)/.exec(out)?.[1]);
      assert.ok(exposure <= 2, `exposure ${exposure}:\n${out}`);
      for (const line of ["User=maildemon", "UMask=0077", "NoNewPrivileges=yes", "ProtectSystem=strict"]) {
        assert.ok((await Deno.readTextFile(file)).includes(`\n${line}\n`), line);
      }
    }
  });
});

Deno.test("the unit hands over every secret that the configuration names, and nothing that others may read", async () => {
  await withSecrets(async (site) => {
    const unit = await unitOf(site), { folder, config } = site;
    const files = ["s1.pem", "token"].map((name) => join(folder, name));
    assert.deepEqual(
      [...unit.matchAll(/^LoadCredential=(.*)$/gm)].map(([, value]) => value),
      files.map((path) => `${credentialName(path)}:${path}`),
    );
    assert.ok(unit.includes(`\nExecStart=${EXECUTABLE} --config ${config} serve\n`), unit);
    assert.ok(unit.includes(`\nReadWritePaths=${folder}/store\n`), unit);
    assert.doesNotMatch(unit, /secret\b|BEGIN/);
  });
});

Deno.test("names of credentials are those of systemd: never two files under one", () => {
  const paths = ["/a/b/key.pem", "/a/c/key.pem", "/a/b-key.pem", "/a/ü:b c%.pem", `/a/${"x".repeat(255)}`, "/a/"];
  const names = paths.map(credentialName);
  assert.equal(new Set(names).size, paths.length);
  for (const name of names) assert.match(name, /^[\w.-]{13,113}$/);
  assert.match(names[0]!, /^key\.pem-[0-9a-f]{12}$/);
});

Deno.test("the program may be named from where one stands, and has to be one before anything is written", async () => {
  await withSite(async (site) => {
    const near = `./${relative(Deno.cwd(), EXECUTABLE)}`;
    const { out, error } = await typing(site)("print", "--for", "systemd", "--executable", near);
    assert.match(out, new RegExp(`^ExecStart=${EXECUTABLE} `, "m"), error);
    if (!IS_ROOT) return;
    for (const path of ["/nowhere/maildemon", "/usr", "/etc/passwd"]) {
      const { code, error } = await typing(site)("install", "--for", "systemd", "--executable", path, "--yes");
      assert.deepEqual([code, error], [
        1,
        `${path} is no program: name one that can be run with --executable FILE.\n`,
      ]);
    }
  });
});

Deno.test("what has a meaning of its own in a unit is no path for it", () => {
  assert.equal(plainPath("/var/lib/mail-1_a.b/x@y+z"), "/var/lib/mail-1_a.b/x@y+z");
  for (const path of ["/a b", "/a%n", "/a$HOME", '/a"', "/a'", "/a\\x", "/a\nExecStart=/x", "relative", "/ä"]) {
    assert.throws(() => plainPath(path), /cannot stand in the description of a service: choose one/, path);
  }
});

Deno.test("install writes below --root, keeps what was changed by hand, and uninstall leaves the rest alone", async () => {
  await inFolder(async (root) => {
    await withSite(async (site) => {
      // As when a package is made: there is no configuration.
      await Deno.remove(site.config);
      const at = {
        ...site,
        type: (line: readonly string[], more?: Typing) => site.type(["--config", "/nowhere/c.toml", ...line], more),
      };
      const line = ["--root", root, "--for", "systemd", "--executable", EXECUTABLE];
      const first = await typing(at)("install", ...line);
      assert.deepEqual([first.code, first.error], [0, ""]);
      assert.equal(first.out, `Wrote ${root}/${UNIT}.\nWrote ${root}/${USER}.\n`);
      assert.equal(
        await Deno.readTextFile(`${root}/${USER}`),
        'u maildemon - "maildemon mail server" /var/lib/maildemon -\n',
      );
      assert.match(await Deno.readTextFile(`${root}/${UNIT}`), /^StateDirectory=maildemon$/m);
      assert.match((await typing(at)("install", ...line)).out, /service is there already\.\n.*conf is there already/);

      await Deno.writeTextFile(`${root}/${UNIT}`, "# mine\n", { append: true });
      const refused = await typing(at, { confirm: false })("install", ...line);
      assert.deepEqual([refused.code, refused.error], [1, "It was not replaced.\n"]);
      assert.match(await Deno.readTextFile(`${root}/${UNIT}`), /# mine\n$/);
      assert.match(
        (await typing(at)("status", ...line)).out,
        /maildemon\.service +installed, and not what service print/,
      );
      assert.equal((await typing(at)("install", ...line, "--yes")).code, 0);
      assert.doesNotMatch(await Deno.readTextFile(`${root}/${UNIT}`), /mine/);

      const link = `${root}/etc/systemd/system/multi-user.target.wants/maildemon.service`;
      await Deno.mkdir(join(link, ".."));
      await Deno.symlink("../maildemon.service", link);
      await Deno.writeTextFile(`${root}/etc/systemd/system/other.service`, "");
      assert.equal((await typing(at, { confirm: false })("uninstall", ...line.slice(0, 4))).code, 1);
      const removed = await typing(at)("uninstall", ...line.slice(0, 4), "--yes");
      assert.deepEqual([removed.code, removed.error], [0, ""]);
      assert.match(removed.out, /The configuration, the store with the mail in it, and the user of the service stay\./);
      const left = [...Deno.readDirSync(`${root}/etc/systemd/system`)].map(({ name }) => name).sort();
      assert.deepEqual(left, ["multi-user.target.wants", "other.service"]);
      assert.deepEqual([...Deno.readDirSync(`${root}/etc/sysusers.d`), ...Deno.readDirSync(join(link, ".."))], []);
      assert.match((await typing(at)("uninstall", ...line.slice(0, 4), "--yes")).error, /is not installed/);
    });
  });
});

Deno.test({
  name: "install refuses a wrong configuration with its errors, and a place that a service cannot see",
  ignore: !IS_ROOT,
  async fn() {
    await withSite(async (site) => {
      const type = typing(site);
      const hidden = await type("install", "--for", "systemd", "--executable", EXECUTABLE);
      assert.equal(hidden.code, 1);
      assert.match(hidden.error, /cannot be used by a service, which sees no home and no temporary folder/);
      assert.match((await type("install")).error, /runs from its source: make an executable/);
      await Deno.writeTextFile(site.config, "hostnam = 1\n");
      const wrong = await type("install", "--for", "systemd", "--executable", EXECUTABLE);
      assert.equal(wrong.code, 1);
      // But to take it away nothing has to be right.
      const line = ["uninstall", "--root", site.folder, "--for", "systemd", "--yes"];
      assert.deepEqual(await type(...line), { code: 0, out: "", error: "The service is not installed.\n" });
      assert.match(wrong.error, /config\.toml:1: hostnam: is not a known key; did you mean "hostname"\?/);
    });
  },
});

Deno.test("status asks the running server which version it is", async () => {
  await withSite(async (site) => {
    const store = join(site.folder, "store"), type = typing(site);
    await Deno.mkdir(store);
    const line = ["status", "--root", site.folder, "--for", "systemd", "--executable", EXECUTABLE];
    const stopped = await type(...line);
    assert.equal(stopped.code, 1);
    assert.match(stopped.out, /maildemon\.service +missing: service install writes it\n[^]*server +does not run\n$/);
    const handlers = new Map([["version", () => Promise.resolve({ version: "9.8.7" })]]);
    const control = await Control.open({ store, handlers, log: silent });
    try {
      assert.match((await type(...line)).out, /server +runs, version 9\.8\.7\n$/);
      assert.deepEqual(JSON.parse((await type(...line, "--json")).out).server, {
        running: true,
        version: "9.8.7",
        reason: "",
      });
    } finally {
      await control.close();
    }
  });
});

Deno.test("Maildirs outside the store may be written to, and only they have to be named", async () => {
  await withSite(async (site) => {
    const inside = `maildir:${site.folder}/store/mail/shared`, outside = "maildir:/srv/mail/ann";
    const line = ["user", "add", "ann@ours.test", "--deliver", outside, "--deliver", inside];
    const added = await site.type(line, { commands });
    assert.equal(added.code, 0, added.error);
    const named = [...(await unitOf(site)).matchAll(/^ReadWritePaths=-(.*)$/gm)].map(([, path]) => path);
    assert.deepEqual(named, ["/srv/mail/ann"]);
  });
});

interop("the property list is one, whatever the path", ["python"], async () => {
  await withSite(async (site) => {
    const { out } = await typing(site)("print", "--for", "launchd", "--executable", "/opt/a & <b>/maildemon");
    const program = "import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))";
    const read = await run("python3", ["-c", program], { input: out });
    assert.equal(read.error, "");
    assert.deepEqual(JSON.parse(read.out).ProgramArguments, [
      "/opt/a & <b>/maildemon",
      "--config",
      site.config,
      "serve",
    ]);
  });
});

Deno.test("what keeps the user of the service from a file is found: its rights, or those of a folder", async () => {
  await inFolder(async (folder) => {
    await Deno.chmod(folder, 0o755);
    const file = join(folder, "fullchain.pem");
    await Deno.writeTextFile(file, "", { mode: 0o644 });
    assert.equal(await obstacle(file, undefined), undefined);
    await Deno.chmod(file, 0o640);
    assert.equal(await obstacle(file, undefined), file);
    const { uid, gid } = await Deno.stat(file);
    assert.equal(await obstacle(file, { uid: 12345, gid: gid! }), undefined);
    await Deno.chmod(folder, 0o700);
    assert.equal(await obstacle(file, { uid: 12345, gid: gid! }), folder);
    assert.equal(await obstacle(file, { uid: uid!, gid: gid! }), undefined);
  });
  assert.deepEqual(accountIn("root:x:0:0::/:/bin/sh\nmaildemon:x:998:997:\n", "maildemon"), { uid: 998, gid: 997 });
  assert.equal(accountIn("root:x:0:0::/:/bin/sh\n", "maildemon"), undefined);
});
