import assert from "node:assert/strict";
import { DataBody, LineEnds } from "../../src/smtp/body.ts";
import { bytesOf, everyCut, joined, textOf } from "../support/every_cut.ts";

const CASES: readonly [name: string, wire: string, text: string, rest: string][] = [
  ["an empty message", ".\r\n", "", ""],
  ["the last line keeps its CRLF", "a\r\n.\r\n", "a\r\n", ""],
  ["exactly one leading dot is removed", "..\r\n...\r\n.a\r\n.\r\n", ".\r\n..\r\na\r\n", ""],
  ["dots inside a line stay", "a.\r\na..b\r\n.\r\n", "a.\r\na..b\r\n", ""],
  ["what follows the end is not touched", "a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n"],
  ["LF . CRLF does not end it", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", ""],
  ["LF . LF does not end it", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", ""],
  ["CRLF . LF does not end it", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", ""],
  ["CR . CR does not end it", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", ""],
  ["CRLF . CR CR LF does not end it", "a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\r\nb\r\n", ""],
  ["CRLF . CR x does not end it", "a\r\n.\rx\r\n.\r\n", "a\r\n\rx\r\n", ""],
  ["NUL and 8-bit bytes pass", "\0\xff\x80\r\n.\r\n", "\0\xff\x80\r\n", ""],
];

for (const [name, wire, text, rest] of CASES) {
  Deno.test(`DATA: ${name}`, () => {
    const bytes = bytesOf(wire);
    everyCut(bytes, (pieces) => {
      const body = new DataBody();
      const got: Uint8Array[] = [];
      let read = 0, ended = false;
      for (const piece of pieces) {
        if (ended) break;
        const step = body.read(piece);
        got.push(...step.pieces.map((view) => view.slice()));
        read += step.used;
        ended = step.ended;
      }
      assert.equal(ended, true);
      assert.equal(textOf(joined(got)), text);
      assert.equal(textOf(bytes.slice(read)), rest);
    });
  });
}

const LINES: readonly [name: string, text: string, fault: LineEnds["fault"]][] = [
  ["CRLF is right", "a\r\nb\r\n", undefined],
  ["a bare LF", "a\nb\r\n", "bare line end"],
  ["a bare CR", "a\rb\r\n", "bare line end"],
  ["CR CR LF", "a\r\r\n", "bare line end"],
  ["a CR at the end", "a\r\nb\r", "bare line end"],
  ["LF first", "\n", "bare line end"],
  ["a line of ten octets with its end", "12345678\r\n", undefined],
  ["a line of eleven", "123456789\r\n", "line too long"],
  ["a line without an end", "12345678901", "line too long"],
];

for (const [name, text, fault] of LINES) {
  Deno.test(`line ends: ${name}`, () => {
    everyCut(bytesOf(text), (pieces) => {
      const ends = new LineEnds(10);
      for (const piece of pieces) ends.look(piece);
      ends.end();
      assert.equal(ends.fault, fault);
    });
  });
}
