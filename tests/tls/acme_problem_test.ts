import assert from "node:assert/strict";
import { orderFailed, Problem, problemOf, retryAfter } from "../../src/tls/acme_problem.ts";
import type { AcmeSettings } from "../../src/tls/acme_settings.ts";

const SETTINGS: AcmeSettings = {
  store: "/var/lib/maildemon",
  names: ["mail.ours.test", "mx.ours.test"],
  directory: "https://authority.test/dir",
  challenge: "tls-alpn-01",
  listen: { hostname: "::", port: 8443 },
};

Deno.test("what an authority says becomes one line, as long as says something", () => {
  const said = (detail: unknown, subproblems: unknown = undefined) =>
    problemOf({ type: "urn:ietf:params:acme:error:caa", detail, subproblems }, "otherwise").message;
  assert.equal(said("one\r\n\u001b[31mtwo\u2028three."), "one [31mtwo three");
  assert.equal(said("all", [{ detail: "first" }, null, { detail: 7 }]), "all; first");
  assert.equal(said("x".repeat(1000)).length, 400);
  for (const odd of [undefined, 7, {}, ""]) assert.equal(said(odd), "otherwise");
  assert.equal(problemOf({ type: "urn:other:caa" }, "otherwise").type, "");
});

Deno.test("the patience that an authority asks for is in seconds or a date, and never in the past", () => {
  const now = Date.parse("2026-11-26T12:00:00Z");
  assert.equal(retryAfter("120", now), 120_000);
  assert.equal(retryAfter("Thu, 26 Nov 2026 13:00:00 GMT", now), 3600_000);
  for (const none of [undefined, "", "0", "-5", "soon", "Thu, 26 Nov 2026 11:00:00 GMT"]) {
    assert.equal(retryAfter(none, now), undefined, none);
  }
});

Deno.test("each kind of refusal says what to do about it", () => {
  const advice: Readonly<Record<string, RegExp>> = {
    connection: /: said\. mx\.ours\.test needs A or AAAA .* port 443 of each .* to port 8443 here\.$/,
    dns: /: said\. mx\.ours\.test needs A or AAAA /,
    unauthorized: /: said\. Another server answers: mx\.ours\.test needs /,
    incorrectResponse: /: said\. Another server answers: /,
    tls: /or one in front of us opens TLS: mx\.ours\.test needs /,
    caa: /Add this authority to the CAA records of mx\.ours\.test, or of the domain above it\.$/,
    rateLimited: /It is tried again when the authority allows it\.$/,
    rejectedIdentifier: /Take the name out of names in \[tls\.acme\], or choose another directory\.$/,
    userActionRequired: /Do what it asks for\.$/,
    externalAccountRequired: /choose another directory in \[tls\.acme\]\.$/,
    invalidContact: /Write another email into \[tls\.acme\], or none\.$/,
    "": /It is tried again later\.$/,
  };
  for (const [type, says] of Object.entries(advice)) {
    const { message, retryAfter } = orderFailed(new Problem(type, "said", 5), SETTINGS, "mx.ours.test");
    assert.match(message, /^authority\.test could not see that mx\.ours\.test is ours: said\. /);
    assert.match(message, says, type);
    assert.equal(retryAfter, 5);
  }
  assert.match(orderFailed(new Problem("", "no"), SETTINGS).message, /gives no certificate for mail\.ours\.test, mx\./);
});

Deno.test("trouble on the way to the authority is told from what it says", () => {
  const said = (text: string) => orderFailed(new Error(text), SETTINGS).message;
  assert.match(
    said("invalid peer certificate: UnknownIssuer"),
    /authority\.test is not known over HTTPS: .*directory_ca/,
  );
  assert.match(said("connection refused"), /^connection refused\. Look whether this machine can call authority\.test /);
});
