import assert from "node:assert/strict";
import { parseCommand } from "../../src/smtp/command.ts";

/** What a line comes to: a verb, or a refusal as `code enhanced`. */
function readingOf(line: string): string {
  const found = parseCommand(line);
  return "code" in found ? `${found.code} ${found.enhanced}` : found.verb;
}

const LINES: readonly [line: string, reading: string][] = [
  ["ehlo a", "EHLO"],
  ["HELO a", "HELO"],
  ["EHLO\ta", "EHLO"],
  ["EHLO a_b.test", "EHLO"],
  ["EHLO toString", "EHLO"],
  ["EHLO a<b>", "501 5.5.4"],
  [`EHLO ${"a".repeat(256)}`, "501 5.5.4"],
  ["DATA", "DATA"],
  ["DATA ", "DATA"],
  ["DATA x", "501 5.5.4"],
  ["RSET", "RSET"],
  ["QUIT x", "501 5.5.4"],
  ["NOOP anything at all", "NOOP"],
  ["NOOP \x7f", "501 5.5.4"],
  ["HELP", "HELP"],
  ["VRFY", "501 5.5.4"],
  ["VRFY x", "VRFY"],
  ["EXPN x", "EXPN"],
  ["STARTTLS", "STARTTLS"],
  ["AUTH PLAIN", "AUTH"],
  ["AUTH", "501 5.5.4"],
  ["AUTH PLAIN a b", "501 5.5.4"],
  ["BDAT 1", "BDAT"],
  ["BDAT 1 LAST", "BDAT"],
  ["BDAT", "501 5.5.4"],
  ["BDAT -1", "501 5.5.4"],
  ["BDAT +1", "501 5.5.4"],
  ["BDAT 1.5", "501 5.5.4"],
  ["BDAT ١", "501 5.5.4"],
  ["BDAT 9007199254740991", "BDAT"],
  ["BDAT 9007199254740992", "552 5.3.4"],
  ["BDAT 18446744073709551615", "552 5.3.4"],
  ["MAIL FROM:<>", "MAIL"],
  ["mail from:<a@b>", "MAIL"],
  ["MAIL  FROM: <a@b>  SIZE=1", "MAIL"],
  ['MAIL FROM:<"a> SIZE=1"@b>', "MAIL"],
  ['MAIL FROM:<"a\\">"@b>', "MAIL"],
  ["MAIL FROM:a@b", "501 5.5.4"],
  ["MAIL FROM <a@b>", "501 5.5.4"],
  ["MAIL FROM:<a@b>>", "501 5.5.4"],
  ["MAIL FROM:<a@b> <c@d>", "555 5.5.4"],
  ["MAIL FROM:<;sleep 9;>", "501 5.1.7"],
  ["MAIL FROM:<a@b> ENVID=ab+0D+0Acd", "501 5.5.4"],
  ["MAIL FROM:<a@b> ENVID=a+2", "501 5.5.4"],
  ["MAIL FROM:<a@b> ENVID=a=b", "501 5.5.4"],
  [`MAIL FROM:<a@b> ENVID=${"a".repeat(100)}`, "MAIL"],
  [`MAIL FROM:<a@b> ENVID=${"a".repeat(101)}`, "501 5.5.4"],
  ["MAIL FROM:<a@b> AUTH=a+0Ab", "501 5.5.4"],
  ["MAIL FROM:<a@b> AUTH=e+3Dmc2@example.test", "MAIL"],
  ["MAIL FROM:<a@b> SIZE=999999999999999999999", "501 5.5.4"],
  ["MAIL FROM:<a@b> =", "555 5.5.4"],
  ["MAIL FROM:<a@b> constructor", "555 5.5.4"],
  ["MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"],
  // U+017F and U+0131 are no letters of a keyword, whatever their upper case is.
  ["MAIL FROM:<a@b> \u017fIZE=1", "555 5.5.4"],
  ["MAIL FROM:<a@b> BODY=8B\u0131TMIME", "501 5.5.4"],
  ["R\u017fET", "500 5.5.1"],
  ["RCPT TO:<a@b>", "RCPT"],
  ["RCPT TO:<postmaster>", "RCPT"],
  ["RCPT TO:<>", "501 5.1.3"],
  ["RCPT TO:<a@b> NOTIFY=NEVER", "RCPT"],
  ["RCPT TO:<a@b> NOTIFY=NEVER,NEVER", "501 5.5.4"],
  ["RCPT TO:<a@b> NOTIFY=SUCCESS,", "501 5.5.4"],
  ["RCPT TO:<a@b> NOTIFY=toString", "501 5.5.4"],
  ["RCPT TO:<a@b> ORCPT=rfc822;a+0D+0Ab", "501 5.5.4"],
  ["RCPT TO:<a@b> ORCPT=rfc822;a+0d", "501 5.5.4"],
  ["RCPT TO:<a@b> ORCPT=rfc822;a+7Fb", "501 5.5.4"],
  ["RCPT TO:<a@b> ORCPT=utf-8;zoë@b", "RCPT"],
  [`RCPT TO:<a@b> ORCPT=rfc822;${"a".repeat(500)}`, "501 5.5.4"],
  ["", "500 5.5.1"],
  [" ", "500 5.5.1"],
  [" NOOP", "500 5.5.1"],
  ["FOO", "500 5.5.1"],
  ["__proto__", "500 5.5.1"],
  ["hasOwnProperty x", "500 5.5.1"],
  ["MAIL\0FROM", "501 5.5.4"],
];

for (const [line, reading] of LINES) {
  Deno.test(`command ${JSON.stringify(line).slice(0, 60)} is ${reading}`, () => {
    assert.equal(readingOf(line), reading);
  });
}

Deno.test("requests of other protocols end the connection, whatever stands behind the verb", () => {
  for (const line of ["GET / HTTP/1.1", "POST /\0", "options *", "CONNECT x:25", "Host: x", "PROXY TCP4 a b 1 2"]) {
    const found = parseCommand(line);
    assert.ok("code" in found && found.close === true, line);
  }
});

Deno.test("a chunk that nobody can wait for ends the connection", () => {
  const found = parseCommand("BDAT 18446744073709551616");
  assert.ok("code" in found && found.close === true);
});

Deno.test("MAIL carries its parameters", () => {
  const line = "MAIL FROM:<Ann@Dev.Test> size=123 Body=binarymime SMTPUTF8 RET=hdrs ENVID=a+2Bb AUTH=<>";
  assert.deepEqual(parseCommand(line), {
    verb: "MAIL",
    sender: {
      path: { local: "Ann", domain: "dev.test" },
      size: 123,
      body: "BINARYMIME",
      smtputf8: true,
      ret: "HDRS",
      envid: "a+2Bb",
    },
  });
});

Deno.test("RCPT carries its parameters", () => {
  assert.deepEqual(parseCommand("RCPT TO:<ann@dev.test> notify=success,delay ORCPT=rfc822;bob@ext.test"), {
    verb: "RCPT",
    recipient: {
      path: { local: "ann", domain: "dev.test" },
      notify: ["SUCCESS", "DELAY"],
      orcpt: "rfc822;bob@ext.test",
    },
  });
});

Deno.test("AUTH carries what may be empty: no response, and the response of no bytes", () => {
  assert.deepEqual(parseCommand("auth plain"), { verb: "AUTH", mechanism: "PLAIN" });
  assert.deepEqual(parseCommand("AUTH PLAIN ="), { verb: "AUTH", mechanism: "PLAIN", initial: "=" });
});

Deno.test("commands as long as the cap allows are read in no time", () => {
  const began = performance.now();
  for (const filler of [" ", "a", "<", '"', "\\", "@a,", "=", "a=1 ", "+2B", ",", "\t"]) {
    const text = filler.repeat(Math.floor(12_000 / filler.length));
    for (
      const start of ["MAIL FROM:<", "MAIL FROM:<> ENVID=", "RCPT TO:<@", "RCPT TO:<a@b> ORCPT=a;", "BDAT 1", "AUTH "]
    ) {
      parseCommand(start + text);
    }
    parseCommand(text);
  }
  const took = performance.now() - began;
  assert.ok(took < 500, `${took} ms`);
});
