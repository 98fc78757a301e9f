import assert from "node:assert/strict";
import { openNetworks } from "../../src/send/network.ts";

Deno.test("an address of this machine can be sent to only when it is named by itself", () => {
  const own = () => ["127.0.0.1", "10.1.2.3", "198.51.100.9", "2001:db8::9"];
  const judge = (...allowPrivate: string[]) => openNetworks({ allowPrivate, own });
  assert.equal(judge()("10.1.2.3"), "own");
  assert.equal(judge("10.0.0.0/8")("10.1.2.3"), "own");
  assert.equal(judge("10.0.0.0/8")("10.1.2.4"), "public");
  assert.equal(judge("10.1.2.3")("10.1.2.3"), "public");
  assert.equal(judge("127.0.0.1")("127.0.0.1"), "public");
  assert.equal(judge("2001:db8::9")("2001:db8::9"), "public");
  assert.equal(judge("10.1.2.3")("198.51.100.9"), "own");
});
