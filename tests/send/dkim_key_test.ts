import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { dkimRecord, generateDkimKey, recordFault, txtInZone } from "../../src/send/dkim_key.ts";

Deno.test("the record of a key is the same whether it is PKCS#8 or PKCS#1", async () => {
  const pem = await generateDkimKey("rsa");
  assert.match(pem, /^-----BEGIN PRIVATE KEY-----/);
  const pkcs1 = createPrivateKey(pem).export({ type: "pkcs1", format: "pem" }).toString();
  assert.equal(dkimRecord(pkcs1), dkimRecord(pem));
  assert.match(dkimRecord(pem), /^v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A[A-Za-z0-9+/]+={0,2}$/);
});

Deno.test("the Ed25519 key of RFC 8463 §A.2 has the record that stands there", () => {
  // The seed of the example behind the fixed beginning of PKCS#8 (RFC 8410 §7).
  const seed = Uint8Array.fromBase64("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
  const der = new Uint8Array([...Uint8Array.fromHex("302e020100300506032b657004220420"), ...seed]);
  const pem = `-----BEGIN PRIVATE KEY-----\n${der.toBase64()}\n-----END PRIVATE KEY-----\n`;
  assert.equal(dkimRecord(pem), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
});

Deno.test("RSA keys that verifiers may not take are not made", async () => {
  for (const bits of [512, 1024, 2047, 8192, 2048.5, NaN]) {
    await assert.rejects(generateDkimKey("rsa", bits), /2048 to 4096/);
  }
});

Deno.test("a long text is split into strings of 255 bytes, and quotes are escaped", () => {
  assert.equal(txtInZone("a.test", "short"), 'a.test. IN TXT "short"');
  assert.equal(txtInZone("a.test", 'a"b\\c'), 'a.test. IN TXT "a\\"b\\\\c"');
  assert.equal(
    txtInZone("a.test", "x".repeat(600)),
    `a.test. IN TXT ( "${"x".repeat(255)}" "${"x".repeat(255)}" "${"x".repeat(90)}" )`,
  );
});

Deno.test("a published record is compared by what it means", () => {
  const wanted = "v=DKIM1; k=rsa; p=AAAA";
  const table: readonly [string, RegExp | undefined][] = [
    ["v=DKIM1; k=rsa; p=AAAA", undefined],
    ["v=DKIM1;p=AA AA;", undefined],
    ["p=AAAA", undefined],
    ["v=DKIM1; h=sha1:sha256; s=email; t=s; n=note; p=AAAA", undefined],
    ["v=DKIM1; p=AAAB", /another key/],
    ["v=DKIM1; p=", /revoked/],
    ["v=DKIM1", /no p=/],
    ["p=AAAA; v=DKIM1", /come first/],
    ["v=DKIM2; p=AAAA", /must be DKIM1/],
    ["v=DKIM1; k=ed25519; p=AAAA", /k= is ed25519/],
    ["v=DKIM1; h=sha1; p=AAAA", /sha256/],
    ["v=DKIM1; s=other; p=AAAA", /email/],
    ["v=DKIM1; p=AAAA; p=AAAA", /list of tags/],
    ["hello", /list of tags/],
  ];
  for (const [published, fault] of table) {
    const found = recordFault(published, wanted);
    if (fault === undefined) assert.equal(found, undefined, published);
    else assert.match(found ?? "fits", fault, published);
  }
});
