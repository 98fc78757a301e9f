import assert from "node:assert/strict";
import { editDistance, nearest } from "../../src/config/suggestion.ts";

Deno.test("edit distance counts letters inserted, dropped, replaced and swapped", () => {
  assert.equal(editDistance("kind", "kind"), 0);
  assert.equal(editDistance("kind", "knd"), 1);
  assert.equal(editDistance("kind", "kinds"), 1);
  assert.equal(editDistance("kind", "kint"), 1);
  assert.equal(editDistance("kind", "knid"), 1);
  assert.equal(editDistance("", "abc"), 3);
  assert.equal(editDistance("store", "hosts"), editDistance("hosts", "store"));
});

Deno.test("suggestion is the nearest word, or none when nothing is near", () => {
  const words = ["max_recipients", "max_line", "max_hops", "kind"];
  assert.equal(nearest("max_recipient", words), "max_recipients");
  assert.equal(nearest("maxRecipients", words), "max_recipients");
  assert.equal(nearest("MAX-LINE", words), "max_line");
  assert.equal(nearest("knid", words), "kind");
  assert.equal(nearest("max_rec", words), "max_recipients");
  assert.equal(nearest("port", words), undefined);
  assert.equal(nearest("", words), undefined);
  assert.equal(nearest("x".repeat(1_000_000), words), undefined);
});
