import assert from "node:assert/strict";
import { resolve } from "node:path";
import { parseMailbox } from "../../src/smtp/address.ts";
import { folderName, mailFolder } from "../../src/store/mail_folder.ts";
import { HOSTILE } from "./hostile.ts";

Deno.test("harmless names stay as they are, and all spellings of an address have one folder", () => {
  const table = [
    ["ann@ours.test", "ours.test/ann"],
    ["Ann.Lee+x_y-z@Ours.Test", "ours.test/ann.lee+x_y-z"],
    ["o'neil@ours.test", "ours.test/o%27neil"],
    ['".ann"@ours.test', "ours.test/%2Eann"],
    ['"a/b"@ours.test', "ours.test/a%2Fb"],
    ['"a b"@ours.test', "ours.test/a%20b"],
    ["50%@ours.test", "ours.test/50%25"],
    ["JOSÉ@ours.test", "ours.test/jos%C3%A9"],
    ["jose\u0301@ours.test", "ours.test/jos%C3%A9"],
    ["ann@[192.0.2.1]", "%5B192.0.2.1%5D/ann"],
  ] as const;
  for (const [address, folder] of table) {
    const mailbox = parseMailbox(address);
    assert(mailbox !== undefined, address);
    assert.equal(mailFolder(mailbox), folder, address);
  }
});

Deno.test("no local part leaves the mail folder, and no two share a folder", () => {
  const seen = new Map<string, string>();
  for (const local of [...HOSTILE, "%2e%2e", "%2E%2E", "%sha256-0", "%", "con", "a:b", "a\\b"]) {
    const folder = mailFolder({ local, domain: "ours.test" });
    assert.match(folder, /^ours\.test\/[a-z0-9_+%-][A-Za-z0-9._+%-]*$/, JSON.stringify(local));
    assert(folder.length <= "ours.test/".length + 200);
    const path = resolve("/mail", folder);
    assert.equal(path, `/mail/${folder}`);
    const key = local.normalize("NFC").toLowerCase();
    assert.equal(seen.get(folder) ?? key, key, `${JSON.stringify(local)} shares ${folder}`);
    seen.set(folder, key);
  }
});

Deno.test("names too long for a file system become a hash", () => {
  const name = folderName("é".repeat(128));
  assert.match(name, /^%sha256-[0-9a-f]{64}$/);
  assert.notEqual(name, folderName("é".repeat(129)));
  assert.equal(folderName("a".repeat(200)), "a".repeat(200));
});
