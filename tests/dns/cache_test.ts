import assert from "node:assert/strict";
import { Cache } from "../../src/dns/cache.ts";

Deno.test("cache gives back what it was given until its time is over", () => {
  const cache = new Cache<string>(10, 1000);
  cache.set("a", "one", 500, 1);
  assert.deepEqual(cache.get("a", 100), { value: "one", left: 400 });
  assert.deepEqual(cache.get("a", 499), { value: "one", left: 1 });
  assert.equal(cache.get("a", 500), undefined);
  assert.equal(cache.size, 0);
});

Deno.test("cache forgets what was longest unused when it has too many entries", () => {
  const cache = new Cache<number>(2, 1000);
  cache.set("a", 1, 500, 1);
  cache.set("b", 2, 500, 1);
  cache.get("a", 0);
  cache.set("c", 3, 500, 1);
  assert.deepEqual(["a", "b", "c"].map((key) => cache.get(key, 0)?.value), [1, undefined, 3]);
});

Deno.test("cache forgets what was longest unused when its entries are too heavy together", () => {
  const cache = new Cache<number>(1000, 1000);
  for (let key = 0; key < 30; key++) cache.set(String(key), key, 500, 100);
  assert.equal(cache.size, 10);
  assert.equal(cache.get("19", 0), undefined);
  assert.equal(cache.get("20", 0)?.value, 20);
});

Deno.test("cache takes nothing that would push out most of the rest, and forgets what it replaced", () => {
  const cache = new Cache<number>(10, 1000);
  cache.set("a", 1, 500, 1);
  cache.set("a", 2, 500, 101);
  assert.equal(cache.get("a", 0), undefined);
});

Deno.test("cache counts an entry that is replaced once", () => {
  const cache = new Cache<number>(10, 100);
  for (let time = 0; time < 100; time++) cache.set("a", time, 500, 10);
  for (let key = 0; key < 9; key++) cache.set(String(key), key, 500, 10);
  assert.equal(cache.get("a", 0)?.value, 99);
});
