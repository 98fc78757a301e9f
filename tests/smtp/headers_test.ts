import assert from "node:assert/strict";
import { type HeaderLimits, readHeader, valueOf, withoutFields } from "../../src/smtp/headers.ts";
import { bytesOf, textOf } from "../support/every_cut.ts";
import { quickest } from "../support/quickest.ts";

const LIMITS: HeaderLimits = { maxHeader: 262_144, maxFields: 1000, maxFolds: 500 };

/** Names with values, and the offset of the end; or the problem. */
function read(text: string, limits: HeaderLimits = LIMITS): { fields: [string, string][]; end: number } | string {
  const bytes = bytesOf(text), header = readHeader(bytes, limits);
  if (typeof header === "string") return header;
  return { fields: header.fields.map((field) => [field.name, valueOf(bytes, field)]), end: header.end };
}

const CASES: readonly [name: string, text: string, fields: [string, string][], end: number][] = [
  ["an ordinary header", "From: a\r\nTo: b\r\n\r\nbody: x\r\n", [["from", "a"], ["to", "b"]], 16],
  ["no empty line", "From: a\r\nTo: b\r\n", [["from", "a"], ["to", "b"]], 16],
  ["no line end", "From: a", [["from", "a"]], 7],
  ["no header at all", "\r\nbody\r\n", [], 0],
  ["nothing", "", [], 0],
  ["text where a field should be", "From: a\r\nhello there\r\nTo: b\r\n\r\n", [["from", "a"]], 9],
  ["a megabyte of (", "(".repeat(1_000_000), [], 0],
  ["text at once", "hello there\r\nTo: b\r\n", [], 0],
  ["folded lines", "Subject: a\r\n b\r\n\tc\r\nTo: d\r\n\r\n", [["subject", "a b\tc"], ["to", "d"]], 27],
  ["a folded line first", " a\r\nTo: b\r\n", [], 0],
  ["a line of blanks is folded, not empty", "A: b\r\n \r\n c\r\n\r\n", [["a", "b  c"]], 13],
  ["an empty value", "Bcc:\r\n\r\n", [["bcc", ""]], 6],
  ["a blank before the colon", "Subject : a\r\n\r\n", [["subject", "a"]], 13],
  ["no name", ": a\r\n\r\n", [], 0],
  ["a name with a blank", "Sub ject: a\r\n\r\n", [], 0],
  ["a name of 8-bit bytes", "S\xffbject: a\r\n\r\n", [], 0],
  ["colons in the value", "A: b:c: d\r\n\r\n", [["a", "b:c: d"]], 11],
  [
    "names that JavaScript knows",
    "__proto__: a\r\nconstructor: b\r\n\r\n",
    [["__proto__", "a"], ["constructor", "b"]],
    30,
  ],
  ["the same name twice", "From: a\r\nFROM: b\r\n\r\n", [["from", "a"], ["from", "b"]], 18],
];

for (const [name, text, fields, end] of CASES) {
  Deno.test(`header: ${name}`, () => assert.deepEqual(read(text), { fields, end }));
}

const PROBLEMS: readonly [name: string, text: string, problem: string][] = [
  ["a bare LF", "A: b\nC: d\r\n\r\n", "bare line end"],
  ["LF first", "\nA: b\r\n", "bare line end"],
  ["one octet more than allowed", `A: ${"b".repeat(262_142)}`, "too large"],
  ["a megabyte of ( in a field", `A: ${"(".repeat(1_000_000)}`, "too large"],
  ["a megabyte in one field", `A: ${"b".repeat(1_000_000)}\r\n\r\n`, "too large"],
  ["100,000 fields", "A: b\r\n".repeat(100_000), "too many fields"],
  ["1001 fields", `${"A: b\r\n".repeat(1001)}\r\n`, "too many fields"],
  ["40,000 folded lines", `A: b\r\n${" c\r\n".repeat(40_000)}\r\n`, "folded too often"],
  ["501 lines of one field", `A: b\r\n${" c\r\n".repeat(500)}\r\n`, "folded too often"],
];

for (const [name, text, problem] of PROBLEMS) {
  Deno.test(`header: ${name} is ${problem}, at once`, () => {
    const bytes = bytesOf(text);
    assert.equal(readHeader(bytes, LIMITS), problem);
    const took = quickest(() => readHeader(bytes, LIMITS));
    assert.ok(took < 100, `${took} ms`);
  });
}

Deno.test("header: exactly as much as is allowed is taken", () => {
  assert.notEqual(typeof read(`${"A: b\r\n".repeat(1000)}\r\n`), "string");
  assert.notEqual(typeof read(`A: b\r\n${" c\r\n".repeat(499)}\r\n`), "string");
  assert.notEqual(typeof read(`A: ${"b".repeat(262_139)}\r\n`), "string");
});

Deno.test("header: folds are counted for each field by itself", () => {
  const field = `A: b\r\n${" c\r\n".repeat(400)}`;
  assert.notEqual(typeof read(`${field}${field}\r\n`), "string");
});

Deno.test("header: fields are taken out and not one byte else is changed", () => {
  const bytes = bytesOf("Bcc: a,\r\n b\r\nFrom: c \r\nbcc:d\r\nTo: e\r\n\r\nBcc: f\r\n");
  const header = readHeader(bytes, LIMITS);
  assert.ok(typeof header !== "string");
  const kept = withoutFields(bytes, header.fields.filter(({ name }) => name === "bcc"));
  assert.equal(textOf(kept), "From: c \r\nTo: e\r\n\r\nBcc: f\r\n");
  assert.equal(withoutFields(bytes, []), bytes);
  assert.equal(textOf(withoutFields(bytes, header.fields)), "\r\nBcc: f\r\n");
});

Deno.test("header: values are read as UTF-8, and what is none becomes a replacement sign", () => {
  assert.deepEqual(read("A: zo\xc3\xab\r\nB: \xff\r\n\r\n"), { fields: [["a", "zoë"], ["b", "\ufffd"]], end: 15 });
});
