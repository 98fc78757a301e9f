import assert from "node:assert/strict";
import { demandPassword, makeCredentials, preparePassword, sameBytes, scryptHash } from "../../src/store/passwords.ts";
import { CHEAP } from "./temporary_store.ts";

Deno.test("passwords are prepared as in the examples of RFC 4013 §3", () => {
  assert.equal(preparePassword("I\u00adX"), "IX");
  assert.equal(preparePassword("user"), "user");
  assert.equal(preparePassword("USER"), "USER");
  assert.equal(preparePassword("\u00aa"), "a");
  assert.equal(preparePassword("\u2168"), "IX");
  assert.equal(preparePassword("\u0007"), undefined);
});

Deno.test("passwords keep case and blanks, and composed and decomposed letters are the same", () => {
  assert.equal(preparePassword(" A b "), " A b ");
  assert.equal(preparePassword("a\u00a0b"), "a b");
  assert.equal(preparePassword("ho\u0308lle"), "h\u00f6lle");
  for (
    const bad of ["", "\u00ad", "a\0b", "a\u202eb", "a\ue000b", "a\ud800b", "\ufdd0", "x".repeat(1025), "é".repeat(513)]
  ) {
    assert.equal(preparePassword(bad), undefined, JSON.stringify(bad));
  }
});

Deno.test("a new password has 8 characters at least, and no refusal repeats it", () => {
  assert.equal(demandPassword("pass wör"), "pass wör");
  assert.equal(demandPassword("🐎🐎🐎🐎🐎🐎🐎🐎"), "🐎🐎🐎🐎🐎🐎🐎🐎");
  for (const bad of ["secret7", "🐎🐎🐎🐎", "secret\0secret", `secret${"x".repeat(1024)}`]) {
    assert.throws(() => demandPassword(bad), (error: unknown) => {
      assert(error instanceof Error);
      assert.doesNotMatch(error.message, /secret|🐎/);
      return true;
    });
  }
});

Deno.test("what is kept has its own salts and does not contain the password", async () => {
  const [one, other] = [await makeCredentials("correct horse", CHEAP), await makeCredentials("correct horse", CHEAP)];
  assert.equal(one.scrypt.salt.length, 16);
  for (const kind of ["scrypt", "scram"] as const) assert(!sameBytes(one[kind].salt, other[kind].salt));
  assert(!sameBytes(one.scrypt.salt, one.scram.salt));
  assert(one.scram.iterations >= 10_000);
  assert(sameBytes(one.scrypt.hash, await scryptHash("correct horse", one.scrypt.salt, one.scrypt)));
  assert.doesNotMatch(JSON.stringify(one) + Deno.inspect(one), /correct|horse/);
});
