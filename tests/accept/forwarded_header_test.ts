import assert from "node:assert/strict";
import { forwardedHeader, type NewAuthor } from "../../src/accept/forwarded_header.ts";
import { fieldsNamed, type Header, readHeader, withFieldsReplaced } from "../../src/smtp/headers.ts";
import { parseAddressList } from "../../src/smtp/originator.ts";

const LIMITS = { maxHeader: 1 << 18, maxFields: 1000, maxFolds: 500 };
const AUTHOR: NewAuthor = { as: "bob@ours.test", style: "author", name: "" };
const REWRITE: NewAuthor = { as: "bob@ours.test", style: "rewrite", name: 'Bob "B." Lee' };

function headerOf(bytes: Uint8Array): Header {
  const header = readHeader(bytes, LIMITS);
  return typeof header === "string" ? assert.fail(header) : header;
}

/** The message with its new header; undefined when there is none. */
function changed(text: string, author: NewAuthor): string | undefined {
  const bytes = new TextEncoder().encode(text),
    header = headerOf(bytes),
    version = forwardedHeader(bytes, header, author);
  return version &&
    new TextDecoder().decode(withFieldsReplaced(bytes, fieldsNamed(header, version.without), version.lines));
}

function fieldsOf(text: string | undefined): string {
  return text?.split("\r\n\r\n")[0] ?? assert.fail("no version");
}

Deno.test("only who it comes from changes, in the place where that stood; the signature that covered it goes", () => {
  const text =
    "Received: x\r\nDKIM-Signature: v=1;\r\n b=x\r\nSubject: Hi\r\nFrom: Carol <carol@strict.test>\r\nTo: y\r\n\r\nFrom: body\r\n";
  assert.equal(
    changed(text, AUTHOR),
    "Received: x\r\nFrom: Carol <bob@ours.test>\r\nReply-To: Carol <carol@strict.test>\r\n" +
      "X-Original-From: Carol <carol@strict.test>\r\nSubject: Hi\r\nTo: y\r\n\r\nFrom: body\r\n",
  );
});

Deno.test("who asked for answers elsewhere gets them there; in MailDemon's way they go to From", () => {
  const text =
    "From: carol@strict.test\r\nReply-To: list@strict.test,\r\n x@y.test\r\nSubject: a\r\n b\r\nCc: z\r\nSender: s\r\nBCC: q\r\n\r\n";
  assert.match(fieldsOf(changed(text, AUTHOR)), /\r\nReply-To: list@strict\.test,\r\n x@y\.test\r\n/);
  assert.equal(
    fieldsOf(changed(text, REWRITE)),
    'From: "Bob \\"B.\\" Lee" <bob@ours.test>\r\nReply-To: carol@strict.test\r\n' +
      "Subject: FW from carol@strict.test: a\r\n b\r\nX-Original-From: carol@strict.test",
  );
  assert.match(
    fieldsOf(changed("From: carol@strict.test\r\n\r\n", REWRITE)),
    /\r\nSubject: FW from carol@strict\.test:\r\n/,
  );
});

const NAMES: readonly (readonly [from: string, name: string])[] = [
  ["Carol <carol@strict.test>", "Carol"],
  ['"Lee, Carol" <carol@strict.test>', '"Lee, Carol"'],
  ["Carol Q. Lee <carol@strict.test>", "Carol Q. Lee"],
  ["=?utf-8?q?Car=C3=B6l?= Lee <carol@strict.test>", "=?utf-8?q?Car=C3=B6l?= Lee"],
  ["carol@strict.test", '"carol at strict.test"'],
  ["<carol@strict.test>", '"carol at strict.test"'],
  ["carol@strict.test (Carol)", '"carol at strict.test"'],
  ["Carol (eve@evil.test) <carol@strict.test>", '"Carol (eve@evil.test)"'],
  ['"a\\"b" <carol@strict.test>', '"a\\"b"'],
  ["Karol\r\n Lee\r\n\t<carol@strict.test>", "Karol Lee"],
  ["Carö L (x) <carol@strict.test>", "=?UTF-8?B?Q2Fyw7YgTCAoeCk=?="],
];

for (const [from, name] of NAMES) {
  Deno.test(`the name in ${JSON.stringify(from)} stays a name`, () => {
    const field = /^From: (.*)$/m.exec(fieldsOf(changed(`From: ${from}\r\n\r\n`, AUTHOR)))?.[1]?.trimEnd() ?? "";
    assert.equal(field, `${name} <bob@ours.test>`);
    assert.deepEqual(parseAddressList(field), [{ local: "bob", domain: "ours.test" }]);
  });
}

Deno.test("no name, however it is written, becomes an address or a field of its own", () => {
  for (
    const name of [
      'Carol" <eve@evil.test>, "x',
      "a:b;c",
      "x".repeat(5000),
      "\\",
      '"',
      "=?utf-8?q?=0D=0ABcc:_x?=",
      "\u2028\u202e",
      "a\tb",
      "(((",
    ]
  ) {
    const text = changed(`From: ${name} <carol@strict.test>\r\n\r\n`, AUTHOR);
    if (text === undefined) continue; // It could not be read in the first place.
    const fields = fieldsOf(text).split("\r\n").filter((line) => !/^[ \t]/.test(line)).map((line) =>
      line.split(":")[0]
    );
    assert.deepEqual(fields, ["From", "Reply-To", "X-Original-From"], name);
    const from = /^From: ((?:.|\r\n[ \t])*)/.exec(text)?.[1] ?? "";
    assert.deepEqual(parseAddressList(from.replaceAll("\r\n", "")), [{ local: "bob", domain: "ours.test" }], name);
  }
});

Deno.test("a header without one author gets no other", () => {
  for (const from of ["", "From: a@x.test, b@x.test\r\n", "From: a@x.test\r\nFrom: b@x.test\r\n", "From: nobody\r\n"]) {
    assert.equal(changed(`${from}Subject: x\r\n\r\n`, AUTHOR), undefined);
    assert.equal(changed(`${from}Subject: x\r\n\r\n`, REWRITE), undefined);
  }
});
