import assert from "node:assert/strict";
import type { Dns } from "../../src/dns/records.ts";
import { checkAuthorPolicy } from "../../src/doctor/author_policy.ts";

Deno.test("what is wrong with a DMARC record is said, with the record as it should be", async () => {
  const told = async (record: string) => {
    const dns = { txt: () => Promise.resolve({ outcome: "answer", records: [record] }) } as unknown as Dns;
    const { fault, found, records } = await checkAuthorPolicy("ours.test", dns);
    assert.deepEqual([fault, records?.[0]?.name], ["dmarc-syntax", "_dmarc.ours.test"], record);
    return found;
  };
  const wrong: readonly (readonly [record: string, says: RegExp])[] = [
    ["v=dmarc1; p=none", /^must begin with "v=DMARC1;"/],
    ["v=DMARC1; p=reject; p=none", /^p= stands there twice/],
    ["v=DMARC1; p=reject; nonsense", /^"nonsense" is not of the form NAME=VALUE/],
    ["v=DMARC1; p=refuse", /^p= must be none, quarantine or reject, not "refuse"/],
    ["v=DMARC1; p=none; sp=all", /^sp= must be /],
    ["v=DMARC1; p=none; adkim=x", /^adkim= must be r or s, not "x"/],
    ["v=DMARC1; p=none; rua=ann@ours.test", /^rua= must be mailto: and an address, not "ann@ours\.test"/],
    ["v=DMARC1; adkim=r", /^it has no p=/],
  ];
  for (const [record, says] of wrong) assert.match(await told(record), says);
});
