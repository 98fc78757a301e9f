import assert from "node:assert/strict";
import { relative } from "node:path";
import { judge } from "../../src/cli/dkim.ts";
import type { DnsRecord } from "../../src/dns/records.ts";
import { dkimRecord } from "../../src/send/dkim_key.ts";
import { replyTo, serveScript } from "../support/dns_scripted.ts";
import { withSite } from "./typed.ts";

Deno.test("dkim keygen makes keys that only their owner reads, and never overwrites one", async () => {
  await withSite(async ({ folder, type }) => {
    const line = ["dkim", "keygen", "Ours.Test", "--type", "both", "--selector", "s1"];
    const { code, out, error } = await type(line);
    assert.equal(code, 0, error);
    const rsa = `${folder}/dkim/ours.test.s1.pem`, ed25519 = `${folder}/dkim/ours.test.s1-ed.pem`;
    for (const file of [rsa, ed25519]) {
      assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
      assert.match(await Deno.readTextFile(file), /^-----BEGIN PRIVATE KEY-----\n/);
    }
    const [first = "", second = ""] = out.split("\n");
    assert.match(first, /^s1\._domainkey\.ours\.test\. IN TXT \( "v=DKIM1; k=rsa; p=[^"]{237}" "[^"]+" \)$/);
    assert.match(second, /^s1-ed\._domainkey\.ours\.test\. IN TXT "v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}="$/);
    assert.match(error, /dkim = \[\{ selector = "s1", key = ".*s1\.pem" \}, \{ selector = "s1-ed"/);

    const before = await Deno.readTextFile(rsa);
    await Deno.remove(ed25519);
    const again = await type(line);
    assert.equal(again.code, 1);
    assert.match(again.error, /exists, and a key is never overwritten/);
    assert.equal(await Deno.readTextFile(rsa), before);
    await assert.rejects(Deno.stat(ed25519), Deno.errors.NotFound);
  });
});

Deno.test("what dkim keygen says for the config names the file from everywhere", async () => {
  await withSite(async ({ folder, type }) => {
    const near = relative(Deno.cwd(), `${folder}/keys`);
    const { error } = await type([
      "dkim",
      "keygen",
      "ours.test",
      "--type",
      "ed25519",
      "--selector",
      "s1",
      "--dir",
      near,
    ]);
    assert.ok(error.includes(`key = "${folder}/keys/ours.test.s1.pem"`), error);
  });
});

Deno.test("dkim record prints what keygen printed, for a file and for the config", async () => {
  await withSite(async ({ folder, config, type }) => {
    const { out: made } = await type(["dkim", "keygen", "ours.test", "--type", "ed25519", "--selector", "s1"]);
    const file = `${folder}/dkim/ours.test.s1.pem`;
    const fromFile = await type(["dkim", "record", "ours.test", "--key", file, "--selector", "s1"]);
    assert.deepEqual(fromFile, { code: 0, out: made, error: "" });
    assert.match((await type(["dkim", "record"])).error, /has no DKIM key: make one with dkim keygen/);
    await Deno.writeTextFile(config, `dkim = [{ selector = "s1", key = "dkim/ours.test.s1.pem" }]\n`, { append: true });
    assert.equal((await type(["dkim", "record"])).out, made);
    assert.equal((await type(["dkim", "record", "OURS.test"])).out, made);
    const [json] = JSON.parse((await type(["dkim", "record", "--json"])).out);
    assert.equal(json.value, dkimRecord(await Deno.readTextFile(file)));
    assert.equal((await type(["dkim", "record", "else.test"])).code, 1);
  });
});

Deno.test("wrong names and sizes are refused before anything is written", async () => {
  await withSite(async ({ folder, type }) => {
    for (
      const line of [
        ["../../etc"],
        ["[192.0.2.1]"],
        ["ours.test", "--selector", "../x"],
        ["ours.test", "--selector", "a/b"],
        ["ours.test", "--type", "dsa"],
      ]
    ) {
      assert.equal((await type(["dkim", "keygen", ...line])).code, 2, line.join(" "));
    }
    assert.match((await type(["dkim", "keygen", "ours.test", "--bits", "1024"])).error, /2048 to 4096 bits, not 1024/);
    await assert.rejects(Deno.stat(`${folder}/dkim`), Deno.errors.NotFound);
  });
});

Deno.test("dkim check compares the DNS with the keys of the config", async () => {
  let records: readonly DnsRecord[] = [];
  const names = await serveScript({ udp: (query) => [replyTo(query, { answers: [...records] })] });
  try {
    await withSite(async ({ folder, config, type }) => {
      await type(["dkim", "keygen", "ours.test", "--type", "ed25519", "--selector", "s1"]);
      await Deno.writeTextFile(config, `dkim = [{ selector = "s1", key = "dkim/ours.test.s1.pem" }]\n`, {
        append: true,
      });
      const name = "s1._domainkey.ours.test";
      const txt = (data: string): DnsRecord => ({ name, type: "TXT", ttl: 0, data });
      const right = dkimRecord(await Deno.readTextFile(`${folder}/dkim/ours.test.s1.pem`));

      records = [txt(right)];
      assert.deepEqual(await type(["dkim", "check"]), {
        code: 0,
        out: "RECORD                   RESULT  FOUND\ns1._domainkey.ours.test  ok      the key\n",
        error: "",
      });
      records = [txt(right.replace(/p=....../, "p=AAAAAA"))];
      const wrong = await type(["dkim", "check", "ours.test", "--json"]);
      assert.equal(wrong.code, 1);
      assert.deepEqual(JSON.parse(wrong.out), [{ name, ok: false, found: "p= is another key" }]);
      records = [];
      assert.match((await type(["dkim", "check"])).out, /wrong +no record/);
    }, `[dns]\nservers = ["127.0.0.1:${names.server.port}"]`);
  } finally {
    await names.close();
  }
});

Deno.test("a resolver in trouble says nothing about the record", () => {
  for (const outcome of ["server failed", "timed out"] as const) {
    assert.deepEqual(judge({ outcome, reason: "SERVFAIL of 192.0.2.1" }, "v=DKIM1; k=rsa; p=x"), {
      ok: false,
      found: "no answer: SERVFAIL of 192.0.2.1",
    });
  }
  const two = {
    outcome: "answer",
    records: ["v=DKIM1; p=x", "v=DKIM1; p=y"],
    name: "",
    authenticated: false,
    ttl: 1,
  } as const;
  assert.match(judge(two, "v=DKIM1; k=rsa; p=x").found, /2 records; there must be one/);
});
