/** Where a backup and a store may lie, what does not go into a backup, and what is said of it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { unpackTar } from "modern-tar";
import { user } from "../../src/cli/user.ts";
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { copyKv } from "../../src/store/kv_file.ts";
import { typed } from "../cli/typed.ts";
import { envelope, inFolder, letter } from "../queue/spooled.ts";
import { ANN, LocalServer } from "../support/local_server.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { namesIn, type, withBackup } from "./made_backup.ts";

const isRoot = Deno.build.os === "linux" && Deno.uid() === 0;

Deno.test("a store that is a link is restored where it leads, and a disk of its own is refused before anything is read", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const real = join(folder, "real"), link = join(folder, "link");
    await Deno.mkdir(real);
    await Deno.symlink(real, link);
    const restored = await type(server, "restore", file, "--store", link);
    assert.equal(restored.code, 0, restored.error);
    assert.deepEqual(namesIn(real), ["kv.sqlite", "mail", "queue"]);
    if (!isRoot) return console.log("  skipped: only root can mount a disk");
    const disk = join(folder, "disk");
    await Deno.mkdir(disk);
    const mounted = await new Deno.Command("mount", { args: ["-t", "tmpfs", "tmpfs", disk] }).output();
    if (mounted.code !== 0) return console.log("  skipped: no disk can be mounted here");
    try {
      const refused = await type(server, "restore", file, "--store", disk);
      assert.equal(refused.code, 1);
      assert.match(refused.error, /is a disk of its own.* give --store a folder on it, such as .*\/disk\/maildemon/);
      assert.equal((await type(server, "restore", file, "--store", join(disk, "maildemon"))).code, 0);
    } finally {
      await new Deno.Command("umount", { args: [disk] }).output();
    }
  });
});

Deno.test("Maildirs outside of the store are named when a backup is made, and all that users name when it is restored", async () => {
  await inFolder(async (folder) => {
    await using server = await LocalServer.prepare();
    const inside = join(server.store, "mail/shared"), outside = "/home/ann/Mail dir";
    const spool = await Spool.open({ folder: join(server.store, "queue"), log: silent }), draft = spool.draft();
    await draft.write(letter(500));
    const waits = ["/home/bob/Maildir", join(server.store, "mail/ours.test/ann")]
      .map((path) => ({ address: "ann@ours.test", target: { to: "maildir", path } as const }));
    await draft.commit({ ...envelope("a@x.test"), recipients: waits }, draft.start);
    await spool.close();
    const deliver = [inside, outside].flatMap((path) => ["--deliver", `maildir:${path}`]);
    const line = ["--config", server.configFile, "user", "set", ANN.address, ...deliver];
    assert.equal((await typed(line, { commands: [user] })).code, 0);
    const file = join(folder, "it's b.tar.gz"), made = await type(server, "backup", file);
    assert.match(
      made.error,
      /^Maildirs outside of the store are not in it, .*: \/home\/ann\/Mail dir, \/home\/bob\/Maildir$/m,
    );
    const { error } = await type(server, "restore", file, "--store", join(folder, "new"));
    assert.match(
      error,
      /^Maildirs outside of the store were not in it, .*: \/home\/ann\/Mail dir, \/home\/bob\/Maildir$/m,
    );
    assert.match(error, new RegExp(`^Users name Maildirs where the store was, .*: ${inside}$`, "m"));
    assert.ok(error.includes(`tar xzf '${file.replace("'", "'\\''")}' config\n`), error);
  });
});

Deno.test("every file that the configuration names is in a backup", async () => {
  await inFolder(async (folder) => {
    const { authority } = await selfSigned(["ca.test"]);
    await using server = await LocalServer.prepare({ files: { "authority.pem": authority } });
    await server.edit((text) => `${text}\n[tls.acme]\ndirectory_ca = "authority.pem"\nagree_to_terms = true\n`);
    const far = join(folder, "status.token");
    await Deno.writeTextFile(far, "much too secret", { mode: 0o600 });
    await server.edit((text) => text.replace("[status]", `[status]\ntoken_file = "${far}"`));
    const file = join(folder, "b.tar.gz"), made = await type(server, "backup", file);
    assert.equal(made.code, 0, made.error);
    const names = (await unpackTar(gunzipSync(await Deno.readFile(file)))).map(({ header }) => header.name);
    assert.deepEqual(names.filter((name) => name.startsWith("config/")).sort(), [
      "config/authority.pem",
      "config/config.toml",
      `config/elsewhere${far}`,
      "config/fullchain.pem",
      "config/privkey.pem",
    ]);
    const etc = join(folder, "etc"), line = ["--config-dir", etc, "--store", join(folder, "store")];
    const restored = await type(server, "restore", file, ...line);
    assert.ok(
      restored.error.includes(`${far} lies in ${etc}/elsewhere${far}: put it back where it was.`),
      restored.error,
    );
    assert.equal(await Deno.readTextFile(`${etc}/elsewhere${far}`), "much too secret");
  });
});

Deno.test("of two backups at once one is made, and a link in the place of its draft is not followed", async () => {
  await withBackup(async ({ server, folder }) => {
    {
      await using _copy = await copyKv(server.store);
      const refused = await type(server, "backup", join(folder, "c.tar.gz"));
      assert.match(
        refused.error,
        /^Cannot make the backup .*: Another backup of .* is being made\. Wait for its end\.\n$/,
      );
    }
    assert.equal((await type(server, "backup", join(folder, "c.tar.gz"))).code, 0);
    await Deno.writeTextFile(join(folder, "victim"), "dear");
    await Deno.symlink(join(folder, "victim"), join(folder, "d.tar.gz.part"));
    assert.match(
      (await type(server, "backup", join(folder, "d.tar.gz"))).error,
      /d\.tar\.gz\.part is a link: remove it/,
    );
    assert.equal(await Deno.readTextFile(join(folder, "victim")), "dear");
    assert.deepEqual(namesIn(server.store).filter((name) => name.includes("backup")), []);
  });
});

Deno.test("a draft that somebody else has made before is not what a backup is written into", {
  ignore: !isRoot,
}, async () => {
  await withBackup(async ({ server, folder }) => {
    const file = join(folder, "c.tar.gz");
    await Deno.writeTextFile(`${file}.part`, "mine", { mode: 0o666 });
    await Deno.chown(`${file}.part`, 65534, 65534);
    using theirs = await Deno.open(`${file}.part`);
    assert.equal((await type(server, "backup", file)).code, 0);
    const { uid, mode } = await Deno.stat(file);
    assert.deepEqual([uid, (mode ?? 0) & 0o777], [0, 0o600]);
    assert.equal((await theirs.stat()).size, 4);
  });
});

Deno.test("at a terminal the result stands on a line of its own, where it said how far it was", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const main = new URL("../../src/main.ts", import.meta.url).pathname;
    const lines = [["backup", join(folder, "c.tar.gz")], ["verify"], ["restore", file, "--store", join(folder, "new")]];
    for (const line of lines) {
      const words = [
        Deno.execPath(),
        "run",
        "--quiet",
        "--no-check",
        "-A",
        main,
        "--config",
        server.configFile,
        ...line,
      ];
      const run = new Deno.Command("script", { args: ["-qec", words.join(" "), "/dev/null"], stdin: "null" }).output();
      const done = await run.catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
      if (done === undefined) return console.log("  skipped: there is no script(1)");
      const said = new TextDecoder().decode(done.stdout);
      assert.equal(done.code, 0, said);
      // deno-lint-ignore no-control-regex
      assert.match(said, /\r\x1b\[K(Copied \d+ files|\/[^\r]* 2 messages in the queue|Restored \d+ files)/);
    }
  });
});

Deno.test("a full disk below the store itself is what the command speaks of, not that of the backup", {
  ignore: !isRoot,
}, async () => {
  await withBackup(async ({ server, folder }) => {
    const disk = join(folder, "disk");
    await Deno.mkdir(disk);
    const mounted = await new Deno.Command("mount", { args: ["-t", "tmpfs", "-o", "size=512k", "tmpfs", disk] })
      .output();
    if (mounted.code !== 0) return console.log("  skipped: no disk can be mounted here");
    try {
      await Deno.copyFile(join(server.store, "kv.sqlite"), join(disk, "kv.sqlite"));
      await server.edit((text) => text.replace(/^store = .*$/m, `store = "${disk}"`));
      const fill = join(disk, "fill");
      await Deno.writeFile(fill, new Uint8Array(1 << 20)).catch(() => {});
      // Without room, and with that for what SQLite needs to read.
      for (const room of [0, 40_960]) {
        await Deno.truncate(fill, (await Deno.stat(fill)).size - room);
        const { code, error } = await type(server, "backup", join(folder, "full.tar.gz"));
        assert.equal(code, 1);
        assert.match(error, /disk has no room for a second kv\.sqlite.* Make room there/);
        assert.deepEqual(namesIn(disk).filter((name) => name.includes("backup")), []);
      }
    } finally {
      await new Deno.Command("umount", { args: [disk] }).output();
    }
  });
});
