/** Every file of `dialogs/` through the pure session, whole and byte by byte, and through a real listener, in clear and under TLS. */

import assert from "node:assert/strict";
import { type Dialog, matches, parseDialog, type Run, type Step } from "./support/dialog.ts";
import { type Front, openFront } from "./support/front.ts";
import type { MemoryHost } from "./support/memory_host.ts";
import { PurePeer } from "./support/pure_peer.ts";
import { SmtpPeer } from "./support/smtp_peer.ts";

const FOLDER = new URL("dialogs/", import.meta.url);

for (const { name } of [...Deno.readDirSync(FOLDER)].sort((one, other) => one.name < other.name ? -1 : 1)) {
  if (!name.endsWith(".smtp")) continue;
  const dialog = parseDialog(Deno.readTextFileSync(new URL(name, FOLDER)));
  for (const run of runsOf(dialog)) {
    Deno.test(`${name.slice(0, -5).replaceAll("_", " ")} (${run})`, async () => {
      if (run === "whole" || run === "bytes") runPure(name, dialog, run);
      else await runOnLoopback(name, dialog, run);
    });
  }
}

/** Under TLS only what begins in clear and says nothing of TLS itself. */
function runsOf(dialog: Dialog): readonly Run[] {
  const mayTls = dialog.kind === "mx" && !dialog.steps.some((step) => step.do === "tls");
  const runs: readonly Run[] = mayTls ? ["whole", "bytes", "clear", "tls"] : ["whole", "bytes", "clear"];
  return runs.filter((run) => !dialog.without.has(run));
}

function runPure(name: string, dialog: Dialog, run: "whole" | "bytes"): void {
  const peer = new PurePeer({ kind: dialog.kind, ...dialog.limits });
  if (dialog.limits.greetDelay === undefined) peer.greet();
  let checked = 0;
  for (const step of dialog.steps) {
    const where = `${name}:${step.at}`;
    switch (step.do) {
      case "send":
        assert.deepEqual(peer.replies, [], `${where}: the server has said more than the dialog wants`);
        peer.feed(...(run === "whole" ? [step.bytes] : Array.from(step.bytes, (byte) => Uint8Array.of(byte))));
        break;
      case "expect":
        expect(where, peer.replies.shift(), step);
        break;
      case "tls":
        assert.equal(peer.waitsForTls, true, `${where}: the server does not begin TLS`);
        peer.secured();
        break;
      case "closes":
        assert.equal(peer.closed, true, `${where}: the server has not closed`);
        break;
      case "hangs up":
        peer.hangUp();
        break;
      case "stored":
        checked = expectStored(where, peer.host, checked, step);
        break;
      default:
        step satisfies never;
    }
  }
  assert.deepEqual(peer.replies, [], "the server has said more than the dialog wants");
  finish(name, dialog, peer.closed, peer.host, checked);
}

async function runOnLoopback(name: string, dialog: Dialog, run: "clear" | "tls"): Promise<void> {
  const front = openFront({ kind: dialog.kind, session: dialog.limits, limits: dialog.limits });
  const call = dialog.kind === "submissions" ? SmtpPeer.callTls : SmtpPeer.call;
  const peer = await call(front.port);
  try {
    await converse(name, dialog, run, front, peer);
  } finally {
    peer.close();
    await front.close();
  }
}

async function converse(name: string, dialog: Dialog, run: Run, front: Front, peer: SmtpPeer): Promise<void> {
  let checked = 0, closed = false, gone = false;
  for (const [index, step] of dialog.steps.entries()) {
    const where = `${name}:${step.at}`;
    switch (step.do) {
      case "send":
        await peer.send(step.bytes);
        break;
      case "expect":
        expect(where, await peer.reply(), step);
        if (index === 0 && run === "tls") await beginTls(peer);
        break;
      case "tls":
        await peer.startTls();
        break;
      case "closes":
        assert.equal(await peer.reply(), undefined, `${where}: the server has not closed`);
        closed = true;
        break;
      case "hangs up":
        peer.close();
        gone = true;
        break;
      case "stored":
        if (gone) await front.empty();
        checked = expectStored(where, front.hosts[0], checked, step);
        break;
      default:
        step satisfies never;
    }
  }
  if (!gone && !closed) {
    // One reply more than the dialog has would come before this one.
    assert.match(await peer.say("QUIT"), /^221 2\.0\.0 /, "the server has said more than the dialog wants");
    assert.equal(await peer.reply(), undefined);
  }
  peer.close();
  await front.empty();
  finish(name, dialog, closed, front.hosts[0], checked);
}

async function beginTls(peer: SmtpPeer): Promise<void> {
  assert.match(await peer.say("EHLO prelude.test"), /^250 /);
  assert.match(await peer.say("STARTTLS"), /^220 /);
  await peer.startTls();
}

function expect(where: string, said: readonly string[] | undefined, { lines }: Step & { do: "expect" }): void {
  if (said !== undefined && matches(said, lines)) return;
  assert.fail(`${where}: wanted\n  ${lines.join("\n  ")}\nbut the server said\n  ${said?.join("\n  ") ?? "nothing"}`);
}

/** Gives how many of the stored messages the dialog has named. */
function expectStored(
  where: string,
  host: MemoryHost | undefined,
  checked: number,
  { message }: Step & { do: "stored" },
): number {
  assert.deepEqual(host?.stored[checked], message, where);
  return message === undefined ? checked : checked + 1;
}

function finish(name: string, dialog: Dialog, closed: boolean, host: MemoryHost | undefined, checked: number): void {
  assert.equal(closed, dialog.steps.some((step) => step.do === "closes"), `${name}: who closed?`);
  assert.equal(host?.stored.length ?? 0, checked, `${name}: a message was stored that the dialog does not name`);
  assert.equal(host?.held ?? 0, 0, `${name}: pieces of a message were left behind`);
}
