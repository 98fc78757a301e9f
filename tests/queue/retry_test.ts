import assert from "node:assert/strict";
import { defaultRetry, isTooOld, longestWait, waitBeforeRetry } from "../../src/queue/retry.ts";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

Deno.test("retry waits 5, 10, 20, 40 minutes, 1, 2, then always 4 hours", () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8, 50].map((attempts) => waitBeforeRetry(attempts, defaultRetry, 0.5) / MINUTE);
  assert.deepEqual(waits, [5, 10, 20, 40, 60, 120, 240, 240, 240]);
});

Deno.test("retry spreads its waits by a tenth to either side", () => {
  assert.equal(waitBeforeRetry(1, defaultRetry, 0), 4.5 * MINUTE);
  assert.equal(waitBeforeRetry(1, defaultRetry, 1), 5.5 * MINUTE);
  for (let attempts = 1; attempts < 20; attempts++) {
    assert.ok(waitBeforeRetry(attempts, defaultRetry, Math.random()) <= longestWait(defaultRetry));
  }
});

Deno.test("a message is too old after 5 days and at least 8 attempts, not after one of them", () => {
  const arrived = Date.UTC(2026, 0, 1);
  assert.equal(isTooOld({ attempts: 8, arrived, now: arrived + 5 * DAY }, defaultRetry), true);
  assert.equal(isTooOld({ attempts: 7, arrived, now: arrived + 5 * DAY }, defaultRetry), false);
  assert.equal(isTooOld({ attempts: 40, arrived, now: arrived + 5 * DAY - 1 }, defaultRetry), false);
  assert.equal(isTooOld({ attempts: 40, arrived, now: arrived - 2 * DAY }, defaultRetry), false);
});
