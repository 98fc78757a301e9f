import assert from "node:assert/strict";
import { complete, isMailbox, originator, refuseStranger } from "../../src/accept/originate.ts";
import { type Header, readHeader } from "../../src/smtp/headers.ts";
import { bytesOf, textOf } from "../support/every_cut.ts";

function headerOf(bytes: Uint8Array): Header {
  const header = readHeader(bytes, { maxHeader: 262_144, maxFields: 1000, maxFolds: 500 });
  assert.ok(typeof header !== "string");
  return header;
}

/** The address in From, or the code of the refusal. */
function originatorOf(text: string): string {
  const bytes = bytesOf(text), found = originator(bytes, headerOf(bytes));
  return isMailbox(found) ? `${found.local}@${found.domain}` : `${found.code} ${found.enhanced}`;
}

const FROM: readonly [name: string, text: string, found: string][] = [
  ["one address", "From: Ann <ann@dev.test>\r\n\r\n", "ann@dev.test"],
  ["folded", "From: Ann\r\n <ann@dev.test>\r\n\r\n", "ann@dev.test"],
  ["a group of one", "From: Team: ann@dev.test;\r\n\r\n", "ann@dev.test"],
  ["with Sender", "Sender: bob@dev.test\r\nFrom: ann@dev.test\r\n\r\n", "ann@dev.test"],
  ["no From", "To: ann@dev.test\r\n\r\nFrom: ann@dev.test\r\n", "550 5.6.0"],
  ["no header", "\r\nFrom: ann@dev.test\r\n", "550 5.6.0"],
  ["two From fields", "From: ann@dev.test\r\nFROM: ann@dev.test\r\n\r\n", "550 5.6.0"],
  ["the second one with a blank", "From: ann@dev.test\r\nFrom : bob@dev.test\r\n\r\n", "550 5.6.0"],
  ["two addresses", "From: ann@dev.test, bob@dev.test\r\n\r\n", "550 5.6.0"],
  ["no address", "From: Ann\r\n\r\n", "550 5.6.0"],
  ["nothing", "From:\r\n\r\n", "550 5.6.0"],
  ["the null sender", "From: <>\r\n\r\n", "550 5.6.0"],
  ["two in angle brackets", "From: <ann@dev.test> <bob@dev.test>\r\n\r\n", "550 5.6.0"],
  [
    "a second one behind a line that is no field",
    "From: ann@dev.test\r\nGarbage\r\nFrom: bob@dev.test\r\n\r\n",
    "550 5.6.0",
  ],
  ["80,000 times a,", `From: a@dev.test,\r\n${` ${"a,".repeat(2000)}\r\n`.repeat(40)}\r\n`, "550 5.6.0"],
];

for (const [name, text, found] of FROM) {
  Deno.test(`originator: ${name} → ${found}`, () => assert.equal(originatorOf(text), found));
}

Deno.test("who may not write as an address hears which one it is", () => {
  const refusal = refuseStranger({ local: "Bob", domain: "dev.test" });
  assert.equal(`${refusal.code} ${refusal.enhanced}`, "550 5.7.1");
  assert.match(refusal.lines.join(), /bob@dev\.test/);
});

const FACTS = { id: "id1", domain: "dev.test", at: Date.UTC(2026, 10, 22, 3, 4, 5) };
const DATE = "Date: Sun, 22 Nov 2026 03:04:05 +0000\r\n", ID = "Message-ID: <id1@dev.test>\r\n";

const COMPLETED: readonly [name: string, text: string, result: string][] = [
  [
    "nothing is missing",
    "From: a\r\nDate: x\r\nMessage-ID: <y>\r\n\r\nz\r\n",
    "From: a\r\nDate: x\r\nMessage-ID: <y>\r\n\r\nz\r\n",
  ],
  ["names in any case", "DATE: x\r\nmessage-id: <y>\r\n\r\n", "DATE: x\r\nmessage-id: <y>\r\n\r\n"],
  ["no Date", "Message-ID: <y>\r\n\r\n", `${DATE}Message-ID: <y>\r\n\r\n`],
  ["no Message-ID", "Date: x\r\n\r\n", `${ID}Date: x\r\n\r\n`],
  ["neither, and no header at all", "\r\nz\r\n", `${DATE}${ID}\r\nz\r\n`],
  [
    "Bcc goes, folded and twice, the body stays",
    "Date: x\r\nBCC: b,\r\n c\r\nTo: d\r\nBcc: e\r\nResent-Bcc: f\r\nMessage-ID: <y>\r\n\r\nBcc: g\r\n",
    "Date: x\r\nTo: d\r\nMessage-ID: <y>\r\n\r\nBcc: g\r\n",
  ],
];

for (const [name, text, result] of COMPLETED) {
  Deno.test(`a submitted message is completed: ${name}`, () => {
    const bytes = bytesOf(text);
    assert.equal(textOf(complete(bytes, headerOf(bytes), [], FACTS)), result);
  });
}
