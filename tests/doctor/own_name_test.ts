import assert from "node:assert/strict";
import type { Dns } from "../../src/dns/records.ts";
import { checkPtr } from "../../src/doctor/own_name.ts";

/** Where the address has these names, and every name leads to another address. */
function world(...names: readonly string[]): Dns {
  const answer = (records: readonly string[]) => Promise.resolve({ outcome: "answer", records, name: "" } as const);
  const nothing = () => Promise.resolve({ outcome: "no data" } as const);
  return { a: () => answer(["203.0.113.99"]), aaaa: nothing, ptr: () => answer(names) } as unknown as Dns;
}

Deno.test("an address without a right name is an error for who sends from it, and a warning behind a smarthost", async () => {
  for (const [names, fault] of [[[], "ptr-missing"], [["pool.isp.test"], "ptr-astray"]] as const) {
    for (const [sendsFromHere, result] of [[true, "error"], [false, "warning"]] as const) {
      const found = await checkPtr("mail.ours.test", "203.0.113.7", sendsFromHere, world(...names));
      assert.deepEqual([found.fault, found.result], [fault, result]);
      assert.equal(found.records?.[0]?.value, "mail.ours.test");
    }
  }
});
