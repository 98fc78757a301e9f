/** What verify finds in a store that was damaged on purpose, and that it finds nothing in one that is sound. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { verify } from "../../src/cli/verify.ts";
import { silent } from "../../src/log.ts";
import type { Standing } from "../../src/queue/entry.ts";
import { Spool } from "../../src/queue/spool.ts";
import { commit, KEY, openKv } from "../../src/store/kv.ts";
import { typed } from "../cli/typed.ts";
import { letter, segmentsOf, store } from "../queue/spooled.ts";
import { ANN, LocalServer } from "../support/local_server.ts";

interface Verified {
  readonly ok: boolean;
  readonly users: number;
  readonly queued: number;
  readonly mails: number;
  readonly problems: readonly { readonly part: string; readonly fault: string }[];
}

async function verified({ configFile }: LocalServer): Promise<Verified> {
  const { code, out, error } = await typed(["--config", configFile, "verify", "--json"], { commands: [verify] });
  assert.equal(error, "");
  const found: Verified = JSON.parse(out);
  assert.equal(code, found.problems.length === 0 ? 0 : 1);
  return found;
}

async function faultsOf(server: LocalServer): Promise<string[]> {
  return (await verified(server)).problems.map(({ part, fault }) => `${part}: ${fault}`);
}

async function fill({ store: folder }: LocalServer, count: number): Promise<string[]> {
  const spool = await Spool.open({ folder: join(folder, "queue"), log: silent });
  const ids: string[] = [];
  for (let seed = 0; seed < count; seed++) ids.push((await store(spool, letter(2_000, seed))).id);
  await spool.close();
  return ids;
}

Deno.test("verify finds nothing in a store that is sound, whether a server works on it or not", async () => {
  const users = [ANN, { address: "bob@ours.test", addresses: ["robert@ours.test"], deliver: ["forward:b@far.test"] }];
  await using server = await LocalServer.prepare({
    users,
    aliases: [{ address: "all@ours.test", targets: [ANN.address] }],
  });
  await fill(server, 3);
  const folder = join(server.store, "mail/ours.test/ann/new");
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(join(folder, "1.x"), "Subject: one\r\n\r\n");
  const expected = { store: server.store, ok: true, users: 2, queued: 3, mails: 1, problems: [] };
  assert.deepEqual(await verified(server), expected);
  const before = segmentsOf(join(server.store, "queue"));
  assert.deepEqual(await verified(server), expected);
  assert.deepEqual(segmentsOf(join(server.store, "queue")), before);
  const said = await typed(["--config", server.configFile, "verify"], { commands: [verify] });
  assert.match(said.error, /2 users, 3 messages in the queue, 1 in Maildirs, 0 problems\.\n$/);
  await server.start();
  assert.deepEqual((await verified(server)).problems, []);
});

Deno.test("verify names users, addresses and passwords that do not belong together", async () => {
  await using server = await LocalServer.prepare({ users: [ANN, { address: "bob@ours.test" }] });
  const kv = await openKv({ store: server.store });
  await commit(
    kv.atomic().delete(KEY.address("ann@ours.test"))
      .set(KEY.address("lost@ours.test"), { of: "user", login: "nobody@ours.test" })
      .set(KEY.address("more@ours.test"), { of: "user", login: "ann@ours.test" })
      .delete(KEY.user({ local: "bob", domain: "ours.test" }))
      .set(KEY.credentials({ local: "eve", domain: "ours.test" }), {})
      .set(KEY.address("odd@ours.test"), { of: "user" })
      .set(KEY.address("void@ours.test"), null)
      .set(KEY.user({ local: "odd", domain: "ours.test" }), { address: "odd@ours.test", addresses: [7], deliver: [] }),
  );
  kv.close();
  assert.deepEqual(await faultsOf(server), [
    "records: Nobody can tell to whom the address odd@ours.test belongs: its record is not one.",
    "records: Nobody can tell to whom the address void@ours.test belongs: its record is not one.",
    "records: The record of the user ours.test odd is not one.",
    "records: The user ann@ours.test has the address ann@ours.test, which belongs to nobody.",
    "records: The address bob@ours.test is said to be one of the user bob@ours.test, who does not have it.",
    "records: The address lost@ours.test is said to be one of the user nobody@ours.test, who does not have it.",
    "records: The address more@ours.test is said to be one of the user ann@ours.test, who does not have it.",
    "records: There is a password of eve@ours.test, who is no user.",
  ]);
});

Deno.test("verify names records that cannot be read, and a file that is none", async () => {
  await using server = await LocalServer.prepare();
  const file = join(server.store, "kv.sqlite");
  const database = new DatabaseSync(file);
  database.exec("UPDATE kv SET v = x'ff10ee' WHERE k IN (SELECT k FROM kv WHERE instr(k, CAST('user' AS BLOB)) > 0)");
  database.close();
  assert.deepEqual(await faultsOf(server), [
    "records: kv.sqlite has a value that cannot be read, under user ours.test ann.",
  ]);
  await Deno.writeTextFile(file, "no database at all, and longer than its header would be".repeat(10));
  assert.match((await faultsOf(server)).join(), /^records: kv\.sqlite cannot be read: /);
  await Deno.remove(file);
  assert.match((await faultsOf(server)).join(), /^records: kv\.sqlite cannot be read: No such file/);
});

Deno.test("verify looks at the rest of the store when nobody answers for the records", async () => {
  await using server = await LocalServer.prepare();
  await fill(server, 2);
  await server.edit((text) => text.replace(/^store = .*$/m, '$&\nkv = "https://127.0.0.1:1/kv"'));
  Deno.env.set("DENO_KV_ACCESS_TOKEN", "a token of this test");
  try {
    const { queued, problems } = await verified(server);
    assert.equal(queued, 2);
    assert.match(
      problems.map(({ part, fault }) => `${part}: ${fault}`).join(),
      /^records: https:\/\/127\.0\.0\.1:1\/kv cannot be read: [^,]*\.$/,
    );
  } finally {
    Deno.env.delete("DENO_KV_ACCESS_TOKEN");
  }
});

Deno.test("verify names messages that are damaged, bytes that are no records and what was set aside, and changes nothing", async () => {
  await using server = await LocalServer.prepare();
  const queue = join(server.store, "queue"), [first, second] = await fill(server, 3);
  await fill(server, 1);
  const [name = ""] = segmentsOf(queue), path = join(queue, name), bytes = await Deno.readFile(path);
  const at = (seed: number) => {
    const start = letter(2_000, seed);
    return bytes.findIndex((_, index) => start.every((byte, offset) => bytes[index + offset] === byte));
  };
  bytes[at(0) + 1_000]! ^= 1; // In the body of the first,
  bytes[at(1) - 20]! ^= 1; // and in the envelope of the second.
  await Deno.writeFile(path, bytes);
  await Deno.mkdir(join(queue, "damaged"));
  await Deno.writeTextFile(join(queue, "damaged/0123456789ab.json"), "{}");
  await Deno.writeTextFile(join(queue, "damaged/0123456789ab.eml"), "");
  await Deno.mkdir(join(server.store, "acme"));
  await Deno.writeTextFile(join(server.store, "acme/ours.test.pem"), "-----BEGIN RUBBISH-----");
  const faults = await faultsOf(server);
  assert.match(
    faults[0] ?? "",
    new RegExp(`^queue: Message ${first} cannot be read whole: Wrong checksum at byte \\d+ of ${name}\\.$`),
  );
  assert.match(faults[1] ?? "", new RegExp(`^queue: \\d+ bytes of ${name} from byte \\d+ on are no records\\.$`));
  assert.match(faults[2] ?? "", /^queue: damaged\/0123456789ab\.json was set aside/);
  assert.match(faults[3] ?? "", /^acme: acme\/ours\.test\.pem holds no certificate/);
  assert.equal(faults.length, 4, `${second}: ${faults.join("\n")}`);
  assert.deepEqual(await Deno.readFile(path), bytes);
  // What a start has put beside is named there, and not a second time where it was.
  await (await Spool.open({ folder: queue, log: silent })).close();
  const after = await faultsOf(server);
  assert.ok(after.some((fault) => fault.startsWith(`queue: damaged/${name}-`)), after.join("\n"));
  assert.ok(!after.some((fault) => fault.includes("are no records")), after.join("\n"));
});

Deno.test("verify names messages whose recipients stand where nobody can", async () => {
  await using server = await LocalServer.prepare();
  const spool = await Spool.open({ folder: join(server.store, "queue"), log: silent });
  const odd: readonly (readonly [number, object])[] = [
    [0, { state: "lost", attempts: 0, due: 0 }],
    [0, { state: "waiting", attempts: -1, due: 0 }],
    [0, { state: "held", attempts: 0, due: null }],
  ];
  const ids: string[] = [];
  for (const [index, standing] of odd) {
    const { id } = await store(spool, letter(100));
    await spool.record(id, new Map([[index, standing as Standing]]));
    ids.push(id);
  }
  await store(spool, letter(100));
  await spool.close();
  const { problems, queued } = await verified(server);
  assert.equal(queued, 4);
  assert.deepEqual(
    problems.map(({ fault }) => fault),
    ids.map((id) => `Message ${id} says of its recipients what cannot be.`),
  );
});
