/** The lines of the README that install a release, run as they stand there against a server of our own. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { inFolder } from "./config/temporary_folder.ts";
import { interop, run } from "./interoperability/programs.ts";

const README = await Deno.readTextFile(new URL("../README.md", import.meta.url));
const LINES = /```sh\n(\( set -eu[^]*?)```/.exec(README)?.[1] ?? "";
const FROM = "https://github.com/$owner/maildemon/releases/latest/download";

interface Release {
  readonly executable: string;
  readonly sums: (name: string, sum: string) => string;
}

/** What the lines leave in the folder, and their exit code. */
async function install(
  { executable, sums }: Release,
): Promise<{ code: number; installed: string | undefined; said: string }> {
  const right = "#!/bin/sh\necho the right one\n";
  const sum = createHash("sha256").update(right).digest("hex");
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const name = new URL(request.url).pathname.slice(1);
    const machine = `maildemon-${Deno.build.target}`;
    if (name === "SHA256SUMS") return new Response(sums(machine, sum));
    return name === machine ? new Response(executable) : new Response("nothing", { status: 404 });
  });
  try {
    let result = { code: -1, installed: undefined as string | undefined, said: "" };
    await inFolder(async (folder) => {
      const script = LINES.replace(FROM, `http://127.0.0.1:${server.addr.port}`);
      const { code, out, error } = await run("sh", ["-c", `TO=${folder}\n${script}`]);
      const installed = await Deno.readTextFile(join(folder, "maildemon")).catch(() => undefined);
      result = { code, installed, said: out + error };
    });
    return result;
  } finally {
    await server.shutdown();
  }
}

const whole = (name: string, sum: string) => `${"0".repeat(64)}  maildemon-other\n${sum}  ${name}\n`;
const RIGHT = "#!/bin/sh\necho the right one\n";

interop("the lines of the README install an executable whose checksum is right", ["curl"], async () => {
  assert.ok(LINES.includes(FROM));
  const { code, installed, said } = await install({ executable: RIGHT, sums: whole });
  assert.deepEqual([code, installed], [0, RIGHT], said);
});

interop("the lines of the README install nothing that was changed, or that has no checksum", ["curl"], async () => {
  const cases: readonly Release[] = [
    { executable: `${RIGHT}# changed\n`, sums: whole },
    { executable: RIGHT, sums: () => `${"0".repeat(64)}  maildemon-other\n` },
    { executable: RIGHT, sums: () => "" },
  ];
  for (const release of cases) {
    const { code, installed, said } = await install(release);
    assert.notEqual(code, 0, said);
    assert.equal(installed, undefined);
  }
});
