import assert from "node:assert/strict";
import { messageIds } from "../../src/queue/message_id.ts";

Deno.test("ids have 12 characters of Crockford's base 32 and sort by time", () => {
  let now = 1_700_000_000_000;
  const next = messageIds(() => now), ids: string[] = [];
  for (let i = 0; i < 500; i++) {
    ids.push(next());
    if (i % 3 === 0) now += i;
  }
  for (const id of ids) assert.match(id, /^[0-9a-hjkmnp-tv-z]{12}$/);
  assert.deepEqual(ids.toSorted(), ids);
  assert.equal(new Set(ids).size, ids.length);
});

Deno.test("ids go up while the clock stands still for longer than the counter lasts, or jumps back", () => {
  let now = 1_700_000_000_000;
  const next = messageIds(() => now);
  let last = next();
  for (let i = 0; i < 70_000; i++) {
    if (i === 40_000) now -= 86_400_000;
    const id = next();
    assert.ok(id > last, `${id} after ${last}`);
    last = id;
  }
});

Deno.test("ids are above the last one of an earlier process whose clock was ahead", () => {
  const ahead = messageIds(() => 1_800_000_000_000)();
  assert.ok(messageIds(() => 1_700_000_000_000, ahead)() > ahead);
  assert.ok(messageIds(() => 1_900_000_000_000, ahead)() > ahead);
  assert.ok(messageIds(() => 0, "zzz")().length === 12);
});
