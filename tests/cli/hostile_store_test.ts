/** Root's commands and a store whose owner means them ill. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { silent } from "../../src/log.ts";
import { Control, type Handler } from "../../src/status/control.ts";
import { LocalServer } from "../support/local_server.ts";
import { maildemon } from "../support/running_server.ts";

const NOBODY = 65534;
const EVIL = "\x1b]0;mine\x07\x1b[2J\u202e";
const LETTER = "From: ann@ours.test\nSubject: x\n\nHello.\n";

Deno.test("what a server answers that is not ours moves no cursor", async () => {
  await using server = await LocalServer.prepare();
  const old = join(server.folder, "old");
  await Deno.mkdir(join(old, "queue"), { recursive: true });
  const adopted = { messages: EVIL, resumed: EVIL, damaged: EVIL, maildirs: [EVIL], unfinished: [EVIL] };
  const evil: Handler = ({ do: what }) => Promise.resolve(what === "queue.adopt" ? adopted : EVIL);
  const refusing: Handler = () => Promise.reject(new Error(EVIL));
  const asked = ["send", "queue.stats", "queue.count", "queue.hold", "queue.drop", "queue.adopt"];
  for (const handler of [evil, refusing]) {
    const handlers = new Map(asked.map((what) => [what, handler]));
    if (handler === refusing) handlers.set("queue.stats", () => Promise.resolve({}));
    const control = await Control.open({ store: server.store, handlers, log: silent });
    try {
      for (
        const line of [
          ["send", "--user", "ann@ours.test", "bob@remote.test"],
          ["queue", "hold", "--all"],
          ["queue", "drop", "--all"],
          ["queue", "adopt", old],
        ]
      ) {
        const { out, error } = await maildemon(server.configFile, line, LETTER);
        // deno-lint-ignore no-control-regex
        assert.doesNotMatch(out + error, /[\x07\x1b\u202e]/, line.join(" "));
        assert.notEqual(out + error, "", line.join(" "));
      }
    } finally {
      await control.close();
    }
  }
});

Deno.test("a link in the store leads root's commands no further than its owner gets", {
  ignore: Deno.build.os === "windows" || Deno.uid() !== 0,
}, async () => {
  await using server = await LocalServer.prepare();
  const roots = join(server.folder, "roots"), file = join(server.folder, "b.tar.gz");
  await Deno.chmod(server.folder, 0o755);
  await Deno.mkdir(roots, { mode: 0o700 });
  await Deno.writeTextFile(join(roots, "x.pem"), "top secret", { mode: 0o600 });
  const mail = await Deno.stat(join(server.store, "mail")).then(() => true, () => false);
  assert.equal(mail, false, "nothing was delivered yet");
  await Deno.mkdir(join(server.store, "queue"), { recursive: true });
  for (const name of [".", "queue", "kv.sqlite"]) await Deno.chown(join(server.store, name), NOBODY, NOBODY);
  for (const name of ["acme", "mail", "stories", "queue/damaged"]) {
    await Deno.symlink(roots, join(server.store, name));
    for (const line of [["backup", file], ["verify"]]) {
      const { code, out, error } = await maildemon(server.configFile, line);
      assert.equal(code, 1, `${line[0]}, ${name}: ${out}${error}`);
      assert.match(out + error, /Permission denied/, name);
    }
    await Deno.remove(join(server.store, name));
  }
  const { code, error } = await maildemon(server.configFile, ["backup", file]);
  assert.equal(code, 0, error);
});
