import assert from "node:assert/strict";
import { bornAt } from "../../src/store/born.ts";
import { NOON } from "./host_counts.ts";
import { withStore } from "./temporary_store.ts";

Deno.test("the first day of a store is the one on which it was first asked for, whoever asks later or at once", async () => {
  await withStore(async ({ kv }) => {
    const told = await Promise.all([1, 2, 3].map((later) => bornAt(kv, NOON + later)));
    assert.equal(new Set(told).size, 1);
    assert.equal(await bornAt(kv, NOON + 1_000_000), told[0]);
  });
});
