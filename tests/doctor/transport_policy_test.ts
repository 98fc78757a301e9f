import assert from "node:assert/strict";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { ADDRESS, faultsIn, withWorld } from "./world.ts";

Deno.test("an MTA-STS policy has to come by https and to name us", async () => {
  const pair = await selfSigned(["mta-sts.ours.test"]);
  let answer = () => new Response("");
  const page = Deno.serve(
    { hostname: ADDRESS, port: 0, cert: pair.certificate, key: pair.key, onListen: () => {} },
    ({ url, headers }) => {
      assert.equal(headers.get("host"), "mta-sts.ours.test");
      return new URL(url).pathname === "/.well-known/mta-sts.txt" ? answer() : new Response("", { status: 404 });
    },
  );
  try {
    await withWorld(async (world) => {
      world.serve([
        ...world.zone,
        '_mta-sts.ours.test. IN TXT "v=STSv1; id=20260101;"',
        `mta-sts.ours.test. IN A ${ADDRESS}`,
      ]);
      const policies = { port: page.addr.port, authority: pair.authority };
      const says = async (text: string, init?: ResponseInit) => {
        answer = () => new Response(text, init);
        return faultsIn(await world.examined({ policies }));
      };
      const policy = (mode: string, ...names: string[]) =>
        ["version: STSv1", `mode: ${mode}`, ...names.map((name) => `mx: ${name}`), "max_age: 86400", ""].join("\r\n");
      for (const name of ["mail.ours.test", "*.ours.test", "MAIL.ours.test"]) {
        assert.deepEqual(await says(policy("enforce", "mx.remote.test", name)), [], name);
      }
      assert.deepEqual(await says(policy("none")), []);
      for (const name of ["mx.remote.test", "*.test", "ours.test"]) {
        assert.deepEqual(await says(policy("testing", name)), ["sts-without-us ours.test"], name);
      }
      const cannotBeHad = ["sts-policy ours.test"];
      assert.deepEqual(await says(policy("enforced", "mail.ours.test")), cannotBeHad);
      assert.deepEqual(await says("<html>"), cannotBeHad);
      // RFC 8461 §3.3: a redirect is not followed.
      assert.deepEqual(
        await says("", { status: 302, headers: { location: "https://mta-sts.ours.test/" } }),
        cannotBeHad,
      );
      assert.deepEqual(await says(policy("enforce", "mail.ours.test") + "x".repeat(100_000)), cannotBeHad);
      // Nobody has to believe a certificate whose authority he does not know.
      answer = () => new Response(policy("enforce", "mail.ours.test"));
      assert.deepEqual(faultsIn(await world.examined({ policies: { port: page.addr.port } })), cannotBeHad);
    });
  } finally {
    await page.shutdown();
  }
});
