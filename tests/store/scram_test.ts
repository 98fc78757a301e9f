import assert from "node:assert/strict";
import type { Accounts } from "../../src/store/logins.ts";
import type { ScramSettings, ScramStep } from "../../src/store/scram.ts";
import { ScramExchange } from "../../src/store/scram.ts";
import { hmac, makeCredentials, makeScramKeys, sha256 } from "../../src/store/passwords.ts";
import { pbkdf2Sync } from "node:crypto";
import { CHEAP } from "./temporary_store.ts";

const SECRET = new Uint8Array(32).fill(7);
const PLAIN: ScramSettings = { mechanism: "SCRAM-SHA-256", plusOffered: true, secret: SECRET };
const BINDING = new Uint8Array(32).fill(9);
const PLUS: ScramSettings = { ...PLAIN, mechanism: "SCRAM-SHA-256-PLUS", binding: BINDING };

const user = { address: "Ann@ours.test", displayName: "", addresses: [], deliver: [], sendLimit: 1, created: 0 };
const credentials = await makeCredentials("pencil box", CHEAP);
const ACCOUNTS: Accounts = {
  user: ({ local }) => Promise.resolve(/^(ann|off)$/i.test(local) ? { ...user, enabled: local !== "off" } : undefined),
  credentials: ({ local }) => Promise.resolve(/^(ann|off)$/i.test(local) ? credentials : undefined),
};

interface Client {
  readonly gs2?: string;
  readonly login?: string;
  readonly password?: string;
  readonly binding?: Uint8Array;
  /** Changes the last message before it goes out. */
  readonly forge?: (final: string) => string;
}

/** A client of our own, after RFC 5802 §3 and independent of the code under test but for HMAC and SHA-256. */
async function signIn(
  settings: ScramSettings,
  client: Client = {},
): Promise<ScramStep & { readonly serverSaid?: string }> {
  const { gs2 = "n,,", login = "ann@ours.test", password = "pencil box", binding = new Uint8Array() } = client;
  const exchange = new ScramExchange(ACCOUNTS, settings);
  const bare = `n=${login},r=clientnonce`;
  const first = await exchange.first(gs2 + bare);
  if (first.next !== "client") return first;
  const [, nonce = "", salt = "", iterations = "0"] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(first.message) ?? [];
  assert(nonce.startsWith("clientnonce") && nonce.length > 30);
  const salted = pbkdf2Sync(password, Uint8Array.fromBase64(salt), Number(iterations), 32, "sha256");
  const clientKey = hmac(salted, "Client Key");
  const cbind = new Uint8Array([...new TextEncoder().encode(gs2), ...binding]).toBase64();
  const said = `${bare},${first.message},c=${cbind},r=${nonce}`;
  const signature = hmac(sha256(clientKey), said);
  const proof = clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)).toBase64();
  const final = `c=${cbind},r=${nonce},p=${proof}`;
  const last = exchange.final(client.forge?.(final) ?? final);
  if (last.next === "done") assert.equal(last.message, `v=${hmac(hmac(salted, "Server Key"), said).toBase64()}`);
  return { ...last, serverSaid: first.message };
}

Deno.test("the exchange of RFC 7677 §3 comes out to the letter", async () => {
  const scram = await makeScramKeys("pencil", Uint8Array.fromBase64("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);
  const accounts: Accounts = {
    user: () => Promise.resolve({ ...user, address: "user@ours.test", enabled: true }),
    credentials: () => Promise.resolve({ ...credentials, scram }),
  };
  const exchange = new ScramExchange(accounts, { ...PLAIN, nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" });
  assert.deepEqual(await exchange.first("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), {
    next: "client",
    message: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  });
  assert.deepEqual(
    exchange.final(
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    ),
    { next: "done", message: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", login: "user@ours.test" },
  );
});

Deno.test("the right password signs in, with and without binding, and the server proves itself", async () => {
  const bound = { gs2: "p=tls-server-end-point,,", binding: BINDING };
  for (
    const step of [
      await signIn(PLAIN),
      await signIn(PLAIN, { login: "ANN@Ours.Test" }),
      await signIn(PLAIN, { gs2: "n,a=ann@ours.test," }),
      await signIn({ ...PLAIN, plusOffered: false }, { gs2: "y,," }),
      await signIn(PLUS, bound),
    ]
  ) {
    assert(step.next === "done", JSON.stringify(step));
    assert.equal(step.login, "Ann@ours.test");
  }
});

Deno.test("wrong passwords, unknown and disabled users and forged proofs fail in the same words", async () => {
  const wrong = { next: "wrong", why: "proof" };
  for (
    const client of [
      { password: "Pencil box" },
      { login: "eve@ours.test" },
      { login: "off@ours.test" },
      { login: "no address" },
      { login: "__proto__" },
      { forge: (final: string) => final.replace(/p=..../, "p=AAAA") },
      { forge: (final: string) => final.replace(/p=.*/, "p=AAAA") },
      { forge: (final: string) => final.replace("r=clientnonce", "r=clientnoncf") },
    ]
  ) {
    const { serverSaid: _, ...step } = await signIn(PLAIN, client);
    assert.deepEqual(step, wrong, JSON.stringify(client));
  }
});

Deno.test("an unknown user has a salt that stays the same and looks like any other", async () => {
  const said = async (login: string, secret = SECRET) => {
    const step = await new ScramExchange(ACCOUNTS, { ...PLAIN, secret }).first(`n,,n=${login},r=x`);
    assert(step.next === "client");
    return step.message.replace(/^r=[^,]+,/, "");
  };
  const eve = await said("eve@ours.test");
  assert.equal(await said("EVE@ours.test"), eve);
  assert.notEqual(await said("eva@ours.test"), eve);
  assert.notEqual(await said("eve@ours.test", new Uint8Array(32)), eve);
  const shape = (text: string) => text.replace(/s=[^,]+/, (salt) => `s=${salt.length}`);
  assert.equal(shape(eve), shape(await said("ann@ours.test")));
  // A disabled user gets the salt of one who does not exist: nothing of the record shows.
  assert.equal(shape(await said("off@ours.test")), shape(eve));
});

Deno.test("a downgrade or a foreign certificate is found out", async () => {
  const wrong = { next: "wrong", why: "binding" };
  const gs2 = "p=tls-server-end-point,,";
  const table: readonly [ScramSettings, Client][] = [
    // The client can bind and did not see -PLUS in an EHLO that had it.
    [PLAIN, { gs2: "y,," }],
    [PLAIN, { gs2, binding: BINDING }],
    [PLUS, { gs2: "n,," }],
    [PLUS, { gs2: "y,," }],
    [PLUS, { gs2: "p=tls-unique,,", binding: BINDING }],
    [PLUS, { gs2, binding: new Uint8Array(32) }],
    [PLUS, { gs2 }],
    [{ ...PLAIN, mechanism: "SCRAM-SHA-256-PLUS" }, { gs2, binding: BINDING }],
  ];
  for (const [settings, client] of table) {
    const { serverSaid: _, ...step } = await signIn(settings, client);
    assert.deepEqual(step, wrong, JSON.stringify(client));
  }
  // The header that was sent first cannot be taken back in the last message.
  const { serverSaid: _, ...step } = await signIn({ ...PLAIN, plusOffered: false }, {
    gs2: "y,,",
    forge: (final) => final.replace(/c=[^,]+/, "c=biws"),
  });
  assert.deepEqual(step, wrong);
});

Deno.test("nobody signs in as somebody else", async () => {
  const { serverSaid: _, ...step } = await signIn(PLAIN, { gs2: "n,a=bob@ours.test," });
  assert.deepEqual(step, { next: "wrong", why: "identity" });
});

Deno.test("messages that are not SCRAM are malformed, and an exchange is finished once", async () => {
  const firsts = [
    "",
    "n,,",
    "n=ann,r=x",
    "n,,n=ann",
    "n,,r=x",
    "n,,n=,r=x",
    "n,,n=ann,r=",
    "n,,m=x,n=ann,r=x",
    "x,,n=ann,r=x",
    "n,,n=a=2Xb,r=x",
    "n,,n=a=,r=x",
    "n,,n=ann,r=a b",
    "n,,n=ann,r=\u00e9",
    "p=,,n=ann,r=x",
    "n,b=x,n=ann,r=x",
    "n,a=,n=ann,r=x",
    `n,,n=ann,r=${"x".repeat(5000)}`,
    "n,,n=a\0b,r=x",
  ];
  for (const first of firsts) {
    assert.deepEqual(
      await new ScramExchange(ACCOUNTS, PLAIN).first(first),
      { next: "malformed" },
      JSON.stringify(first),
    );
  }
  for (
    const final of ["", "c=biws", "c=biws,r=x", "c=biws,p=AAAA", "c=!,r=x,p=AAAA", "c=biws,r=x,p=A", "x".repeat(20_000)]
  ) {
    const exchange = new ScramExchange(ACCOUNTS, PLAIN);
    await exchange.first("n,,n=ann@ours.test,r=x");
    assert.deepEqual(exchange.final(final), { next: "malformed" }, JSON.stringify(final.slice(0, 50)));
  }
  assert.deepEqual(new ScramExchange(ACCOUNTS, PLAIN).final("c=biws,r=x,p=AAAA"), { next: "malformed" });
  const exchange = new ScramExchange(ACCOUNTS, PLAIN);
  await exchange.first("n,,n=ann@ours.test,r=x");
  exchange.final("c=biws,r=x,p=AAAA");
  assert.deepEqual(exchange.final("c=biws,r=x,p=AAAA"), { next: "malformed" });
});
