/** Who is left to tell the sender of success: the next server, when it offers DSN, or we (RFC 3461 §5.2). */

import assert from "node:assert/strict";
import type { Recipient } from "../../src/queue/entry.ts";
import { RELAY, Relay } from "../../src/send/relay.ts";
import { jobOf, remote } from "../support/delivery_job.ts";
import { RemoteServer } from "../support/remote_server.ts";

/** The words of RCPT, and what is left to tell of each recipient. */
async function pass(offers: readonly string[], recipients: readonly Recipient[]) {
  await using server = new RemoteServer({ offers: [...offers] });
  const relay = new Relay({ ...RELAY, hostname: "mail.dev.test" });
  try {
    const job = jobOf(recipients);
    const place = { name: "mx.remote.test", port: server.port, preference: 10, addresses: ["127.0.0.1"] };
    const outcomes = await relay.deliver(job, job.recipients, [place]);
    return { rcpt: server.messages[0]?.rcpt, success: outcomes.map(({ success }) => success) };
  } finally {
    await relay.close();
  }
}

function confidential(notify: Recipient["notify"]): Recipient {
  return {
    address: "bob@dev.test",
    target: { to: "remote", address: "bob@remote.test", forward: { as: "bob@dev.test", confidential: true } },
    ...notify && { notify },
  };
}

Deno.test("a server that offers DSN tells the sender itself; of one that does not, we tell that it was relayed", async () => {
  const bob = remote("bob@remote.test", { notify: ["SUCCESS", "FAILURE"] });
  assert.deepEqual(await pass(["DSN"], [bob]), {
    rcpt: ["RCPT TO:<bob@remote.test> NOTIFY=SUCCESS,FAILURE"],
    success: ["passed on"],
  });
  assert.deepEqual(await pass([], [bob]), { rcpt: ["RCPT TO:<bob@remote.test>"], success: ["relayed"] });
});

Deno.test("where a forward goes that is nobody's business, no success is told: we tell that it was relayed", async () => {
  for (
    const [notify, words] of [
      [["SUCCESS", "FAILURE"], " NOTIFY=FAILURE"],
      [["SUCCESS"], " NOTIFY=NEVER"],
      [["DELAY"], " NOTIFY=DELAY"],
      [undefined, ""],
    ] as const
  ) {
    assert.deepEqual(await pass(["DSN"], [confidential(notify)]), {
      rcpt: [`RCPT TO:<bob@remote.test>${words}`],
      success: ["relayed"],
    });
  }
});
