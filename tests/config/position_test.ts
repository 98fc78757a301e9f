import assert from "node:assert/strict";
import { parse } from "smol-toml";
import { findLines, lineOf } from "../../src/config/position.ts";

const TEXT = `# hostname = "no"
hostname = "a" # store = "no"
"quoted key" = 1
'literal.key' = [ # [[ listeners ]]
  "x # no comment", # a = [
  "]",

  'its' ]
text = """
store = "no"
[[listeners]]
a quote: \\""" and two at the end: ""\"""
store = '''
[dns]
'''
dns.servers . "first" = 1

[[ domains ]]
name = "a"
dkim = [
  { selector = "s1", key = "k}1" }, { selector = 's2' },
  # { selector = "s0" },
  {
    selector = "s3", # key =
    key = { file = "x" },
  },
]
[[domains]]
  name = "b"
  [domains.extra]
  on = true
  [[domains.lists]]
  [[domains.lists]]
  at = 1979-05-27 07:32:00
[tls.acme]
email = "x"
[a."b.c".'d e']
f=[[1,2],[3,
4]]
"\\u00e9" = 1
`;

/** Each is a path and the line it stands on. */
const PLACES: readonly [path: (string | number)[], line: number][] = [
  [["hostname"], 2],
  [["quoted key"], 3],
  [["literal.key"], 4],
  [["literal.key", 0], 5],
  [["literal.key", 1], 6],
  [["literal.key", 2], 8],
  [["text"], 9],
  [["store"], 13],
  [["dns"], 16],
  [["dns", "servers"], 16],
  [["dns", "servers", "first"], 16],
  [["domains"], 18],
  [["domains", 0], 18],
  [["domains", 0, "name"], 19],
  [["domains", 0, "dkim"], 20],
  [["domains", 0, "dkim", 0, "selector"], 21],
  [["domains", 0, "dkim", 0, "key"], 21],
  [["domains", 0, "dkim", 1], 21],
  [["domains", 0, "dkim", 1, "selector"], 21],
  [["domains", 0, "dkim", 2], 23],
  [["domains", 0, "dkim", 2, "selector"], 24],
  [["domains", 0, "dkim", 2, "key"], 25],
  [["domains", 0, "dkim", 2, "key", "file"], 25],
  [["domains", 1], 28],
  [["domains", 1, "name"], 29],
  [["domains", 1, "extra"], 30],
  [["domains", 1, "extra", "on"], 31],
  [["domains", 1, "lists", 0], 32],
  [["domains", 1, "lists", 1], 33],
  [["domains", 1, "lists", 1, "at"], 34],
  [["tls"], 35],
  [["tls", "acme", "email"], 36],
  [["a", "b.c", "d e"], 37],
  [["a", "b.c", "d e", "f", 1, 0], 38],
  [["a", "b.c", "d e", "f", 1, 1], 39],
  [["a", "b.c", "d e", "\u00e9"], 40],
];

Deno.test("position finds every key of a text, whatever notation it is in", () => {
  parse(TEXT);
  for (const text of [TEXT, TEXT.replaceAll("\n", "\r\n"), `\ufeff${TEXT}`]) {
    const lines = findLines(text);
    for (const [path, line] of PLACES) assert.equal(lineOf(lines, path), line, JSON.stringify(path));
  }
});

Deno.test("position finds every value that the parser finds", () => {
  const lines = findLines(TEXT);
  const visit = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null || value instanceof Date) return;
    for (const [name, below] of Object.entries(value)) {
      const bare = /^[\w-]+$/.test(name) ? name : JSON.stringify(name);
      const key = Array.isArray(value) ? `${path}[${name}]` : path === "" ? bare : `${path}.${bare}`;
      assert.ok(lines.has(key), key);
      visit(below, key);
    }
  };
  visit(parse(TEXT), "");
});

Deno.test("position of what is not there is that of its nearest parent, or the first line", () => {
  const lines = findLines(TEXT);
  assert.equal(lineOf(lines, ["domains", 1, "dkim", 0, "key"]), 28);
  assert.equal(lineOf(lines, ["tls", "acme", "directory"]), 35);
  assert.equal(lineOf(lines, ["kv"]), 1);
  assert.equal(lineOf(lines, []), 1);
});

Deno.test("position takes names from JavaScript's own objects like any other", () => {
  const lines = findLines('\n__proto__ = 1\nconstructor.toString = 2\n["__proto__".valueOf]\n');
  assert.equal(lineOf(lines, ["__proto__"]), 2);
  assert.equal(lineOf(lines, ["constructor", "toString"]), 3);
  assert.equal(lineOf(lines, ["hasOwnProperty"]), 1);
});

Deno.test("position of a comment with Unicode line separators is still one line", () => {
  const lines = findLines("# a\u2028b = 1\nc = 1 # \u2029 d\u0085e\nf = 1\n");
  assert.deepEqual([...lines], [["c", 2], ["f", 3]]);
});

Deno.test("position comes to an end on every beginning of a text, broken as it may be", () => {
  for (let length = 0; length <= TEXT.length; length++) findLines(TEXT.slice(0, length));
  for (const text of ["[", "[[", "]", "}", "=", "a", "a=", "a=[", "a=[}", "a={]", "a={b", '"', "'''", "a.=", "a=,"]) {
    findLines(text.repeat(50));
  }
});
