import assert from "node:assert/strict";
import type { Column } from "../../src/cli/table.ts";
import { formatJson, formatSides, formatTable, printable } from "../../src/cli/table.ts";

interface Row {
  readonly name: string;
  readonly count: number;
}
const COLUMNS: readonly Column<Row>[] = [
  { head: "NAME", cell: ({ name }) => name },
  { head: "COUNT", cell: ({ count }) => count, align: "right" },
];

Deno.test("a table is aligned, also with letters of several code points", () => {
  const rows = [{ name: "ann", count: 5 }, { name: "jose\u0301", count: 1234567 }];
  assert.equal(formatTable(COLUMNS, rows, false), "NAME    COUNT\nann         5\njose\u0301  1234567");
  assert.equal(formatTable(COLUMNS, [], false), "NAME  COUNT");
});

Deno.test("only the heads are coloured, and only when asked", () => {
  const rows = [{ name: "ann", count: 5 }];
  assert.equal(formatTable(COLUMNS, rows, true), "\x1b[1mNAME  COUNT\x1b[0m\nann       5");
  assert.equal(formatSides([["a", "x"], ["bcd", ["1", "2"]], ["e", []]], false), "a    x\nbcd  1\n     2\ne    -");
});

Deno.test("nothing that somebody said can steer the terminal", () => {
  const said = "a\x1b[2J\r\nb\x7f\x9bc\u2028\u202ed\u2066\ud800";
  assert.equal(printable(said), "a\\x1b[2J\\x0d\\x0ab\\x7f\\x9bc\\u{2028}\\u{202e}d\\u{2066}\\u{d800}");
  // deno-lint-ignore no-control-regex
  const unsafe = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;
  assert.doesNotMatch(formatTable(COLUMNS, [{ name: said, count: 1 }], false), unsafe);
  assert.doesNotMatch(formatSides([["a", said]], false), unsafe);
  const json = formatJson({ [said]: said });
  assert.doesNotMatch(json, unsafe);
  assert.deepEqual(JSON.parse(json), { [said]: said });
});
