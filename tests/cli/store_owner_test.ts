import assert from "node:assert/strict";
import { join } from "node:path";
import { demandOwnStore } from "../../src/cli/store_owner.ts";
import { run } from "../interoperability/programs.ts";
import { LocalServer } from "../support/local_server.ts";
import { maildemon } from "../support/running_server.ts";
import { withSite } from "./typed.ts";

const NOBODY = 65534;

async function filesIn(folder: string): Promise<string[]> {
  const found = [folder];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) found.push(...await filesIn(join(folder, name)));
    else found.push(join(folder, name));
  }
  return found;
}

Deno.test({
  name: "what root's commands make in somebody else's store is that user's, and root may not serve it",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const server = await LocalServer.prepare();
    try {
      for (const path of await filesIn(server.store)) await Deno.chown(path, NOBODY, NOBODY);
      await Deno.chmod(server.folder, 0o755);
      const commands: readonly (readonly [string[], string?])[] = [
        [["send", "--user", "ann@ours.test", "bob@remote.test"], "From: ann@ours.test\nSubject: x\n\nHello.\n"],
        [["queue", "hold", "--all"]],
        [["host", "ban", "192.0.2.7"]],
        [["user", "set", "ann@ours.test", "--name", "Ann"]],
        [["alias", "add", "sales@ours.test", "ann@ours.test"]],
        [["try", "--ip", "192.0.2.8", "--from", "carol@remote.test", "--to", "ann@ours.test"], "Subject: x\n\nHi.\n"],
        [["why", "ann@ours.test"]],
        [["verify"]],
      ];
      for (const [args, input] of commands) {
        const { code, out, error } = await maildemon(server.configFile, args, input);
        assert.equal(code, 0, `${args.join(" ")}: ${out}${error}`);
      }
      const files = await filesIn(server.store), theirs = await Promise.all(files.map((file) => Deno.stat(file)));
      assert.deepEqual(files.filter((_, index) => theirs[index]!.uid !== NOBODY), []);
      assert.ok(files.some((file) => file.endsWith(".segment")), "the message is in the journal");

      const { code, error } = await maildemon(server.configFile, ["serve"]);
      assert.equal(code, 1);
      assert.match(error, /belongs to another user \(number 65534\), .* start the server as a service/);
    } finally {
      await server.close();
    }
  },
});

Deno.test({
  name: "what root does in the store of a stopped server is not root's",
  ignore: Deno.build.os === "windows" || Deno.uid() !== 0,
  async fn() {
    await withSite(async ({ folder, config }) => {
      await Deno.chmod(folder, 0o755);
      const store = join(folder, "store");
      await Deno.mkdir(store, { mode: 0o700 });
      await Deno.chown(store, NOBODY, NOBODY);
      const child = new URL("owner_child.ts", import.meta.url).pathname;
      const main = new URL("../../src/main.ts", import.meta.url).pathname;
      const deno = ["run", "--quiet", "--no-check", "--unstable-kv", "--allow-all"];
      for (const args of [[child, store], [main, "--config", config, "user", "add", "ann@ours.test"]]) {
        const ran = await run(Deno.execPath(), [...deno, ...args], { input: "a long enough one\n" });
        assert.equal(ran.code, 0, ran.error);
        const { out } = await run("find", [store, "-printf", "%U:%G %f\n"]);
        assert.match(out, /kv\.sqlite(-wal)?\n[^]*\.segment\n|\.segment\n[^]*kv\.sqlite/);
        assert.deepEqual(out.trim().split("\n").filter((line) => !line.startsWith(`${NOBODY}:${NOBODY} `)), []);
      }
      assert.equal((await Deno.stat(`${store}.done`)).uid, 0);
      await assert.rejects(
        demandOwnStore(store),
        /belongs to another user \(number 65534\), .* start the server as a service/,
      );
      await demandOwnStore(folder);
    });
  },
});
