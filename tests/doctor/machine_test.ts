import assert from "node:assert/strict";
import { checkClock, checkDisk, checkQueue, type Space } from "../../src/doctor/machine.ts";

const MIB = 1024 * 1024, GIB = 1024 * MIB, MINUTE = 60_000, HOUR = 60 * MINUTE;

Deno.test("a disk is full when the next messages have no room, and low when there is little of it and of its whole", async () => {
  const told = async (space: Space, maxMessage = 25 * MIB) => {
    const { result, fault, found } = await checkDisk("/store", maxMessage, () => Promise.resolve(space));
    return `${result} ${fault ?? ""} ${found}`;
  };
  assert.match(await told({ free: 100 * GIB, total: 200 * GIB }), /^ok {2}100\.0 GiB of 200\.0 GiB are free$/);
  assert.match(await told({ free: 177 * MIB, total: 200 * GIB }), /^error disk-full 177 MiB /);
  assert.match(await told({ free: 179 * MIB, total: 200 * GIB }), /^warning disk-low /);
  assert.match(await told({ free: 179 * MIB, total: 200 * GIB }, 100 * MIB), /^error disk-full /);
  // A small disk that is nearly empty is not low.
  assert.match(await told({ free: 900 * MIB, total: GIB }), /^ok /);
  assert.match(await told({ free: 100 * GIB, total: 2000 * GIB }), /^ok /);
  assert.match(await told({ free: 100 * GIB, total: 200 * GIB, files: 999 }), /^error disk-full only 999 more files /);
  assert.match(await told({ free: 100 * GIB, total: 200 * GIB, files: 1000 }), /^ok /);
});

Deno.test("a clock is compared only with enough messages, and two minutes are no matter", () => {
  const told = (messages: number, offset?: number) => {
    const { result, found } = checkClock({ ok: true, value: { messages, ...offset !== undefined && { offset } } });
    return `${result} ${found}`;
  };
  assert.match(told(0), /^ok not compared: 0 messages /);
  assert.match(told(4, 9 * HOUR), /^ok not compared: 4 messages /);
  assert.match(told(5, 9 * HOUR), /^warning 9 h ahead of the Date of the last 5 messages$/);
  assert.match(told(5, -3 * MINUTE), /^warning 3 min behind the Date of /);
  assert.match(told(5, 119_000), /^ok 119 s ahead of /);
});

Deno.test("a queue is old when its senders have been told", () => {
  const now = 10_000 * HOUR;
  const told = (messages: number, age: number) => {
    const { result, found } = checkQueue({ ok: true, value: { messages, oldest: now - age } }, 4 * HOUR, now);
    return `${result} ${found}`;
  };
  assert.equal(told(0, 0), "ok empty");
  assert.equal(told(7, 4 * HOUR - 1), "ok 7 waiting, the oldest for 4 h");
  assert.equal(told(7, 4 * HOUR), "warning 7 waiting, the oldest for 4 h");
  assert.equal(told(1, 50 * HOUR), "warning 1 waiting, the oldest for 2 days");
  assert.equal(checkQueue({ ok: false, error: "Permission denied" }, 1, now).fault, "server-silent");
});
