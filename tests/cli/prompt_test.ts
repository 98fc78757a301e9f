import assert from "node:assert/strict";
import type { Keyboard } from "../../src/cli/prompt.ts";
import { openPrompt } from "../../src/cli/prompt.ts";

/** Somebody who types, or a pipe; `raw` notes when the echo was off. */
function keyboard(keys: readonly (string | Uint8Array)[], terminal: boolean) {
  const pieces = keys.map((key) => typeof key === "string" ? new TextEncoder().encode(key) : key);
  const raw: boolean[] = [];
  const typing: Keyboard = {
    read(buffer) {
      const piece = pieces.shift();
      if (piece === undefined) return Promise.resolve(null);
      buffer.set(piece);
      return Promise.resolve(piece.length);
    },
    isTerminal: () => terminal,
    setRaw: (on) => raw.push(on),
  };
  let said = "";
  return { raw, said: () => said, prompt: openPrompt(typing, (text) => said += text) };
}

Deno.test("a password is typed without echo, twice when it is new", async () => {
  const { prompt, raw, said } = keyboard(["sec", "ret\r", "sécret", "\x7f\x7f\x7f\x7f\x7fecret\r"], true);
  assert.equal(await prompt.password("Password", "new"), "secret");
  assert.deepEqual(raw, [true, false, true, false]);
  assert.equal(said(), "Password: \nPassword, once more: \n");
  assert.equal(await keyboard(["wrong\x15right\r"], true).prompt.password("Password", "known"), "right");
});

Deno.test("passwords that differ, an interrupt and the end change nothing, and the echo comes back", async () => {
  for (const keys of [["secret1\r", "secret2\r"], ["sec\x03"], ["sec\x04"], ["sec"]]) {
    const { prompt, raw, said } = keyboard(keys, true);
    await assert.rejects(prompt.password("Password", "new"), /: (none|no password) was set\./);
    assert.equal(raw.at(-1), false);
    assert.doesNotMatch(said(), /sec/);
  }
});

Deno.test("without a terminal it is one line of standard input, and the rest is left for others", async () => {
  const { prompt, raw, said } = keyboard(["first ", "line\r\nsecond\nrest"], false);
  assert.equal(await prompt.password("Password", "new"), "first line");
  assert.equal(await prompt.password("Password", "known"), "second");
  assert.equal(await prompt.password("Password", "known"), "rest");
  await assert.rejects(prompt.password("Password", "known"), /Standard input ended: a password was expected/);
  assert.deepEqual(raw, []);
  assert.equal(said(), "");
});

Deno.test("a line that is too long or no UTF-8 is refused without repeating it", async () => {
  await assert.rejects(keyboard(Array(6).fill("x".repeat(1000)), false).prompt.password("P", "new"), /too long/);
  await assert.rejects(keyboard([new Uint8Array([0xff, 0x0a])], false).prompt.password("P", "new"), /not UTF-8/);
});

Deno.test("only yes is yes, and without a terminal nobody is asked", async () => {
  const table = [["y\n", true], ["YES\n", true], ["\n", false], ["no\n", false], ["yesno\n", false]] as const;
  for (const [answer, wanted] of table) {
    assert.equal(await keyboard([answer], true).prompt.confirm("Sure?"), wanted, answer);
  }
  await assert.rejects(keyboard(["y\n"], false).prompt.confirm("Sure?"), /say --yes/);
});

Deno.test("a question takes what is typed, or what it proposes; without a terminal nobody is asked", async () => {
  const { prompt, said } = keyboard(["\n", " else \n"], true);
  assert.equal(await prompt.ask("Name", "proposed"), "proposed");
  assert.equal(await prompt.ask("Name", "proposed"), "else");
  assert.equal(said(), "Name [proposed] Name [proposed] ");
  await assert.rejects(keyboard(["x\n"], false).prompt.ask("Name", "y"), /say --yes/);
});

Deno.test("what is piped is one line, and nothing at a terminal or at the end", async () => {
  const { prompt } = keyboard(["one\ntwo"], false);
  assert.deepEqual([await prompt.piped("a"), await prompt.piped("a"), await prompt.piped("a")], [
    "one",
    "two",
    undefined,
  ]);
  assert.equal(await keyboard(["typed\n"], true).prompt.piped("a"), undefined);
});
