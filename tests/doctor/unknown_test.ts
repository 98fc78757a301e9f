/** What nobody answers is not a fault of the record. */

import assert from "node:assert/strict";
import { examine } from "../../src/doctor/examine.ts";
import { ADDRESS, DOMAINS, faultsIn, withWorld } from "./world.ts";

Deno.test("a record that the name server cannot give is not known, and no other is doubted", async () => {
  await withWorld(async (world) => {
    const own = ["mail.ours.test", "1.0.0.127.in-addr.arpa"], names = [...own, "second.test", "_dmarc.third.test"];
    world.serve([...world.zone, ...names.map((name) => `${name}. BEHAVE servfail`)]);
    const findings = await world.examined();
    assert.deepEqual(faultsIn(findings), [
      "no-answer 127.0.0.1",
      "no-answer mail.ours.test", // A and AAAA,
      "no-answer mail.ours.test", // and TXT.
      "no-answer second.test",
      "no-answer second.test",
      "no-answer third.test",
    ]);
    for (const { fault, result, found } of findings) {
      if (fault === undefined) continue;
      assert.equal(result, "warning");
      assert.match(found, /^no answer: /);
    }
  });
});

Deno.test("when all name servers are silent, everything is over in half a minute, and nothing is called wrong", async () => {
  await withWorld(async (world) => {
    world.serve([...world.zone, "*.test. BEHAVE silent", "*.arpa. BEHAVE silent"]);
    const began = performance.now(), findings = await world.examined();
    assert.ok(performance.now() - began < 30_000);
    assert.deepEqual([...new Set(findings.flatMap(({ fault }) => fault ?? []))], ["no-answer"]);
    // What does not hang on the DNS is told all the same.
    assert.deepEqual(
      findings.filter(({ topic }) => topic === "port" || topic === "disk").map(({ result }) => result),
      ["ok", "ok", "ok", "ok"],
    );
  });
});

Deno.test("behind a NAT the addresses of our name are taken for ours, and that is said", async () => {
  await withWorld(async (world) => {
    const findings = await world.examined({}, undefined, []);
    assert.deepEqual(faultsIn(findings), ["no-address mail.ours.test"]);
    assert.match(findings.find(({ fault }) => fault !== undefined)?.found ?? "", /taken for ours: 127\.0\.0\.1$/);
    assert.ok(findings.some(({ topic, about, result }) => topic === "ptr" && about === ADDRESS && result === "ok"));
  });
});

Deno.test("a server that cannot be asked and a part that breaks are told, and the others go on", async () => {
  await withWorld(async (world) => {
    const findings = await world.examined({
      ask: () => Promise.reject(new Error("Permission denied (os error 13)")),
      spaceOf: () => Promise.reject(new Error("Input/output error")),
    });
    assert.deepEqual(faultsIn(findings), ["no-answer doctor", "server-silent clock", "server-silent queue"]);
    assert.equal(findings.filter(({ topic, result }) => topic === "mx" && result === "ok").length, DOMAINS.length);
  });
});

Deno.test("a certificate whose renewal fails is doubted while it lives, and wrong when it is gone", async () => {
  const patient = {
    hostname: "mail.ours.test",
    domains: [],
    addresses: [ADDRESS],
    listeners: [],
    greetDelay: 0,
    tls: true,
    certificates: [],
    store: "/",
    maxMessage: 1,
    dnsbl: [],
    outbound: { route: "capture", port: 25, probe: "remote.test" },
    warnAfter: 1,
  } as const;
  const nothing = () => Promise.resolve({ outcome: "no such name", authenticated: false, ttl: 0 } as const);
  const dns = { a: nothing, aaaa: nothing, mx: nothing, txt: nothing, ptr: nothing, tlsa: nothing, ask: nothing };
  const now = Date.parse("2026-06-01T00:00:00Z"), day = 86_400_000;
  const state = { names: ["mail.ours.test"], directory: "https://ca.test/", nextAttempt: now + day };
  const told = async (more: { failures: number; notAfter?: number; lastError?: string }) => {
    const acme = () => Promise.resolve({ ...state, ...more });
    const findings = await examine(patient, { dns, acme, now, ask: () => Promise.resolve("not running") });
    return findings.find(({ about }) => about === "[tls.acme]");
  };
  assert.equal((await told({ failures: 0, notAfter: now + 40 * day }))?.result, "ok");
  const failing = await told({ failures: 2, notAfter: now + 20 * day, lastError: "mail.ours.test leads elsewhere" });
  assert.deepEqual([failing?.result, failing?.fault], ["warning", "certificate-failing"]);
  assert.match(failing?.found ?? "", /2 orders failed, the last one so: mail\.ours\.test leads elsewhere/);
  assert.equal((await told({ failures: 2, notAfter: now - day }))?.result, "error");
  assert.equal((await told({ failures: 1 }))?.result, "error");
});
