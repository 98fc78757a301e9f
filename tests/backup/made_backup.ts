/** A store with some of everything and a backup of it, for the tests of both. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { backup } from "../../src/cli/backup.ts";
import { restore } from "../../src/cli/restore.ts";
import { verify } from "../../src/cli/verify.ts";
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { type Answered, typed } from "../cli/typed.ts";
import { letter, store } from "../queue/spooled.ts";
import { LocalServer } from "../support/local_server.ts";

export function type(server: LocalServer, ...line: string[]): Promise<Answered> {
  return typed(["--config", server.configFile, ...line], { commands: [backup, restore, verify] });
}

export async function withBackup(
  test: (made: { server: LocalServer; file: string; folder: string }) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using server = await LocalServer.prepare({
      files: { "status.token": "much too secret" },
      status: 'listen = ""\ntoken_file = "status.token"',
    });
    const spool = await Spool.open({ folder: join(server.store, "queue"), log: silent });
    await store(spool, letter(900));
    await store(spool, letter(600_000));
    await spool.close();
    const maildir = join(server.store, "mail/ours.test/ann");
    for (const part of ["cur", "new", "tmp", ".Sent/cur"]) await Deno.mkdir(join(maildir, part), { recursive: true });
    await Deno.writeTextFile(join(maildir, "cur/1.x:2,S"), "Subject: one\r\n\r\n", { mode: 0o640 });
    await Deno.utime(join(maildir, "cur/1.x:2,S"), 1_600_000_000, 1_600_000_000);
    // What gzip cannot make smaller.
    for (const name of ["3", "4", "5"]) {
      await Deno.writeFile(join(maildir, `new/${name}.x`), crypto.getRandomValues(new Uint8Array(65_536)));
    }
    await Deno.writeTextFile(join(maildir, "tmp/2.x"), "half");
    await Deno.writeTextFile(join(maildir, `.Sent/cur/${"ö".repeat(120)}`), "Subject: a long name\r\n\r\n");
    const file = join(folder, "b.tar.gz");
    const made = await type(server, "backup", file);
    assert.equal(made.code, 0, made.error);
    await test({ server, file, folder });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

export function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

/** Restores it into a store of its own; it must be refused, and leave nothing. */
export async function assertRefused(server: LocalServer, folder: string, bytes: Uint8Array, why = /./): Promise<void> {
  const file = join(folder, "bad.tar.gz"), before = namesIn(folder).filter((name) => name !== "bad.tar.gz");
  await Deno.writeFile(file, bytes);
  const { code, error, out } = await type(server, "restore", file, "--store", join(folder, "store"));
  assert.deepEqual([code, out], [1, ""], error);
  assert.match(error, /^Cannot restore .*Nothing was changed\.\n$/);
  assert.match(error, why);
  await Deno.remove(file);
  assert.deepEqual(namesIn(folder), before);
}
