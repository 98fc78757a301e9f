import assert from "node:assert/strict";
import { Input } from "../../src/smtp/lines.ts";
import { bytesOf, everyCut, textOf } from "../support/every_cut.ts";

/** All lines of `pieces` with a cap of ten, as text; `!` before one that holds a bare CR or LF. */
function linesOf(pieces: readonly Uint8Array[]): { lines: string[]; left: number } {
  const input = new Input(), lines: string[] = [];
  for (const piece of pieces) {
    const lent = piece.slice();
    input.add(lent);
    for (let line = input.line(10); line !== undefined; line = input.line(10)) {
      lines.push(line.kind === "line" ? `${line.bare ? "!" : ""}${textOf(line.bytes)}` : line.kind);
    }
    input.settle();
    lent.fill(0x7e);
  }
  return { lines, left: input.length };
}

const CASES: readonly [name: string, text: string, lines: readonly string[], left?: number][] = [
  ["one line", "abc\r\n", ["abc"]],
  ["several lines", "a\r\n\r\nb\r\n", ["a", "", "b"]],
  ["a line without an end waits", "a\r\nbc", ["a"], 2],
  ["a CR at the end waits", "a\r", [], 2],
  ["a bare LF is no end", "a\nb\r\n", ["!a\nb"]],
  ["a bare CR is no end", "a\rb\r\n", ["!a\rb"]],
  ["CR CR LF", "a\r\r\n", ["!a\r"]],
  ["LF CR LF", "\n\r\n", ["!\n"]],
  ["exactly as long as the cap", "12345678\r\n", ["12345678"]],
  ["one longer", "123456789\r\n", ["too long"]],
  ["much longer, and the next line is whole", `${"x".repeat(50)}\r\nok\r\n`, ["too long", "ok"]],
  ["longer, with bare line ends inside", `${"x\n\r".repeat(9)}\r\nok\r\n`, ["too long", "ok"]],
  ["longer, and its CRLF behind a CR", `${"x".repeat(50)}\r\r\nok\r\n`, ["too long", "ok"]],
];

for (const [name, text, lines, left = 0] of CASES) {
  Deno.test(`lines: ${name}, however it is cut`, () => {
    everyCut(bytesOf(text), (pieces) => assert.deepEqual(linesOf(pieces), { lines: [...lines], left }));
  });
}

Deno.test("lines: what is over the cap is not kept, and a mebibyte of it is the end", () => {
  const input = new Input(), piece = new Uint8Array(1000).fill(97);
  let fed = 0, line = input.line(10);
  while (line === undefined) {
    input.add(piece);
    fed += piece.length;
    line = input.line(10);
    input.settle();
    assert.ok(input.length <= 10);
    assert.ok(fed <= 2_000_000);
  }
  assert.equal(line.kind, "flood");
});

Deno.test("lines: a cleared input has forgotten half a line and that it was too long", () => {
  const input = new Input();
  input.add(bytesOf("x".repeat(50)));
  assert.equal(input.line(10), undefined);
  input.clear();
  input.add(bytesOf("ok\r\n"));
  const line = input.line(10);
  assert.ok(line?.kind === "line" && textOf(line.bytes) === "ok");
});

Deno.test("lines: bytes can be taken between two lines", () => {
  const input = new Input();
  input.add(bytesOf("a\r\n\r\nxyzb\r\n"));
  assert.equal(input.line(10)?.kind, "line");
  assert.equal(textOf(input.peek().subarray(0, 5)), "\r\nxyz");
  input.drop(5);
  const line = input.line(10);
  assert.ok(line?.kind === "line" && textOf(line.bytes) === "b");
  assert.equal(input.length, 0);
});
