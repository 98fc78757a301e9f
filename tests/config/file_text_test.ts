import assert from "node:assert/strict";
import { join } from "node:path";
import { credentialName } from "../../src/config/credential.ts";

const CONFIG = `hostname = "mail.ours.test"
store = "store"
[[domains]]
name = "ours.test"
[[listeners]]
address = "127.0.0.1:0"
kind = "mx"
[status]
token_file = "token"
`;

interface World {
  readonly folder: string;
  readonly secret: string;
  readonly handed: string;
  /** What a process says of it that has no more rights than the modes of the files give. */
  readonly load: (credentials?: string) => Promise<string>;
}

async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "maildemon-test-" });
  const credentials = join(folder, "credentials"), secret = join(folder, "token"), config = join(folder, "mail.toml");
  try {
    await Deno.mkdir(credentials);
    await Deno.writeTextFile(config, CONFIG);
    await Deno.writeTextFile(secret, "sesame\n", { mode: 0o600 });
    await work({
      folder,
      secret,
      handed: join(credentials, credentialName(secret)),
      async load(credentials) {
        const script = new URL("load.ts", import.meta.url).pathname;
        const run: readonly string[] = [
          Deno.execPath(),
          "run",
          "--quiet",
          "--no-check",
          "-A",
          script,
          config,
          ...credentials === undefined ? [] : [credentials],
        ];
        // Root reads what it likes; without these two capabilities it does not.
        const without = "-dac_override,-dac_read_search";
        const [program = "", ...args] = Deno.uid() === 0 ? ["setpriv", `--bounding-set=${without}`, ...run] : run;
        const { stdout, stderr } = await new Deno.Command(program, { args }).output();
        return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      },
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a secret that everybody on the machine may read or write stops the start, and the sentence says how to close it", async () => {
  await inWorld(async ({ secret, load }) => {
    for (const mode of [0o644, 0o602, 0o666]) {
      await Deno.chmod(secret, mode);
      assert.match(
        await load(),
        /mail\.toml:9: status\.token_file: \S+token is open to everybody .* chmod 600 \S+token\n$/,
      );
    }
    await Deno.chmod(secret, 0o640);
    assert.equal(await load(), '["sesame"]\n');
  });
});

Deno.test("what only root may read is taken from what the service manager hands over", async () => {
  await inWorld(async ({ folder, secret, handed, load }) => {
    const credentials = join(folder, "credentials");
    await Deno.chmod(secret, 0);
    assert.match(
      await load(),
      /token may not be read by this user; run this as root, or let it belong to the user that runs it\n$/,
    );
    assert.match(await load(credentials), /has not handed it over; run "maildemon service install" anew/);
    await Deno.writeTextFile(handed, "handed over\n");
    assert.equal(await load(credentials), '["handed over"]\n');
    // As it was at the start of the service: the word of that time must not be taken for the new one.
    const later = new Date(Date.now() + 60_000);
    await Deno.utime(secret, later, later);
    assert.match(await load(credentials), /has changed since the service started, .* restart the service\n$/);
  });
});

Deno.test("two files of one name have two names among the credentials, and each a name that systemd takes", () => {
  const names = ["/etc/a/key.pem", "/etc/b/key.pem", `/${"x".repeat(300)}`, "/etc/söme: thing"].map(credentialName);
  assert.equal(new Set(names).size, 4);
  for (const name of names) assert.match(name, /^[\w.-]{1,255}$/);
});
