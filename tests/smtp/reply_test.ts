import assert from "node:assert/strict";
import { closing, formatReply, isPositive, reply } from "../../src/smtp/reply.ts";
import * as replies from "../../src/smtp/replies.ts";

Deno.test("a reply of one line has code, enhanced code and text", () => {
  assert.equal(formatReply(reply(250, "2.1.0", "Fine")), "250 2.1.0 Fine\r\n");
  assert.equal(formatReply(reply(354, "", "Go ahead")), "354 Go ahead\r\n");
  assert.equal(formatReply(reply(334, "")), "334 \r\n");
});

Deno.test("a reply of several lines has a hyphen in all but the last, and the enhanced code in each", () => {
  // RFC 2034 §4.
  assert.equal(formatReply(reply(214, "2.0.0", "a", "b", "c")), "214-2.0.0 a\r\n214-2.0.0 b\r\n214 2.0.0 c\r\n");
  assert.equal(formatReply(reply(250, "", "host", "SIZE 1")), "250-host\r\n250 SIZE 1\r\n");
});

Deno.test("nothing that stands in the text of a reply can break out of its line", () => {
  for (let code = 0; code < 32; code++) {
    const wire = formatReply(reply(550, "5.7.1", `No${String.fromCharCode(code)}250 2.0.0 Yes`));
    assert.equal(wire, "550 5.7.1 No?250 2.0.0 Yes\r\n");
  }
  const wire = formatReply(reply(550, "5.7.1", "No\r\n250 2.0.0 Yes\r\n", "x\x7f"));
  assert.equal(wire, "550-5.7.1 No??250 2.0.0 Yes??\r\n550 5.7.1 x?\r\n");
});

Deno.test("only 2xx and 3xx are positive", () => {
  assert.deepEqual([220, 250, 334, 354, 421, 451, 550].map((code) => isPositive(reply(code, ""))), [
    true,
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
  assert.equal(closing(replies.OK).close, true);
});

Deno.test("every fixed reply has the code and the class of its enhanced code in agreement, and fits in a line", () => {
  let seen = 0;
  for (const [name, said] of Object.entries(replies)) {
    if (typeof said === "function") continue;
    seen++;
    if (said.enhanced !== undefined) assert.equal(said.enhanced[0], String(said.code)[0], name);
    else assert.ok([354, 334].includes(said.code), `${name} has no enhanced code`);
    // RFC 5321 §4.5.3.1.5.
    for (const line of formatReply(said).split("\r\n")) assert.ok(line.length <= 510, name);
    assert.match(formatReply(said), /^[\x20-\x7e\r\n]+$/);
  }
  assert.ok(seen > 40);
});
