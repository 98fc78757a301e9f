import assert from "node:assert/strict";
import { parseUntil } from "../../src/cli/alias.ts";
import { silent } from "../../src/log.ts";
import { parseMailbox } from "../../src/smtp/address.ts";
import { openKv } from "../../src/store/kv.ts";
import { Logins } from "../../src/store/logins.ts";
import { PeopleCache } from "../../src/store/people_cache.ts";
import { Unsubscribed } from "../../src/store/unsubscribed.ts";
import { withSite } from "./typed.ts";

const SECRET = "Tr0ub4dor&3 horse";

Deno.test("users are added, shown, changed and removed by commands", async () => {
  await withSite(async ({ folder, type }) => {
    const add = await type(["user", "add", "Ann@ours.test", "--name", "Ann Lee", "--address", "info@ours.test"], {
      password: SECRET,
    });
    assert.deepEqual(add, { code: 0, out: "Added Ann@ours.test.\n", error: "" });
    await type(["user", "add", "bob@ours.test", "--without-password", "--deliver", "forward:bob@else.test"]);
    await type(["alias", "add", "sales@ours.test", "ann@ours.test"]);

    const { out: table } = await type(["user", "list"]);
    assert.equal(
      table,
      "ADDRESS        NAME     ENABLED  LIMIT  DELIVER                MORE ADDRESSES\n" +
        "Ann@ours.test  Ann Lee  yes        500  default                info@ours.test\n" +
        "bob@ours.test           yes        500  forward:bob@else.test\n",
    );
    const shown = JSON.parse((await type(["user", "show", "INFO@ours.test", "--json"])).out);
    assert.match(shown.created, /^\d{4}-\d\d-\d\dT/);
    assert.deepEqual({ ...shown, created: "" }, {
      address: "Ann@ours.test",
      display_name: "Ann Lee",
      addresses: ["info@ours.test"],
      deliver: [],
      send_limit: 500,
      newsletter: false,
      enabled: true,
      created: "",
      password: true,
      aliases: ["sales@ours.test"],
      unsubscribed: [],
    });

    await type([
      "user",
      "set",
      "ann@ours.test",
      "--disable",
      "--send-limit",
      "9",
      "--remove-address",
      "info@ours.test",
    ]);
    const { out: sides } = await type(["user", "show", "ann@ours.test"]);
    assert.match(sides, /send limit +9 a day\n[^]*enabled +no\npassword +set\n/);

    const no = await type(["user", "remove", "ann@ours.test"], { confirm: false });
    assert.deepEqual([no.code, no.error], [1, "Nothing was removed.\n"]);
    const yes = await type(["user", "remove", "ann@ours.test", "--yes"]);
    assert.equal(yes.code, 0);
    assert.equal(
      yes.out,
      `Removed Ann@ours.test. What was delivered to ${folder}/store/mail/ours.test/ann stays there.\n`,
    );
    assert.match(yes.error, /aliases still lead there: sales@ours\.test/);
    assert.equal(JSON.parse((await type(["user", "list", "--json"])).out).length, 1);
  });
});

Deno.test("who has unsubscribed is shown, and taken off the list again by name", async () => {
  await withSite(async ({ folder, type }) => {
    await type(["user", "add", "ann@ours.test", "--without-password", "--newsletter"]);
    const kv = await openKv({ store: `${folder}/store` });
    const lists = new Unsubscribed(kv, { calls: false, now: () => Date.parse("2026-03-01T12:00:00Z") });
    await lists.add(parseMailbox("carol@remote.test")!, ["ann@ours.test"], { by: "mail", id: "1m8abc" });
    await lists.add(parseMailbox("dan@remote.test")!, ["ann@ours.test"], { by: "link" });
    kv.close();
    const show = async () => JSON.parse((await type(["user", "show", "ann@ours.test", "--json"])).out);
    const at = "2026-03-01T12:00:00.000Z", shown = await show();
    assert.equal(shown.newsletter, true);
    assert.deepEqual(shown.unsubscribed, [
      { address: "carol@remote.test", at, by: "mail" },
      { address: "dan@remote.test", at, by: "link" },
    ]);
    assert.match(
      (await type(["user", "show", "ann@ours.test"])).out,
      /unsubscribed +carol@remote\.test \(2026-03-01T12:00:00\.000Z, by mail\)\n +dan@remote\.test \(.*, by link\)\n/,
    );

    const set = ["user", "set", "ann@ours.test"], back = ["--resubscribe", "Carol@remote.test"];
    const more = ["--resubscribe", "eve@remote.test", "--no-newsletter"];
    assert.deepEqual(await type([...set, ...back, ...more]), {
      code: 1,
      // Each is said when it is done, whatever comes behind it.
      out: "Changed ann@ours.test.\nCarol@remote.test may get mail of ann@ours.test again.\n",
      error: 'eve@remote.test is not on the list of ann@ours.test: "user show" has it.\n',
    });
    assert.equal((await type([...set, "--resubscribe", "dan@remote.test"])).code, 0);
    const after = await show();
    assert.deepEqual([after.newsletter, after.unsubscribed], [false, []]);
    assert.equal((await type([...set, "--newsletter", "--no-newsletter"])).code, 2);
  });
});

Deno.test("a password signs in after user add and user passwd, and shows up nowhere", async () => {
  await withSite(async ({ folder, type }) => {
    const said: string[] = [];
    const other = "Another secret 7";
    for (
      const [line, password] of [
        [["user", "add", "ann@ours.test"], SECRET],
        [["user", "add", "ann@ours.test"], SECRET],
        [["user", "add", "bob@ours.test"], "Tr0ub"],
        [["user", "passwd", "ann@ours.test"], other],
        [["user", "passwd", "nobody@ours.test"], other],
        [["user", "show", "ann@ours.test"], ""],
        [["user", "show", "ann@ours.test", "--json"], ""],
        [["user", "list", "--json"], ""],
      ] as const
    ) {
      const { out, error } = await type(line, { password, variables: { MAILDEMON_TRACE: "1" } });
      said.push(out, error);
    }
    assert.doesNotMatch(said.join(""), /Tr0ub|Another secret/);

    const kv = await openKv({ store: `${folder}/store` });
    for await (const { key, value } of kv.list({ prefix: [] })) {
      assert.doesNotMatch(Deno.inspect([key, value]), /Tr0ub|Another secret/);
    }
    const cache = await PeopleCache.open(kv, { log: silent });
    const logins = new Logins(cache);
    assert.equal((await logins.verifyPassword("ann@ours.test", other)).result, "right");
    assert.equal((await logins.verifyPassword("ann@ours.test", SECRET)).result, "wrong");
    await cache.close();
    kv.close();
    for await (const { name } of Deno.readDir(`${folder}/store`)) {
      const bytes = await Deno.readFile(`${folder}/store/${name}`);
      assert.doesNotMatch(new TextDecoder("latin1").decode(bytes), /Tr0ub|Another secret/, name);
    }
  });
});

Deno.test("a password comes from standard input of a real process and cannot be an argument", async () => {
  await withSite(async ({ config, type }) => {
    const runner = new URL("./runner.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "--allow-all", runner, "--config", config, "user", "add", "ann@ours.test"],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`${SECRET}\n`));
    await writer.close();
    const { code, stdout, stderr } = await child.output();
    assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""]);
    assert.equal(new TextDecoder().decode(stdout), "Added ann@ours.test.\n");

    const asArgument = await type(["user", "add", "bob@ours.test", SECRET]);
    assert.equal(asArgument.code, 2);
    const asOption = await type(["user", "add", "bob@ours.test", "--password", SECRET]);
    assert.equal(asOption.code, 2);
    const joined = await type(["user", "add", "bob@ours.test", `--password=${SECRET}`]);
    assert.equal(joined.code, 2);
    assert.match(joined.error, /unknown option '--password'/);
    assert.doesNotMatch(asArgument.error + asOption.error + joined.error, /Tr0ub/);
  });
});

Deno.test("aliases are added with several targets and an end, listed and removed", async () => {
  await withSite(async ({ type }) => {
    await type(["user", "add", "ann@ours.test", "--without-password"]);
    const add = await type(["alias", "add", "team@ours.test", "ann@ours.test", "x@else.test", "--until", "2020-01-31"]);
    assert.deepEqual([add.code, add.out], [0, "team@ours.test leads to ann@ours.test, x@else.test.\n"]);
    assert.equal(
      (await type(["alias", "list"])).out,
      "ADDRESS         LEADS TO                    UNTIL\n" +
        "team@ours.test  ann@ours.test, x@else.test  2020-02-01T00:00:00.000Z (closed)\n",
    );
    const [listed] = JSON.parse((await type(["alias", "list", "--json"])).out);
    assert.deepEqual([listed.targets, listed.until], [["ann@ours.test", "x@else.test"], "2020-02-01T00:00:00.000Z"]);
    assert.equal((await type(["alias", "add", "team@ours.test", "y@else.test"])).code, 1);
    assert.equal((await type(["alias", "add", "team@ours.test", "y@else.test", "--replace"])).code, 0);
    const closed = await type(["alias", "close", "team@ours.test"]);
    assert.match(closed.out, /^Closed team@ours\.test; alias add --replace opens it again\.\n$/);
    assert.match((await type(["alias", "list"])).out, /team@ours\.test .* \(closed\)\n/);
    assert.equal((await type(["alias", "remove", "team@ours.test"])).code, 0);
    const made = await type(["alias", "disposable", "x@else.test", "ann@ours.test", "--for", "shop"]);
    assert.match(made.out, /^shop-[a-z2-9]{6}@ours\.test\n$/);
    assert.equal((await type(["alias", "remove", "team@ours.test"])).code, 1);
  });
});

Deno.test("hostile targets and wrong options are refused with a reason", async () => {
  await withSite(async ({ type }) => {
    const table: readonly [string[], number, RegExp][] = [
      [["alias", "add", "a@ours.test", "|id"], 1, /never given to programs/],
      [["alias", "add", "a@ours.test", "/etc/passwd"], 1, /never written to one/],
      [["alias", "add", "a@ours.test", "a@ours.test"], 1, /in a circle/],
      [["alias", "add", "a@else.test", "b@else.test"], 1, /not in a domain of ours/],
      [["alias", "add", "a@ours.test", "b@else.test", "--until", "soon"], 2, /--until must be a date/],
      [["alias", "add", "a@ours.test"], 2, /missing required argument 'target'/],
      [["user", "add", "a@ours.test", "--deliver", "lmtp:x"], 1, /must be written like 127\.0\.0\.1:24/],
      [["user", "add", "no address"], 1, /is not an address/],
      [["user", "set", "a@ours.test"], 2, /name at least one option/],
      [["user", "set", "a@ours.test", "--enable", "--disable"], 2, /not both/],
      [["user", "set", "a@ours.test", "--send-limit", "many"], 2, /must be a number/],
      [["user", "show", "\x1b[31m@ours.test"], 1, /control characters/],
    ];
    for (const [line, code, reason] of table) {
      const answered = await type(line);
      assert.deepEqual([answered.code, answered.out], [code, ""], line.join(" "));
      assert.match(answered.error, reason);
      assert(!answered.error.includes("\x1b"));
      assert.doesNotMatch(answered.error, /\n {4}at /);
    }
  });
});

Deno.test("--until takes dates, times, durations and now", () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  const table = [
    ["2026-12-31", "2027-01-01T00:00:00.000Z"],
    ["2026-12-31T12:00Z", "2026-12-31T12:00:00.000Z"],
    ["2026-12-31T12:00:30+02:00", "2026-12-31T10:00:30.000Z"],
    ["90m", "2026-03-01T13:30:00.000Z"],
    ["12h", "2026-03-02T00:00:00.000Z"],
    ["30d", "2026-03-31T12:00:00.000Z"],
    ["2w", "2026-03-15T12:00:00.000Z"],
    ["now", "2026-03-01T12:00:00.000Z"],
  ] as const;
  for (const [text, wanted] of table) assert.equal(new Date(parseUntil(text, now)).toISOString(), wanted, text);
  for (const text of ["", "31.12.2026", "2026-13-01", "2026-12-31T12:00", "5y", "-1d", "1.5d", "1e9d"]) {
    assert.throws(() => parseUntil(text, now), /--until must be/, text);
  }
});

Deno.test("check says ok, or each error with file and line, and exit code 1", async () => {
  await withSite(async ({ config, type }) => {
    assert.deepEqual(await type(["check"]), { code: 0, out: `${config}: ok\n`, error: "" });
    await Deno.writeTextFile(config, 'hostname = "mail.ours.test"\nstor = "x"\n');
    const { code, out, error } = await type(["check"]);
    assert.deepEqual([code, out], [1, ""]);
    assert.match(error, /config\.toml:2: stor: .*did you mean "store"/);
    const { errors } = JSON.parse((await type(["check", "--json"])).out);
    assert(errors.some((problem: { line: number }) => problem.line === 2));
  });
});

Deno.test("version names version, Deno and build", async () => {
  await withSite(async ({ type }) => {
    const { version, deno, build } = JSON.parse((await type(["version", "--json"])).out);
    assert.deepEqual([/^\d+\.\d+\.\d+$/.test(version), deno, build], [
      true,
      Deno.version.deno,
      `${Deno.build.target} source`,
    ]);
  });
});
