/** The lines that root is told to run, around the files. */

import assert from "node:assert/strict";
import { type Context, Given } from "../../src/cli/arguments.ts";
import { planService } from "../../src/cli/service_plan.ts";
import { run } from "../interoperability/programs.ts";
import { withSite } from "./typed.ts";

Deno.test("whoever replaces a unit is told to give the store to its user again: it may lie elsewhere now", async () => {
  await withSite(async ({ config, folder }) => {
    const context = { configFile: config } as Context, options = new Given(new Map([["for", ["systemd"]]]));
    const { begin, renew } = await planService(options, context, "right");
    for (const line of [begin, renew]) {
      assert.match(line, new RegExp(`^systemd-sysusers && mkdir -p -m 700 ${folder}/store && chown -R maildemon: `));
    }
    assert.match(renew, / && systemctl daemon-reload && systemctl restart maildemon$/);
  });
});

Deno.test("on macOS the user is made once, and the store is given to it whatever its path", async () => {
  await withSite(async ({ config, folder }) => {
    await Deno.writeTextFile(config, (await Deno.readTextFile(config)).replace('"store"', '"my store"'));
    const context = { configFile: config } as Context, options = new Given(new Map([["for", ["launchd"]]]));
    const { begin, renew } = await planService(options, context, "right");
    // What stands for the programs of macOS says how it was called.
    const stubs = ["sysadminctl", "mkdir", "chown", "launchctl"].map((name) =>
      `${name}() { echo ${name} "$#" "\${@: -1}"; }`
    );
    const given = [`mkdir 2 ${folder}/my store`, `chown 3 ${folder}/my store`];
    const start = "launchctl 3 /Library/LaunchDaemons/maildemon.plist";
    for (
      const [line, isUserThere, expected] of [
        [begin, 1, ["sysadminctl 7 /usr/bin/false", ...given, start]],
        [begin, 0, [...given, start]],
        [renew, 0, ["launchctl 2 system/maildemon", ...given, start]],
      ] as const
    ) {
      const script = [`id() { return ${isUserThere}; }`, ...stubs, line].join("\n");
      assert.deepEqual((await run("bash", ["-c", script])).out.trim().split("\n"), expected);
    }
  });
});
