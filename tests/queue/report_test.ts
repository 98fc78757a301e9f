/** Notes to senders, read by somebody else's parser: that of Python. Where Python is missing the tests say so. */

import assert from "node:assert/strict";
import { interop, PYTHON, run } from "../interoperability/programs.ts";
import { bounceMaker } from "../../src/queue/bounce.ts";
import type { Envelope, Recipient, RemoteReply, Standing } from "../../src/queue/entry.ts";
import { replyFrom } from "../../src/send/remote_reply.ts";
import { contentOf } from "../support/delivery_job.ts";
import { envelope } from "../support/memory_spool.ts";

const SCRIPT = new URL("../interoperability/python/read_report.py", import.meta.url).pathname;
const DAY = 24 * 3600_000, ARRIVED = Date.UTC(2026, 0, 1), HOST = "mx.there.test [192.0.2.1]";
const NO: RemoteReply = { code: 550, enhanced: "5.1.1", text: "No such user", host: HOST };
const LATER: RemoteReply = { code: 451, enhanced: "4.7.1", text: "Greylisted", host: HOST };
const OK: RemoteReply = { code: 250, enhanced: "2.0.0", text: "Taken", host: HOST };
const MESSAGE = "From: ann@ours.test\r\nSubject: hello\r\n\r\nthe body\r\n";

interface Read {
  readonly type: string;
  readonly report: string;
  readonly from: string;
  readonly to: string;
  readonly subject: string;
  readonly auto: string;
  readonly encoding: string | null;
  readonly parts: readonly string[];
  readonly text: string;
  readonly groups: readonly Readonly<Record<string, string>>[];
  readonly original: string | { readonly subject: string; readonly body: string };
  readonly defects: readonly string[];
}

interface Told {
  readonly to: string | Recipient;
  readonly standing: Partial<Standing>;
}

async function read(
  told: readonly Told[],
  { message = MESSAGE, ...more }: Partial<Envelope> & { readonly message?: string | Uint8Array } = {},
): Promise<Read & { readonly body: Envelope["body"] }> {
  const make = bounceMaker(
    { hostname: "mail.ours.test", postmaster: "postmaster@ours.test", giveUpAfter: 5 * DAY },
    () => Promise.resolve([{ to: "maildir", path: "/mail/ann" }]),
    () => ARRIVED + DAY,
  );
  const standings = told.map(({ standing }): Standing => ({ state: "failed", attempts: 1, due: 1, ...standing }));
  const entry = { id: "0abc", envelope: envelope(told.map(({ to }) => to), more), standings };
  const made = await make(entry, [...standings.keys()], contentOf(message)) ?? assert.fail("no note");
  const { code, out, error } = await run(PYTHON, [SCRIPT, ...more.smtputf8 ? ["--utf8"] : []], { input: made.message });
  assert.equal(code, 0, error);
  const parsed: Read = JSON.parse(out);
  assert.deepEqual(parsed.defects, []);
  assert.deepEqual([parsed.type, parsed.report, parsed.auto, parsed.from], [
    "multipart/report",
    "delivery-status",
    "auto-replied",
    "postmaster@ours.test",
  ]);
  return { ...parsed, body: made.envelope.body };
}

const forward = (address: string, more: Partial<Recipient> = {}): Recipient => ({
  address: "team@ours.test",
  target: { to: "remote", address, forward: { as: "team@ours.test" } },
  ...more,
});

interop(
  "a report about several says of each what became of it, with all that the sender had given along",
  ["python"],
  async () => {
    const report = await read([
      { to: forward("no@refuse.test"), standing: { reply: NO, attempts: 2, lastAttempt: ARRIVED + 3600_000 } },
      {
        to: {
          ...forward("old@there.test"),
          address: "bob@there.test",
          notify: ["SUCCESS"],
          orcpt: "rfc822;Bob+2Bnews@there.test",
        },
        standing: { state: "delivered", success: "relayed", reply: OK },
      },
      {
        to: { address: "team@ours.test", target: { to: "nowhere", because: "expanded" }, notify: ["SUCCESS"] },
        standing: { state: "delivered", success: "expanded", reply: OK },
      },
      {
        to: { address: "ann@ours.test", target: { to: "maildir", path: "/secret/path" }, notify: ["SUCCESS"] },
        standing: { state: "delivered", reply: { ...OK, text: "stored in /secret/path", host: "local" } },
      },
    ], { envid: "QQ+2B314+3D" });
    const [message, failed, relayed, expanded, delivered] = report.groups;
    assert.deepEqual(message, {
      "Reporting-MTA": "dns; mail.ours.test",
      "Original-Envelope-Id": "QQ+314=",
      "Arrival-Date": "Thu, 01 Jan 2026 00:00:00 +0000",
    });
    assert.deepEqual(failed, {
      "Original-Recipient": "rfc822; team@ours.test",
      "Final-Recipient": "rfc822; no@refuse.test",
      "Action": "failed",
      "Status": "5.1.1",
      "Remote-MTA": "dns; mx.there.test",
      "Diagnostic-Code": "smtp; 550 5.1.1 No such user",
      "Last-Attempt-Date": "Thu, 01 Jan 2026 01:00:00 +0000",
    });
    assert.deepEqual([relayed?.["Action"], relayed?.["Original-Recipient"]], [
      "relayed",
      "rfc822; Bob+news@there.test",
    ]);
    assert.deepEqual([expanded?.["Action"], expanded?.["Status"]], ["expanded", "2.0.0"]);
    assert.deepEqual([delivered?.["Action"], delivered?.["Final-Recipient"]], ["delivered", "rfc822; ann@ours.test"]);
    assert.equal(report.subject, "Your message could not be delivered to everybody");
    assert.doesNotMatch(JSON.stringify(report), /secret/);
    assert.deepEqual(report.parts, ["text/plain", "message/delivery-status", "text/rfc822-headers"]);
    assert.equal(String(report.original).replaceAll("\r\n", "\n"), "From: ann@ours.test\nSubject: hello\n");
  },
);

interop("a report of a delay says until when it is tried", ["python"], async () => {
  const report = await read([{
    to: "bob@there.test",
    standing: { state: "waiting", warning: 1, reply: LATER, attempts: 6 },
  }], { ret: "FULL" });
  const [, group] = report.groups;
  assert.deepEqual([group?.["Action"], group?.["Status"], group?.["Will-Retry-Until"]], [
    "delayed",
    "4.7.1",
    "Tue, 06 Jan 2026 00:00:00 +0000",
  ]);
  assert.equal(report.subject, "Your message is late");
  assert.equal(report.parts[2], "text/rfc822-headers");
});

interop(
  "RET=FULL brings the whole message back, in eight bits if it has them; not when it is too long or does not fit",
  ["python"],
  async () => {
    const failed = [{ to: "bob@there.test", standing: { reply: NO } }];
    const seven = await read(failed, { ret: "FULL" });
    assert.deepEqual([seven.parts[2], seven.body], ["message/rfc822", "7BIT"]);
    assert.ok(typeof seven.original === "object");
    assert.deepEqual([seven.original.subject, seven.original.body.replaceAll("\r\n", "\n")], ["hello", "the body\n"]);
    const text = "From: ann@ours.test\r\nSubject: hello\r\nContent-Type: text/plain; charset=utf-8\r\n" +
      "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n";
    const eight = await read(failed, { ret: "FULL", message: text });
    assert.deepEqual([eight.parts[2], eight.body, eight.encoding], ["message/rfc822", "8BITMIME", "8bit"]);
    assert.ok(typeof eight.original === "object" && eight.original.body.startsWith("Grüße"));
    for (
      const message of [MESSAGE + "x".repeat(1 << 20), MESSAGE + "a\0b\r\n", MESSAGE + "a\rb\r\n", MESSAGE + "a\nb\r\n"]
    ) {
      const cut = await read(failed, { ret: "FULL", message });
      assert.deepEqual([cut.parts[2], cut.body], ["text/rfc822-headers", "7BIT"]);
    }
  },
);

interop("addresses and headers of more than seven bits can be read in a report of seven bits", ["python"], async () => {
  const address = "jürgen@xn--mnchen-3ya.test";
  const report = await read([
    {
      to: { address, target: { to: "remote", address }, orcpt: "utf-8;j\\x{FC}rgen@xn--mnchen-3ya.test" },
      standing: { reply: NO },
    },
  ], { sender: "änn@ours.test", smtputf8: true, message: "From: änn@ours.test\r\nSubject: Grüße\r\n\r\nx\r\n" });
  const [, group] = report.groups;
  assert.equal(group?.["Final-Recipient"], "utf-8; j\\x{FC}rgen@xn--mnchen-3ya.test");
  assert.equal(group?.["Original-Recipient"], "utf-8; j\\x{FC}rgen@xn--mnchen-3ya.test");
  assert.equal(report.to, "änn@ours.test");
  assert.match(String(report.original), /^Subject: Grüße/m);
  assert.match(report.text, /<jürgen@/);
});

interop("whatever a server answers ends up as one short field, and no field of its own", ["python"], async () => {
  const HOSTILE = [
    "550-x\r\n550-action: delivered\r\n550 \n",
    "550 a\0b\u2028Action: delivered\u2029\u0085Action: delivered",
    `550 5.0.0 ${"x".repeat(65_536)}`,
    "550-5.1.1 a\r\n550 5.1.1 --boundary--\r\n\r\nFinal-Recipient: rfc822; x@y.test",
    "554 \u202e\ud800",
  ];
  for (const raw of HOSTILE) {
    const report = await read([{ to: "bob@there.test", standing: { reply: replyFrom(raw, HOST) } }]);
    assert.equal(report.groups.length, 2, raw.slice(0, 40));
    const [, group] = report.groups, code = group?.["Diagnostic-Code"] ?? "";
    assert.deepEqual(Object.keys(group ?? {}), [
      "Final-Recipient",
      "Action",
      "Status",
      "Remote-MTA",
      "Diagnostic-Code",
    ]);
    assert.equal(group?.["Action"], "failed");
    assert.ok(code.length <= 520 && /^[\x20-\x7e]*$/.test(code), code);
  }
});

interop("where a user reads stands nowhere in a report", ["python"], async () => {
  const address = "bob@ours.test", target = "Secret.Bob@hidden.test";
  const to: Recipient = {
    address,
    target: { to: "remote", address: target, forward: { as: address, confidential: true } },
  };
  for (
    const text of [
      "<SECRET.bob@hidden.test> is full",
      "try hidden.test/help",
      "user secret.bob unknown",
      "mx.hidden.test does not know him [192.0.2.1]",
      `${"x".repeat(480)} secret.bo…`,
    ]
  ) {
    const reply = { ...NO, text, host: "mx.hidden.test [192.0.2.1]" };
    const report = await read([{ to, standing: { reply } }]);
    assert.doesNotMatch(JSON.stringify({ ...report, original: "" }), /secret|hidden/i, text);
    assert.equal(report.groups[1]?.["Final-Recipient"], "rfc822; bob@ours.test");
  }
});
