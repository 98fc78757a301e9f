import assert from "node:assert/strict";
import { formatMailbox } from "../../src/smtp/address.ts";
import { parseAddressList } from "../../src/smtp/originator.ts";
import { quickest } from "../support/quickest.ts";

const RIGHT: readonly [value: string, ...addresses: string[]][] = [
  ["ann@dev.test", "ann@dev.test"],
  ["<ann@dev.test>", "ann@dev.test"],
  ["Ann <ann@dev.test>", "ann@dev.test"],
  ["Ann B. C <ann@dev.test>", "ann@dev.test"],
  ['"Ann, the \\"one\\" <x@y.test>" <ann@dev.test>', "ann@dev.test"],
  ["ann@dev.test (Ann)", "ann@dev.test"],
  ["(bob@dev.test) ann (x) @ (y) dev (z) . (a (b) \\) ) test", "ann@dev.test"],
  ["ann . b @ dev . test", "ann.b@dev.test"],
  ["< ann @ dev.test >", "ann@dev.test"],
  ['"a . b"@dev.test', '"a . b"@dev.test'],
  ['Ann <"a , b"@dev.test>', '"a , b"@dev.test'],
  ["=?utf-8?q?ann=40ext=2Etest?= <ann@dev.test>", "ann@dev.test"],
  ["ann@dev.test, bob@dev.test", "ann@dev.test", "bob@dev.test"],
  [", ann@dev.test,,", "ann@dev.test"],
  ["Team: ann@dev.test, Bob <bob@dev.test>;", "ann@dev.test", "bob@dev.test"],
  ["Nobody:;"],
  [""],
  ["(only a comment)"],
  ["\tann@dev.test ", "ann@dev.test"],
  ["zoë@dev.test", "zoë@dev.test"],
  ["__proto__@dev.test", "__proto__@dev.test"],
];

for (const [value, ...addresses] of RIGHT) {
  Deno.test(`From ${JSON.stringify(value)} names ${addresses.join(" and ") || "nobody"}`, () => {
    assert.deepEqual(parseAddressList(value)?.map(formatMailbox), addresses);
  });
}

// What two programs may read in two ways is not read at all.
const WRONG: readonly string[] = [
  "ann",
  "Ann",
  "ann@dev.test bob@dev.test",
  "ann@dev.test <",
  "<ann@dev.test",
  "<ann@dev.test> <bob@dev.test>",
  "<ann@dev.test> bob@dev.test",
  "<ann@dev.test>bob",
  "<<ann@dev.test>>",
  "<>",
  "<@hop.test:ann@dev.test>",
  "<ann@dev.test, bob@dev.test>",
  "ann@dev.test>",
  '"ann@dev.test',
  "(ann@dev.test",
  "ann@dev.test\\",
  "ann@dev.test, Bob",
  "ann@ext.test@dev.test",
  "ann dev@dev.test",
  "ann(x)b@dev.test",
  "bank@bank.test: ann@dev.test;",
  // Not a blank: U+00A0 would disappear, and the address with it be another one.
  "ann\u00a0@dev.test",
];

for (const value of WRONG) {
  Deno.test(`From ${JSON.stringify(value)} is not well formed`, () => {
    assert.equal(parseAddressList(value)?.map(formatMailbox), undefined);
  });
}

// A header has at most 256 KiB.
const HOSTILE: readonly [name: string, value: string][] = [
  ["80,000 times a,", "a,".repeat(80_000)],
  ["40,000 addresses", "a@b.c,".repeat(40_000)],
  ["a megabyte of (", "(".repeat(1_000_000)],
  ["125,000 comments", "()".repeat(125_000)],
  ["250,000 times <", "<".repeat(250_000)],
  ['250,001 times "', '"'.repeat(250_001)],
  ["250,000 times \\", `"${"\\".repeat(250_000)}`],
  ["250,000 times :", ":".repeat(250_000)],
  ["250,000 blanks in the middle", `a${" ".repeat(250_000)}b`],
  ["250,000 blanks before the @", `a${" ".repeat(250_000)}@dev.test`],
  ["125,000 words", "a ".repeat(125_000)],
  ["125,000 dots and blanks", " .".repeat(125_000)],
  ["250,000 times @", "@".repeat(250_000)],
  ["125,000 words in angle brackets", `<${"a ".repeat(125_000)}>`],
];

for (const [name, value] of HOSTILE) {
  Deno.test(`From with ${name} costs less than 250 ms`, () => {
    const took = quickest(() => parseAddressList(value));
    assert.ok(took < 250, `${took} ms`);
  });
}
