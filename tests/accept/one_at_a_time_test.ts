import assert from "node:assert/strict";
import { oneAtATime } from "../../src/accept/one_at_a_time.ts";

const turn = () => new Promise<void>((done) => setTimeout(done, 1));

Deno.test("long messages are in memory one after the other, in the order in which they came, whatever becomes of each", async () => {
  const inTurn = oneAtATime(), seen: string[] = [];
  const work = (name: string, fails = false) => async () => {
    seen.push(`${name} begins`);
    await turn();
    seen.push(`${name} ends`);
    if (fails) throw new Error(name);
    return name;
  };
  const done = await Promise.allSettled([inTurn(work("a")), inTurn(work("b", true)), inTurn(work("c"))]);
  assert.deepEqual(seen, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  assert.deepEqual(done.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
});

Deno.test("who finds too many long messages waiting is refused, and one who comes later is not", async () => {
  const inTurn = oneAtATime(2);
  const both = [inTurn(turn), inTurn(turn)];
  await assert.rejects(inTurn(turn), /2 long messages wait already/);
  await Promise.all(both);
  await inTurn(turn);
});

Deno.test("who has waited too long for his turn is refused, and his work is not done behind his back", async () => {
  const inTurn = oneAtATime(10, 20);
  let end = () => {}, done = 0;
  const first = inTurn(() => new Promise<void>((resolve) => end = resolve));
  const second = inTurn(() => Promise.resolve(done++));
  await assert.rejects(second, /no turn for a long message within 0.02 s/);
  end();
  await first;
  await inTurn(turn);
  assert.equal(done, 0);
});
