import assert from "node:assert/strict";
import { checkClock } from "../../src/doctor/machine.ts";
import { letter, send } from "../support/letters.ts";
import { LocalServer } from "../support/local_server.ts";

Deno.test("the dates of the messages that come tell how far our clock is off", async () => {
  await using server = await LocalServer.open({ checks: 'spf = "off"' });
  const told = async () => checkClock({ ok: true, value: await server.ask({ do: "clock" }) });
  assert.match((await told()).found, /^not compared: 0 messages/);
  const peer = await server.outside();
  const earlier = (hours: number) => new Date(Date.now() - hours * 3600_000).toUTCString().replace("GMT", "+0000");
  // One was written long ago, and one has no date that can be read.
  for (const date of [...[1, 1, 1, 1, 100].map(earlier), "yesterday"]) {
    const text = letter("Hello.\r\n", "bob@remote.test").replace(/^Date: .*$/m, `Date: ${date}`);
    assert.match(await send(peer, "bob@remote.test", ["ann@ours.test"], text), /^250 /);
  }
  const { fault, found } = await told();
  assert.equal(fault, "clock-wrong");
  assert.equal(found, "60 min ahead of the Date of the last 5 messages");
});
