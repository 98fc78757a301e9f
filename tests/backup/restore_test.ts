/** What a backup is, who can read it, and what is refused before anything is in place. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { packTar, type TarEntry, unpackTar } from "modern-tar";
import { sumLine } from "../../src/backup/manifest.ts";
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { SCHEMA } from "../../src/store/kv.ts";
import { envelope, letter } from "../queue/spooled.ts";
import { LocalServer } from "../support/local_server.ts";
import { assertRefused, namesIn, type, withBackup } from "./made_backup.ts";

Deno.test("a backup is a tar that GNU tar reads, with checksums that sha256sum confirms, and nobody else may read it", async () => {
  await withBackup(async ({ server, file, folder }) => {
    assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
    assert.deepEqual(namesIn(folder), ["b.tar.gz"]);
    await Deno.mkdir(join(folder, "out"));
    const run = async (program: string, args: string[], cwd = folder) => {
      const { code, stdout, stderr } = await new Deno.Command(program, { args, cwd }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      return new TextDecoder().decode(stdout);
    };
    const listed = (await run("tar", ["tzf", file])).split("\n");
    for (
      const name of ["MANIFEST.json", "kv.sqlite", "config/config.toml", "config/privkey.pem", "config/status.token"]
    ) {
      assert.ok(listed.includes(name), `${name} is missing`);
    }
    assert.ok(!listed.some((name) => name.includes("tmp/2.x") || name.includes("lock") || name.endsWith(".sock")));
    await run("tar", ["xzf", file, "-C", "out"]);
    await run("sha256sum", ["--check", "--strict", "--quiet", "SHA256SUMS"], join(folder, "out"));
    const { queued, store } = JSON.parse(await Deno.readTextFile(join(folder, "out/MANIFEST.json")));
    assert.deepEqual([queued, store], [2, server.store]);
    // What the copy of the records needed is gone.
    assert.deepEqual(namesIn(server.store).filter((name) => name.includes("backup")), []);
  });
});

Deno.test("a backup is never written over a file, nor into the store, and says so in one sentence", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const before = await Deno.readFile(file);
    for (
      const [where, why] of [
        [file, /exists, and a backup never overwrites a file/],
        [join(server.store, "b.tar.gz"), /would lie in the store itself/],
        [join(server.store, "mail/b.tar.gz"), /would lie in the store itself/],
        [join(folder, "none/b.tar.gz"), /There is no folder/],
      ] as const
    ) {
      const { code, error } = await type(server, "backup", where);
      assert.equal(code, 1);
      assert.match(error, why);
      assert.equal(error.trim().split("\n").length, 1);
    }
    assert.deepEqual(await Deno.readFile(file), before);
    // What a backup that was killed has left is no obstacle.
    await Deno.writeTextFile(join(folder, "c.tar.gz.part"), "rubbish");
    assert.equal((await type(server, "backup", join(folder, "c.tar.gz"))).code, 0);
    assert.deepEqual(namesIn(folder), ["b.tar.gz", "c.tar.gz"]);
    assert.equal((await Deno.stat(join(folder, "c.tar.gz"))).mode! & 0o777, 0o600);
  });
});

Deno.test("a restored store has every file as it was, with its mode and time, and the configuration beside it", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const target = join(folder, "store"), config = join(folder, "etc");
    const done = await type(server, "restore", file, "--store", target, "--config-dir", config);
    assert.equal(done.code, 0, done.error);
    const maildir = join(target, "mail/ours.test/ann");
    const { mode, mtime } = await Deno.stat(join(maildir, "cur/1.x:2,S"));
    assert.deepEqual([mode! & 0o777, mtime?.getTime()], [0o640, 1_600_000_000_000]);
    assert.deepEqual(namesIn(join(maildir, "new")), ["3.x", "4.x", "5.x"]);
    assert.deepEqual(namesIn(join(maildir, "tmp")), []);
    assert.equal(
      await Deno.readTextFile(join(maildir, `.Sent/cur/${"ö".repeat(120)}`)),
      "Subject: a long name\r\n\r\n",
    );
    assert.deepEqual(namesIn(config), namesIn(server.folder).filter((name) => name !== "store"));
    assert.equal((await Deno.stat(join(config, "status.token"))).mode! & 0o777, 0o600);
    assert.deepEqual(namesIn(target), ["kv.sqlite", "mail", "queue"]);
    const spool = await Spool.open({ folder: join(target, "queue"), log: silent });
    assert.deepEqual([spool.size, spool.setAside], [2, 0]);
    await spool.close();
    // Nothing is overwritten, and half of it is not there either.
    const again = await type(server, "restore", file, "--store", join(folder, "other"), "--config-dir", config);
    assert.equal(again.code, 1);
    assert.match(again.error, /exists in .* already, and none is overwritten/);
    for (const name of ["config.toml", "fullchain.pem", "privkey.pem"]) await Deno.remove(join(config, name));
    const half = await type(server, "restore", file, "--store", join(folder, "other"), "--config-dir", config);
    assert.match(half.error, /exists in .* already, and none is overwritten/);
    assert.deepEqual(namesIn(config), ["status.token"]);
    const full = await type(server, "restore", file, "--store", target);
    assert.match(full.error, /is not empty/);
    assert.deepEqual(namesIn(folder), ["b.tar.gz", "etc", "store"]);
  });
});

Deno.test("mail in the queue for Maildirs of the old store goes into those of the new one", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using server = await LocalServer.prepare();
    const spool = await Spool.open({ folder: join(server.store, "queue"), log: silent });
    const draft = spool.draft();
    await draft.write(letter(500));
    const target = { to: "maildir", path: join(server.store, "mail/ours.test/ann") } as const;
    const { id } = await draft.commit(
      { ...envelope("a@x.test"), recipients: [{ address: "ann@ours.test", target }] },
      draft.start,
    );
    await spool.close();
    assert.equal((await type(server, "backup", join(folder, "b"))).code, 0);
    assert.equal((await type(server, "restore", join(folder, "b"), "--store", join(folder, "new"))).code, 0);
    const restored = await Spool.open({ folder: join(folder, "new/queue"), log: silent });
    const [entry] = [...restored.entries()];
    assert.equal(entry?.id, id);
    assert.deepEqual(entry?.envelope.recipients[0]?.target, {
      to: "maildir",
      path: join(folder, "new/mail/ours.test/ann"),
    });
    assert.deepEqual(entry?.standings.map(({ state }) => state), ["waiting"]);
    await restored.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a backup that was cut off or changed anywhere is refused before anything is in place", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const whole = await Deno.readFile(file), tar = gunzipSync(whole);
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 12)) {
      await assertRefused(server, folder, whole.subarray(0, at));
      const changed = whole.slice();
      changed[at + 11 < whole.length ? at + 11 : at]! ^= 1;
      await assertRefused(server, folder, changed);
    }
    // The same below gzip, whose own checksum would have told.
    for (let at = 600; at < tar.length - 2048; at += Math.ceil(tar.length / 40)) {
      const changed = Uint8Array.from(tar);
      changed[at]! ^= 1;
      // A byte of padding says nothing, and changes nothing.
      if (await isSame(changed, tar)) continue;
      await assertRefused(server, folder, gzipSync(changed));
    }
    for (const left of [tar.length - 1024, tar.length - 4096, 512 * Math.floor(tar.length / 1024), 512]) {
      await assertRefused(server, folder, gzipSync(tar.subarray(0, left)));
    }
  });
});

async function isSame(one: Uint8Array, other: Uint8Array): Promise<boolean> {
  const read = async (bytes: Uint8Array) =>
    JSON.stringify((await unpackTar(bytes)).map(({ header, data }) => [header.name, header.type, data?.toHex()]));
  return await read(one).then(async (text) => text === await read(other), () => false);
}

Deno.test("no file of an archive gets out of the store, and no link into it", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const entries: TarEntry[] = (await unpackTar(gunzipSync(await Deno.readFile(file)))).map(({ header, data }) => ({
      header,
      ...data && { body: data },
    }));
    const evil = async (why: RegExp, ...more: TarEntry[]) => {
      const packed = await packTar([...entries.slice(0, 2), ...more, ...entries.slice(2)]);
      await assertRefused(server, folder, gzipSync(packed), why);
    };
    const plant = (name: string): TarEntry => ({ header: { name, size: 4, type: "file" }, body: "evil" });
    for (const name of ["../evil", "mail/../../evil", "/tmp/evil", "mail//evil", "mail/./evil", "queue/.."]) {
      await evil(/would lie outside of the store/, plant(name));
    }
    await evil(/no backup of maildemon/, plant("evil"));
    await evil(/has a symlink in it/, { header: { name: "mail/x", size: 0, type: "symlink", linkname: "/etc" } });
    await evil(/has a link in it/, { header: { name: "mail/x", size: 0, type: "link", linkname: "/etc/passwd" } });
    await evil(/was changed: mail\/evil does not have the checksum/, plant("mail/evil"));
    await evil(/two files of the name/, plant("kv.sqlite"), plant("kv.sqlite"));
    await evil(/no backup of maildemon/, entries[0]!);
    await assertRefused(server, folder, gzipSync(await packTar(entries.slice(1))), /no backup of maildemon/);
    const without = entries.filter(({ header }) => header.name !== "kv.sqlite");
    await assertRefused(server, folder, await summed(without), /kv\.sqlite is missing/);
    const folderOnly: TarEntry = { header: { name: "kv.sqlite/", size: 0, type: "directory" } };
    await assertRefused(server, folder, await summed([...without, folderOnly]), /kv\.sqlite is missing/);
    // A gibibyte of text, in one mebibyte.
    for (const name of ["MANIFEST.json", "SHA256SUMS"]) {
      const head = await packTar(name === "SHA256SUMS" ? [entries[0]!] : []);
      await assertRefused(server, folder, await endless(head.subarray(0, -1024), name), /no backup|files are missing/);
    }
    await assertRefused(server, folder, gzipSync(await packTar([...entries, plant("mail/late")])), /something behind/);
    const unsummed = entries.filter(({ header }) => header.name !== "SHA256SUMS");
    await assertRefused(server, folder, gzipSync(await packTar(unsummed)), /not whole: its end is missing/);
    await assertRefused(server, folder, new TextEncoder().encode("no archive at all"), /not whole, or was changed/);
  });
});

/** The archive of these files with the checksums that belong to them. */
async function summed(entries: readonly TarEntry[]): Promise<Uint8Array> {
  const files = entries.filter(({ header }) => header.type !== "directory" && header.name !== "SHA256SUMS");
  const lines = files.map(({ header, body }) =>
    sumLine(header.name, createHash("sha256").update(body as Uint8Array).digest("hex"))
  );
  const body = new TextEncoder().encode(lines.join(""));
  const others = entries.filter(({ header }) => header.name !== "SHA256SUMS");
  return gzipSync(
    await packTar([...others, { header: { name: "SHA256SUMS", size: body.length, type: "file" }, body }]),
  );
}

/** An archive that goes on with a file of a gibibyte. */
async function endless(head: Uint8Array, name: string): Promise<Uint8Array> {
  const size = 1 << 30, zeros = new Uint8Array(1 << 20);
  const header = (await packTar([{ header: { name, size: 0, type: "file" } }])).slice(0, 512);
  header.set(new TextEncoder().encode(size.toString(8).padStart(11, "0")), 124);
  header.fill(32, 148, 156);
  header.set(
    new TextEncoder().encode(`${header.reduce((sum, byte) => sum + byte).toString(8).padStart(6, "0")}\0`),
    148,
  );
  const bytes = async function* () {
    yield head.slice();
    yield header;
    for (let done = 0; done < size; done += zeros.length) yield zeros;
  };
  const packed = ReadableStream.from(bytes()).pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

Deno.test("a manifest in which something is not what it must be is refused", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const entries = await unpackTar(gunzipSync(await Deno.readFile(file)));
    const manifest = JSON.parse(new TextDecoder().decode(entries[0]!.data));
    const odd: Record<string, unknown> = {
      store: 7,
      taken: 5,
      hostname: ["x"],
      schema: "1",
      maildirs: [7],
      elsewhere: null,
    };
    for (const [key, value] of [...Object.entries(odd), ["store", ""], ["mail", undefined], ["kv", null]] as const) {
      const body = JSON.stringify({ ...manifest, [key]: value });
      const first: TarEntry = {
        header: { ...entries[0]!.header, size: body.length },
        body: new TextEncoder().encode(body),
      };
      const others = entries.slice(1).map(({ header, data }) => ({ header, ...data && { body: data } }));
      const bytes = await summed([first, ...others]);
      await assertRefused(server, folder, bytes, /Its MANIFEST\.json is not that of a maildemon/);
    }
  });
});

Deno.test("a backup of a newer program is refused with what to do", async () => {
  await withBackup(async ({ server, file, folder }) => {
    const entries = await unpackTar(gunzipSync(await Deno.readFile(file)));
    const manifest = JSON.parse(new TextDecoder().decode(entries[0]!.data));
    for (const newer of [{ schema: SCHEMA + 1 }, { journal: 99 }, { format: 99 }]) {
      const body = JSON.stringify({ ...manifest, ...newer, version: "9.0.0" });
      const first = { header: { ...entries[0]!.header, size: body.length }, body };
      const changed = gzipSync(await packTar([first, ...entries.slice(1)]));
      await assertRefused(
        server,
        folder,
        changed,
        /newer maildemon made it \(version 9\.0\.0.*Restore it with that one/,
      );
    }
  });
});

Deno.test("a full disk leaves neither a backup nor a store, and says so", {
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
}, async () => {
  await withBackup(async ({ server, file, folder }) => {
    const small = join(folder, "small");
    await Deno.mkdir(small);
    const mounted = await new Deno.Command("mount", { args: ["-t", "tmpfs", "-o", "size=128k", "tmpfs", small] })
      .output();
    if (mounted.code !== 0) return console.log("  skipped: no small disk can be made here");
    try {
      for (const line of [["backup", join(small, "b.tar.gz")], ["restore", file, "--store", join(small, "store")]]) {
        const { code, error } = await type(server, ...line);
        assert.equal(code, 1);
        assert.match(error, /^Cannot .*disk is full[^\n]*\n$/i);
        assert.deepEqual(namesIn(small), []);
      }
    } finally {
      await new Deno.Command("umount", { args: [small] }).output();
    }
  });
});
