/** A server whose certificates are ordered, before the first one is there. */

import assert from "node:assert/strict";
import type { AcmeState } from "../../src/tls/acme.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { withWorld } from "./world.ts";

Deno.test("what stands there until the authority gives a certificate is not to be mended", async () => {
  await withWorld(async (world) => {
    const names = ["mail.ours.test"], stranger = await selfSigned(names);
    const began = { names, directory: "", nextAttempt: 60_000, failures: 1, lastAttempt: 0, isUnderWay: true };
    const told = async (state: Partial<AcmeState>) => {
      const acme = () => Promise.resolve({ ...began, ...state });
      const findings = await world.examined({ authority: stranger.authority, acme, now: Date.now() }, withoutFiles);
      return findings.filter(({ topic }) => topic === "certificate");
    };
    const [presented, order] = await told({ lastAttempt: Date.now() - 1000 });
    assert.match(presented?.advice ?? "", /^Mail programs refuse it until \[tls\.acme\] brings one/);
    assert.deepEqual([order?.result, order?.found], ["ok", "an order is under way"]);

    const lastError = "An order is under way, or was cut off.";
    for (const state of [{ lastError }, { lastError, failures: 3, lastAttempt: Date.now() }]) {
      const [, failing] = await told(state);
      assert.equal(failing?.fault, "certificate-failing");
      assert.match(failing?.found ?? "", /the last one so: An order is under way, or was cut off$/);
    }
  });
});

/** As if what is presented did not come from them. */
function withoutFiles(config: string): string {
  return config.replace(/^certificate = .*\nkey = .*$/m, 'acme = { agree_to_terms = true, email = "ann@ours.test" }');
}
