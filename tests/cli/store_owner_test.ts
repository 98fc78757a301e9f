import assert from "node:assert/strict";
import { join } from "node:path";
import { LocalServer } from "../support/local_server.ts";
import { maildemon } from "../support/running_server.ts";

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
