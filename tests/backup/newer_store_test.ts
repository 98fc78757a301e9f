/** A store that a newer program has written is left alone by every command, with one sentence that says what to do. */

import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import { join } from "node:path";
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { commit, KEY, openKv, SCHEMA } from "../../src/store/kv.ts";
import { letter, segmentsOf, store } from "../queue/spooled.ts";
import { LocalServer } from "../support/local_server.ts";
import { maildemon } from "../support/running_server.ts";

const EVERY: readonly (readonly string[])[] = [
  ["serve"],
  ["user", "list"],
  ["alias", "list"],
  ["host", "list"],
  ["queue", "list"],
  ["queue", "retry", "--all"],
  ["try", "--ip", "192.0.2.1", "--from", "a@x.test", "--to", "ann@ours.test"],
  ["send", "ann@ours.test"],
  ["verify"],
];

async function assertLeftAlone(server: LocalServer, commands: typeof EVERY, why: RegExp): Promise<void> {
  const files = async () =>
    await Promise.all(
      segmentsOf(join(server.store, "queue")).map((name) => Deno.readFile(join(server.store, "queue", name))),
    );
  const before = await files();
  for (const command of commands) {
    const { code, out, error } = await maildemon(server.configFile, command, "From: ann@ours.test\r\n\r\n");
    assert.deepEqual([code, out], [1, ""], `${command.join(" ")}: ${error}`);
    const lines = error.trim().split("\n").filter((line) => !/^\d{4}-\S+ (warning|info|debug) /.test(line));
    assert.equal(lines.length, 1, `${command.join(" ")}: ${error}`);
    assert.match(lines[0]!, why, command.join(" "));
  }
  assert.deepEqual(await files(), before);
}

Deno.test("records of a newer schema: every command leaves the store alone", async () => {
  await using server = await LocalServer.prepare();
  const spool = await Spool.open({ folder: join(server.store, "queue"), log: silent });
  await store(spool, letter(500));
  await spool.close();
  const kv = await openKv({ store: server.store });
  await commit(kv.atomic().set(KEY.schema, SCHEMA + 1));
  kv.close();
  await assertLeftAlone(
    server,
    [...EVERY, ["backup", join(server.folder, "b")]],
    /a newer maildemon wrote it \(schema 2, /,
  );
  assert.ok(!(await Array.fromAsync(Deno.readDir(server.folder))).some(({ name }) => name.startsWith("b")));
});

Deno.test("records of a newer journal: whoever reads it leaves it alone", async () => {
  await using server = await LocalServer.prepare();
  const queue = join(server.store, "queue"), spool = await Spool.open({ folder: queue, log: silent });
  await store(spool, letter(500));
  await spool.close();
  const path = join(queue, segmentsOf(queue)[0]!), bytes = await Deno.readFile(path), view = new DataView(bytes.buffer);
  // The first record, as a program of the next version would have written it.
  bytes[8] = 2;
  view.setUint32(36, crc32(bytes.subarray(40, 40 + view.getUint32(24, true)), crc32(bytes.subarray(0, 36))), true);
  await Deno.writeFile(path, bytes);
  const commands = EVERY.filter(([name]) => ["serve", "queue", "verify", "send"].includes(name!));
  await assertLeftAlone(server, [...commands, ["backup", join(server.folder, "b")]], /a newer maildemon wrote it/);
});
