import assert from "node:assert/strict";
import { Intake, type IntakeParts } from "../../src/accept/intake.ts";
import { TRUSTING } from "../../src/accept/scrutiny.ts";
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import type { Reply } from "../../src/smtp/reply.ts";

const SENDER = { path: null, body: "7BIT", smtputf8: false } as const;
const HELLO = { name: "client.test", extended: true };
const CALLER = { id: "1", kind: "mx", host: "192.0.2.1", port: 1 } as const;

/** Hands in one message for these targets; gives the reply (or what was thrown) and how many messages are in the spool. */
async function handIn(
  targets: readonly { readonly to: "remote"; readonly address: string }[],
  accepted: IntakeParts["accepted"],
  text = "Subject: x\r\n\r\ny\r\n",
): Promise<{ said: Reply | Error; stored: number }> {
  const folder = await Deno.makeTempDir();
  const spool = await Spool.open({ folder, log: silent });
  try {
    const intake = new Intake(
      {
        hostname: "mail.dev.test",
        limits: { maxHeader: 1 << 18, maxFields: 1000, maxFolds: 500, maxHops: 100 },
        log: silent,
        draft: () => spool.draft(),
        accepted,
        firstAttempt: () => Promise.resolve(undefined),
        sendsAs: () => Promise.resolve(undefined),
        addressesOf: () => Promise.resolve([]),
        unsubscribe: () => Promise.resolve(),
        callsForUnsubscribed: false,
        listFields: () => Promise.resolve(""),
        countSent: () => Promise.resolve(true),
        sign: () => Promise.resolve(""),
      },
      CALLER,
      TRUSTING,
    );
    await intake.body(new TextEncoder().encode(text));
    const said = await intake.finish({ sender: SENDER, recipients: [] }, HELLO, [{
      address: "ann@dev.test",
      destinations: targets.map((target) => ({ target })),
      users: [],
    }])
      .catch((error: Error) => error);
    return { said, stored: spool.size };
  } finally {
    await spool.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("what is on disk is answered with 250 even if it cannot be tried now", async () => {
  const { said, stored } = await handIn([{ to: "remote", address: "ann@remote.test" }], () => {
    throw new Error("the queue is broken");
  });
  assert.deepEqual(["code" in said && said.code, stored], [250, 1]);
});

Deno.test("a message that leads nowhere is never answered with 250", async () => {
  const { said, stored } = await handIn([], () => {});
  assert.ok(said instanceof Error);
  assert.equal(stored, 0);
});

Deno.test("a header that is cut anywhere at the end of what is looked at is too large", async () => {
  const limit = 1 << 18,
    line = `X: ${"y".repeat(995)}\r\n`,
    field = "Authentication-Results: mail.dev.test; spf=pass\r\n";
  for (const seen of [1, 10, 22, 23, 24, field.length - 1, field.length]) {
    const filler = line.repeat(Math.floor((limit - seen) / line.length) - 1);
    const last = `X: ${"y".repeat(limit - seen - filler.length - 5)}\r\n`;
    const { said, stored } = await handIn(
      [{ to: "remote", address: "ann@remote.test" }],
      () => {},
      `${filler}${last}${field}\r\ny\r\n`,
    );
    assert.deepEqual(["code" in said && said.lines, stored], [["The header is too large"], 0], `${seen} octets of it`);
  }
});
