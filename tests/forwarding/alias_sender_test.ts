import assert from "node:assert/strict";
import { send } from "../support/letters.ts";
import { ANN, LocalServer } from "../support/local_server.ts";

const SHOP = { address: "shop-7f3@ours.test", targets: ["ann@ours.test"] };
const CLOSED = { address: "old@ours.test", targets: ["ann@ours.test"], until: 1 };
const OTHERS = { address: "bobs@ours.test", targets: ["bob@ours.test"] };
const BOB = { address: "bob@ours.test", password: "Rose-9 garden" };

function letterAs(from: string, more = ""): string {
  return `From: ${from}\r\n${more}To: shop@remote.test\r\nSubject: order\r\n\r\nHello.\r\n`;
}

Deno.test("what a user writes as an alias shows no other address of hers", async () => {
  await using server = await LocalServer.open({
    users: [{ ...ANN, addresses: ["info@ours.test"] }, BOB],
    aliases: [SHOP],
  });
  const peer = await server.signedIn();
  const telling = "Sender: Ann <ann@ours.test>\r\nReply-To: info@ours.test\r\nReturn-Path: <ann@ours.test>\r\n" +
    "Disposition-Notification-To: Ann <ANN+x@ours.test>\r\nX-Sender: ann@ours.test\r\n";
  assert.match(
    await send(peer, "ann@ours.test", ["shop@remote.test"], letterAs("Me <shop-7f3@ours.test>", telling)),
    /^250/,
  );
  await server.emptyQueue();
  const [left] = await server.outbox();
  assert.equal(left?.sender, "shop-7f3@ours.test");
  assert.doesNotMatch(left?.text ?? "", /ann@|ann\+|info@/i);
  assert.match(left?.text ?? "", /^From: Me <shop-7f3@ours\.test>\r\n/m);

  // Her own words stay, and so does all of it when she writes as herself.
  const own = "Reply-To: info@ours.test\r\nSender: ann@ours.test\r\n";
  assert.match(await send(peer, "info@ours.test", ["shop@remote.test"], letterAs("ann@ours.test", own)), /^250/);
  await server.emptyQueue();
  const second = (await server.outbox()).find(({ text }) => text.includes("\r\nFrom: ann@"));
  assert.equal(second?.sender, "info@ours.test");
  assert.ok(second?.text.includes(own));
  peer.close();
});

Deno.test("nobody writes as an alias that is closed, or that leads to others", async () => {
  await using server = await LocalServer.open({ users: [ANN, BOB], aliases: [CLOSED, OTHERS] });
  const peer = await server.signedIn();
  for (const alias of ["old@ours.test", "bobs@ours.test", "nobody@ours.test"]) {
    assert.match(await send(peer, alias, ["shop@remote.test"], letterAs(alias)), /^553 5\.7\.1/, alias);
    assert.match(await send(peer, "ann@ours.test", ["shop@remote.test"], letterAs(alias)), /^550 5\.7\.1/, alias);
  }
  peer.close();
});
