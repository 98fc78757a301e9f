import assert from "node:assert/strict";
import { PurePeer } from "../support/pure_peer.ts";

Deno.test("session ends for who says MAIL and EHLO by turns, and never sends a message", () => {
  const peer = new PurePeer();
  peer.greet();
  const say = (line: string) => peer.feed(new TextEncoder().encode(`${line}\r\n`));
  for (let round = 0; round < 1000; round++) {
    say("EHLO client.test");
    say("MAIL FROM:<carol@remote.test>");
  }
  assert.equal(peer.closed, false);
  say("EHLO client.test");
  assert.equal(peer.closed, true);
  assert.match(peer.replies.at(-1)?.[0] ?? "", /^421 4\.7\.0 /);
});
