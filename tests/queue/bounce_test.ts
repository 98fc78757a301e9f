import assert from "node:assert/strict";
import { bounceMaker } from "../../src/queue/bounce.ts";
import type { Content, Envelope, Recipient, RemoteReply, Standing, Target } from "../../src/queue/entry.ts";
import type { Bounce } from "../../src/queue/ledger.ts";
import { envelope } from "../support/memory_spool.ts";

const NO: RemoteReply = { code: 550, enhanced: "5.1.1", text: "No such user", host: "mx.there.test [192.0.2.1]" };
const HEADER = "From: ann@ours.test\r\nSubject: hello\r\n";

const make = bounceMaker(
  { hostname: "mail.ours.test", postmaster: "postmaster@ours.test", giveUpAfter: 5 * 86_400_000 },
  (address): Promise<Target[]> =>
    Promise.resolve(address.includes("nobody") ? [] : [{ to: "maildir", path: "/mail/ann" }]),
  () => Date.UTC(2026, 0, 6, 12),
);

async function bounce(
  to: readonly (string | Recipient)[],
  reply: RemoteReply = NO,
  more: Partial<Envelope> = {},
  message: string = HEADER + "\r\nthe body\r\n",
): Promise<Bounce | undefined> {
  const standing: Standing = { state: "failed", attempts: 1, due: 1, reply };
  const original = envelope(to, more);
  const standings = original.recipients.map(() => standing);
  return await make({ id: "0abc", envelope: original, standings }, [...standings.keys()], contentOf(message));
}

function contentOf(message: string): Content {
  const bytes = new TextEncoder().encode(message);
  return {
    size: bytes.length,
    async *pieces() {
      await Promise.resolve();
      for (let from = 0; from < bytes.length; from += 1000) yield bytes.subarray(from, from + 1000);
    },
  };
}

/** The header of the bounce and the three parts, each header and body, as a reader of MIME would cut them. */
function partsOf(made: Bounce | undefined): { header: string; text: string; status: string; original: string } {
  assert.ok(made);
  const message = new TextDecoder().decode(made.message);
  const boundary = /boundary="([^"]+)"/.exec(message)?.[1];
  assert.ok(boundary);
  const [header, text, status, original, end] = message.split(`--${boundary}`);
  assert.ok(header && text && status && original && end?.startsWith("--"), message);
  return { header, text, status, original };
}

/** Fields of the groups of a delivery status, RFC 3464 §2.1. */
function groupsOf(status: string): string[][] {
  const body = status.slice(status.indexOf("\r\n\r\n") + 4);
  return body.trim().split("\r\n\r\n").map((group) => group.split("\r\n"));
}

Deno.test("a bounce is a report from the postmaster to the sender with the null sender", async () => {
  const made = await bounce(["bob@there.test"]);
  const { header, text, status, original } = partsOf(made);
  assert.match(header, /^From: Mail Delivery System <postmaster@ours\.test>\r\n/);
  assert.match(header, /\r\nTo: ann@ours\.test\r\n/);
  assert.match(header, /\r\nAuto-Submitted: auto-replied\r\n/);
  assert.match(header, /\r\nContent-Type: multipart\/report; report-type=delivery-status;/);
  assert.match(header, /\r\nDate: Tue, 06 Jan 2026 12:00:00 \+0000\r\n/);
  assert.match(text, /<bob@there\.test>\r\n {4}mx\.there\.test \[192\.0\.2\.1\]: 550 5\.1\.1 No such user/);
  assert.deepEqual(groupsOf(status), [
    ["Reporting-MTA: dns; mail.ours.test", "Arrival-Date: Thu, 01 Jan 2026 00:00:00 +0000"],
    [
      "Final-Recipient: rfc822; bob@there.test",
      "Action: failed",
      "Status: 5.1.1",
      "Remote-MTA: dns; mx.there.test",
      "Diagnostic-Code: smtp; 550 5.1.1 No such user",
    ],
  ]);
  assert.match(original, /text\/rfc822-headers/);
  assert.ok(original.includes(HEADER) && !original.includes("the body"));
  assert.equal(made?.envelope.sender, "");
  assert.deepEqual(made?.envelope.recipients, [
    { address: "ann@ours.test", target: { to: "maildir", path: "/mail/ann" }, notify: ["NEVER"] },
  ]);
  assert.deepEqual(made?.envelope.source, { by: "bounce", about: { id: "0abc", recipients: [0] } });
});

Deno.test("a bounce names only who wanted to be told of", async () => {
  const to = (name: string, notify?: Recipient["notify"]): Recipient => ({
    address: `${name}@there.test`,
    target: { to: "remote", address: `${name}@there.test` },
    ...(notify ? { notify } : {}),
  });
  const made = await bounce([
    to("never", ["NEVER"]),
    to("success", ["SUCCESS"]),
    to("failure", ["FAILURE"]),
    to("bob"),
  ]);
  const message = new TextDecoder().decode(made?.message);
  assert.ok(message.includes("failure@") && message.includes("bob@"));
  assert.ok(!message.includes("never@") && !message.includes("success@"));
});

Deno.test("no bounce is made for the null sender, for a bounce, or to nowhere", async () => {
  const about = { by: "bounce", about: { id: "0", recipients: [0] } } as const;
  assert.equal(await bounce(["bob@there.test"], NO, { sender: "" }), undefined);
  assert.equal(await bounce(["bob@there.test"], NO, { source: about }), undefined);
  assert.equal(await bounce(["bob@there.test"], NO, { sender: "nobody@ours.test" }), undefined);
});

Deno.test("nothing that a peer said forges a header, a field or a part", async () => {
  const evil = "x\r\n\r\nFinal-Recipient: rfc822; ceo@ours.test\r\nAction: delivered\r\n--b\u0000\u2028" +
    "y".repeat(70_000);
  const reply = { code: 550, enhanced: "5.0.0\r\nAction: delivered", text: evil, host: `evil.test\r\nAction: x` };
  const recipient = {
    address: `a"\r\nBcc: x@y.test"@there.test`,
    target: { to: "remote", address: "a@there.test" },
    orcpt: "rfc822;a\r\nAction: delivered",
  } as const;
  const made = await bounce([recipient], reply, { envid: "ab\r\ncd\r\nAction: delivered" });
  const { header, status } = partsOf(made);
  assert.doesNotMatch(header, /^Bcc/m);
  const groups = groupsOf(status);
  assert.equal(groups.length, 2);
  assert.deepEqual(groups.flat().filter((field) => field.startsWith("Action")), ["Action: failed"]);
  assert.deepEqual(groups.flat().filter((field) => field.startsWith("Status")), ["Status: 5.0.0"]);
  assert.equal(groups.flat().filter((field) => field.startsWith("Final-Recipient")).length, 1);
  assert.ok(groups.flat().every((field) => /^[A-Z][A-Za-z-]+: [\x20-\x7e]{1,600}$/.test(field)), status);
  assert.ok(made!.message.length < 8_000);
});

Deno.test("what was put off until it was too old says so", async () => {
  const { status } = partsOf(
    await bounce(["bob@there.test"], { ...NO, code: 451, enhanced: "4.7.1", text: "Greylisted" }),
  );
  assert.match(status, /Status: 4\.4\.7\r\n/);
  assert.match(status, /Diagnostic-Code: smtp; 451 4\.7\.1 Greylisted/);
});

Deno.test("a bounce has seven bits also when addresses and header have more", async () => {
  const header = "Subject: Gr\u00fc\u00dfe\r\nX-Long: " + "z".repeat(3000) + "\r\n";
  const made = await bounce(["j\u00f6rg@there.test"], NO, {}, header + "\r\nbody\r\n");
  assert.ok(made!.message.every((byte) => byte < 0x80));
  const lines = new TextDecoder().decode(made!.message).split("\r\n");
  assert.ok(lines.every((line) => line.length <= 998 && !/[\r\n]/.test(line)));
  assert.match(partsOf(made).status, /Final-Recipient: utf-8; j\\x\{F6\}rg@there\.test\r\n/);
});

Deno.test("a long header is cut at a line, and one that cannot be read is left out", async () => {
  const made = await bounce(["bob@there.test"], NO, {}, `${"X-Field: 1234567890\r\n".repeat(50_000)}\r\nbody`);
  assert.ok(made!.message.length < 40_000);
  const last = partsOf(made).original.trimEnd().split("\r\n").at(-1);
  assert.equal(last, "X-Field: 1234567890");
  const standings: Standing[] = [{ state: "failed", attempts: 1, due: 1, reply: NO }];
  const broken = await make({ id: "0abc", envelope: envelope(["bob@there.test"]), standings }, [0], {
    size: 9,
    // deno-lint-ignore require-yield
    async *pieces() {
      await Promise.resolve();
      throw new Error("damaged");
    },
  });
  assert.match(partsOf(broken).status, /Action: failed/);
});
