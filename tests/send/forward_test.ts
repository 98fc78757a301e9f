import assert from "node:assert/strict";
import type { Recipient, Version } from "../../src/queue/entry.ts";
import { copiesOf, withHeader } from "../../src/send/forward.ts";
import { contentOf, jobOf, remote } from "../support/delivery_job.ts";

const HEADER = "Received: x\r\nDKIM-Signature: a\r\n b\r\nFrom: Carol <carol@strict.test>\r\nSubject: hi\r\n\r\n";
const VERSION: Version = { without: ["from", "dkim-signature"], lines: "From: bob@ours.test\r\n" };

async function textOf(content: { readonly size: number; pieces(): AsyncIterable<Uint8Array> }): Promise<string> {
  let text = "", size = 0;
  const decoder = new TextDecoder("latin1");
  for await (const piece of content.pieces()) {
    text += decoder.decode(piece, { stream: true });
    size += piece.length;
  }
  assert.equal(size, content.size);
  return text;
}

Deno.test("a line goes on top, and a header into the place of another, whatever pieces the message comes in", async () => {
  const body = "From: in the body\r\n.\r\n".repeat(50), message = HEADER + body;
  const changed = "Received: x\r\nFrom: bob@ours.test\r\nSubject: hi\r\n\r\n";
  for (const size of [1, 7, HEADER.length - 1, HEADER.length, HEADER.length + 1, 1 << 20]) {
    const content = contentOf(message, size);
    assert.equal(
      await textOf(await withHeader(content, "Delivered-To: x\r\n", undefined)),
      `Delivered-To: x\r\n${message}`,
    );
    const other = await withHeader(content, "Delivered-To: x\r\n", VERSION);
    // It is read as often as it is tried.
    for (let time = 0; time < 2; time++) assert.equal(await textOf(other), `Delivered-To: x\r\n${changed}${body}`);
  }
  const none = await withHeader(contentOf("From: a@b.test\r\n\r\n"), "", VERSION);
  assert.equal(await textOf(none), "From: bob@ours.test\r\n\r\n");
});

const forward = (address: string, target: string, more: { readonly version?: number } = {}): Recipient => ({
  address,
  target: { to: "remote", address: target, forward: { as: address, ...more } },
});

Deno.test("what leaves in the same form leaves once, and each address of ours that forwards has its own", async () => {
  const asked: string[] = [];
  const job = jobOf(
    [
      remote("direct@there.test"),
      forward("team@ours.test", "x@there.test"),
      forward("team@ours.test", "y@there.test"),
      forward("bob@ours.test", "z@there.test", { version: 0 }),
      remote("other@there.test"),
    ],
    HEADER + "body\r\n",
    { sender: "carol@strict.test", versions: [VERSION] },
  );
  const copies = copiesOf(job, job.recipients, (sender, as) => {
    asked.push(`${sender} ${as}`);
    return Promise.resolve(`srs@${as.split("@")[1]}`);
  });
  assert.deepEqual(copies.map(({ recipients }) => recipients), [[0, 4], [1, 2], [3]]);
  assert.deepEqual(asked, [], "nothing is made before its turn");
  const [direct, team, bob] = await Promise.all(copies.map(({ make }) => make()));
  assert.equal(direct, job);
  assert.equal(team?.envelope.sender, "srs@ours.test");
  assert.equal(team?.envelope.recipients[1]?.orcpt, "rfc822;team@ours.test");
  assert.match(await textOf(team!.content), /^Delivered-To: team@ours\.test\r\nReceived: x\r\nDKIM/);
  assert.match(
    await textOf(bob!.content),
    /^Delivered-To: bob@ours\.test\r\nReceived: x\r\nFrom: bob@ours\.test\r\nSubject/,
  );
});
