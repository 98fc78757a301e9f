import assert from "node:assert/strict";
import type { RemoteReply } from "../../src/queue/entry.ts";
import { Families } from "../../src/send/families.ts";
import type { Server } from "../../src/send/route.ts";

const FOUR = "192.0.2.25", SIX = "2001:db8::25", HOUR = 3600_000;

function server(...addresses: string[]): Server {
  return { name: "mx.remote.test", addresses, port: 25, preference: 10 };
}

function refusal(code: number, enhanced: string, text: string): RemoteReply {
  return { code, enhanced, text, host: "mx.remote.test" };
}

const NAMELESS = refusal(550, "5.7.25", "no");

Deno.test("a family that is refused for its missing name is tried last for an hour, and no longer", () => {
  let now = 5_000;
  const families = new Families(() => now), both = [SIX, FOUR];
  assert.deepEqual(families.inOrder(both), [SIX, FOUR]);
  assert.equal(families.learn(NAMELESS, SIX, [server(...both)]), true);
  assert.deepEqual(families.inOrder(both), [FOUR, SIX]);
  now += HOUR - 1;
  assert.deepEqual(families.inOrder(both), [FOUR, SIX]);
  now += 1;
  assert.deepEqual(families.inOrder(both), [SIX, FOUR]);
});

Deno.test("nobody is told to try another address where there is none of another family", () => {
  const families = new Families(() => 0);
  assert.equal(families.learn(NAMELESS, FOUR, [server(FOUR, "192.0.2.26"), server("192.0.2.27")]), false);
  assert.equal(families.learn(NAMELESS, FOUR, [server(FOUR), server(SIX)]), true);
  // When both are refused, the order is what it was.
  families.learn(NAMELESS, SIX, [server(FOUR, SIX)]);
  assert.deepEqual(families.inOrder([SIX, FOUR]), [SIX, FOUR]);
});

Deno.test("what a refusal is about is its enhanced code, or words that name the reverse zone", () => {
  const isAboutUs = (code: number, enhanced: string, text: string, address = SIX) =>
    new Families(() => 0).learn(refusal(code, enhanced, text), address, [server(SIX, FOUR)]);
  for (
    const [code, enhanced, text] of [
      [550, "5.7.25", "no"],
      [450, "4.7.25", "later"],
      [550, "5.7.1", "Our system has detected that this message does not have a PTR record"],
      [554, "", "Fix reverse DNS for [2001:db8::25]"],
      [421, "4.7.0", "reverse hostname lookup failed"],
      [554, "", "rDNS missing"],
    ] as const
  ) assert.equal(isAboutUs(code, enhanced, text), true, text);
  for (
    const [code, enhanced, text] of [
      [550, "5.1.1", "no such user"],
      [250, "2.7.25", "PTR is fine"],
      [550, "5.7.26", "unauthenticated"],
      [550, "5.7.1", "the order was reversed"],
    ] as const
  ) assert.equal(isAboutUs(code, enhanced, text), false, text);
  // A mailbox server on a socket has no family.
  assert.equal(isAboutUs(550, "5.7.25", "no", "/run/lmtp"), false);
});
