import assert from "node:assert/strict";
import { type Leave, Places } from "../../src/dns/places.ts";

const BOUNDS = { places: 3, waiting: 4, kept: 1 };
const LONG = 10_000;

function asker(isPatient = false) {
  const gone = new AbortController();
  return { isPatient, signal: gone.signal, goes: () => gone.abort() };
}

/** Who has come in, in that order, by name; and the way out for each. */
function hall(places: Places) {
  const inside: string[] = [], ways = new Map<string, Leave | undefined>();
  const enter = async (name: string, who = asker(), patience = LONG) => {
    const leave = await places.take(who, patience);
    ways.set(name, leave);
    if (leave !== undefined) inside.push(name);
  };
  return { inside, enter, leave: (name: string) => ways.get(name)?.(), refused: (name: string) => ways.has(name) };
}

function turn(): Promise<void> {
  return new Promise((done) => setTimeout(done));
}

Deno.test("a place that is given back goes to who came first", async () => {
  const { inside, enter, leave } = hall(new Places(BOUNDS));
  const all = ["a", "b", "c", "d", "e"].map((name) => enter(name));
  await turn();
  assert.deepEqual(inside, ["a", "b"]);
  leave("b");
  await turn();
  assert.deepEqual(inside, ["a", "b", "c"]);
  leave("b");
  await turn();
  assert.deepEqual(inside, ["a", "b", "c"], "a place is given back once");
  for (const name of ["a", "c"]) leave(name);
  await Promise.all(all);
  assert.deepEqual(inside, ["a", "b", "c", "d", "e"]);
});

Deno.test("the patient have a place of their own and take the others too, but in their turn", async () => {
  const { inside, enter, leave } = hall(new Places(BOUNDS));
  const all = ["a", "b", "c"].map((name) => enter(name));
  all.push(...["p", "q"].map((name) => enter(name, asker(true))));
  await turn();
  assert.deepEqual(inside, ["a", "b", "p"]);
  leave("a");
  await turn();
  assert.deepEqual(inside, ["a", "b", "p", "c"], "the hurried one came before the second patient one");
  leave("p");
  await Promise.all(all);
  assert.deepEqual(inside, ["a", "b", "p", "c", "q"]);
});

Deno.test("who becomes patient while it waits comes in at once when a place is kept", async () => {
  const places = new Places(BOUNDS), { inside, enter, leave } = hall(places), late = asker();
  const all = [enter("a"), enter("b"), enter("c"), enter("d", late)];
  late.isPatient = true;
  places.admit();
  await turn();
  assert.deepEqual(inside, ["a", "b", "d"]);
  leave("a");
  await Promise.all(all);
});

Deno.test("no more wait than may, of whom some are kept for the patient", async () => {
  const { inside, enter, leave, refused } = hall(new Places(BOUNDS));
  const names = ["a", "b", "c", "d", "e"], all = names.map((name) => enter(name));
  await enter("f");
  await enter("p", asker(true));
  all.push(enter("q", asker(true)));
  await enter("r", asker(true));
  assert.deepEqual(inside, ["a", "b", "p"]);
  assert.deepEqual(["e", "f", "q", "r"].map(refused), [false, true, false, true]);
  for (const name of ["a", "b", "p", "c", "d", "e"]) {
    leave(name);
    await turn();
  }
  await Promise.all(all);
});

Deno.test("who waited long enough, or is gone, leaves its place in the line", async () => {
  const { inside, enter, leave, refused } = hall(new Places(BOUNDS)), gone = asker();
  await Promise.all(["a", "b"].map((name) => enter(name)));
  const waiting = enter("gone", gone), began = performance.now();
  await enter("late", asker(), 50);
  assert.ok(performance.now() - began >= 45);
  gone.goes();
  await waiting;
  assert.ok(performance.now() - began < LONG / 2);
  await enter("never there", gone);
  assert.deepEqual(["late", "gone", "never there"].map(refused), [true, true, true]);
  leave("a");
  await enter("c");
  assert.deepEqual(inside, ["a", "b", "c"]);
});
