/** What keeps the program from starting: one sentence that says what to do, exit code 1, and nothing half done. */

import assert from "node:assert/strict";
import { join } from "node:path";
import project from "../deno.json" with { type: "json" };
import { commit, KEY, openKv, SCHEMA } from "../src/store/kv.ts";
import { maildemon } from "./support/running_server.ts";

interface World {
  readonly folder: string;
  readonly config: string;
  readonly store: string;
}

async function inWorld(work: (world: World) => Promise<void>, listener = "127.0.0.1:0", more = ""): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "maildemon-test-" }), config = join(folder, "config.toml");
  try {
    await Deno.writeTextFile(
      config,
      `hostname = "mail.ours.test"\nstore = "store"\n[[domains]]\nname = "ours.test"\n[[listeners]]\n` +
        `address = "${listener}"\nkind = "mx"\n[status]\nlisten = ""\n${more}`,
    );
    await work({ folder, config, store: join(folder, "store") });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The one line it says. */
async function failure(config: string): Promise<string> {
  const { code, out, error } = await maildemon(config, ["serve"]);
  return theOneLine(code, out, error);
}

function theOneLine(code: number, out: string, error: string): string {
  assert.deepEqual([code, out], [1, ""], error);
  const lines = error.trimEnd().split("\n");
  assert.equal(lines.length, 1, error);
  return lines[0]!;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

Deno.test("a port that another program has: said before the store is touched", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await inWorld(async ({ config, store }) => {
    const sentence = `Cannot listen on 127.0.0.1 port ${taken.addr.port}: another program listens there; stop it, or ` +
      "choose another port.";
    assert.equal(await failure(config), sentence);
    assert.equal(await exists(store), false);
  }, `127.0.0.1:${taken.addr.port}`);
});

Deno.test("a store that a newer program has written: left as it is, whatever command comes", async () => {
  await inWorld(async ({ config, store }) => {
    const kv = await openKv({ store });
    await commit(kv.atomic().set(KEY.schema, SCHEMA + 1));
    kv.close();
    for (const args of [["serve"], ["user", "list"], ["host", "list"], ["alias", "list"]]) {
      const { code, out, error } = await maildemon(config, args);
      assert.match(
        theOneLine(code, out, error),
        /a newer maildemon wrote it .* Run the newer program, or restore a backup/,
      );
    }
    assert.equal(await exists(join(store, "queue")), false);
  });
});

Deno.test("a damaged store: what to do, and the file is left for whoever can read it", async () => {
  await inWorld(async ({ config, store }) => {
    await Deno.mkdir(store);
    await Deno.writeTextFile(join(store, "kv.sqlite"), "this was a database once, and is none any more".repeat(100));
    assert.match(await failure(config), /Cannot open the store \S+: kv\.sqlite is damaged \(.*\); restore a backup\.$/);
    assert.match(await Deno.readTextFile(join(store, "kv.sqlite")), /^this was a database/);
  });
});

/** The program in a world of mounts of its own, after the lines of `prepare`; undefined when this machine has none. */
async function apart(config: string, prepare: string): Promise<string | undefined> {
  const permissions = project.tasks.start.split(" ").filter((word) => word.startsWith("--")).join(" ");
  const script = new URL("../src/main.ts", import.meta.url).pathname;
  const run = `${Deno.execPath()} run ${permissions} ${script} --config ${config} serve`;
  if (Deno.uid() !== 0) return undefined;
  const { code, stdout, stderr } = await new Deno.Command("unshare", {
    args: ["--mount", "sh", "-c", `(${prepare}) || exit 77; exec timeout 20 ${run}`],
    env: { NO_COLOR: "1" },
  }).output();
  const error = new TextDecoder().decode(stderr);
  if (code === 77 || /unshare failed/.test(error)) return undefined;
  return theOneLine(code, new TextDecoder().decode(stdout), error);
}

const SKIPPED = "skipped: this needs root, and mounts of its own";

Deno.test("no name server anywhere: where to write one", async () => {
  await inWorld(async ({ config }) => {
    const said = await apart(config, "mount --bind /dev/null /etc/resolv.conf");
    if (said === undefined) return console.log(SKIPPED);
    const sentence =
      "This machine has no name server: /etc/resolv.conf names none. Set one up there, or install one here " +
      '(unbound is good) and write servers = ["127.0.0.1"] into [dns].';
    assert.equal(said, sentence);
  });
});

Deno.test("a full disk: the store cannot be opened, and nothing that was there is lost", async () => {
  await inWorld(async ({ folder, config, store }) => {
    await Deno.mkdir(store);
    const said = await apart(
      config,
      `mount -t tmpfs -o size=64k tmpfs ${store} && ! cat /dev/zero > ${store}/full 2> /dev/null`,
    );
    if (said === undefined) return console.log(SKIPPED);
    assert.match(said, /^Cannot open the store \S+: the disk is full; make room, and nothing is lost\.$/);
    // Of a store that is there SQLite says less.
    const { code } = await maildemon(config, ["user", "list"]);
    assert.equal(code, 0);
    const full = `cp -r ${store} ${folder}/copy && mount -t tmpfs -o size=128k tmpfs ${store} && ` +
      `cp ${folder}/copy/* ${store} && ! cat /dev/zero > ${store}/full 2> /dev/null`;
    assert.match(await apart(config, full) ?? "", /^Cannot open the store \S+: the disk is full or fails; make room/);
  });
});

Deno.test("a store on a disk that can only be read", async () => {
  await inWorld(async ({ config, store }) => {
    await Deno.mkdir(store);
    const said = await apart(config, `mount --bind ${store} ${store} && mount -o remount,ro,bind ${store}`);
    if (said === undefined) return console.log(SKIPPED);
    assert.match(said, /^Cannot open the store \S+: its disk can only be read; choose another folder for store\.$/);
  });
});
