import assert from "node:assert/strict";
import { type Mailbox, parseMailbox } from "../../src/smtp/address.ts";
import { Unsubscribed } from "../../src/store/unsubscribed.ts";
import { UnsubscribeLinks } from "../../src/store/unsubscribe_links.ts";
import { WebhookCalls } from "../../src/store/webhook_calls.ts";
import { failing } from "./failing_kv.ts";
import { otherProcess, withStore } from "./temporary_store.ts";

const ANN = "ann@ours.test", BOB = "bob@ours.test";

function mailbox(text: string): Mailbox {
  return parseMailbox(text) ?? assert.fail(text);
}

Deno.test("who has unsubscribed is on the list of that user, however the address is written", async () => {
  await withStore(async ({ kv }) => {
    const lists = new Unsubscribed(kv, { calls: false, now: () => 1000 });
    await lists.add(mailbox("Carol@Remote.test"), [ANN], { by: "mail", id: "1" });
    for (const address of ["carol@remote.test", "CAROL@remote.test", "carol+news@remote.test"]) {
      assert.equal(await lists.has(ANN, mailbox(address)), true, address);
      assert.equal(await lists.has(BOB, mailbox(address)), false);
    }
    assert.equal(await lists.has("ANN@ours.test", mailbox("carol@remote.test")), true);
    assert.equal(await lists.has(ANN, mailbox("caro@remote.test")), false);
    assert.deepEqual(await lists.list(mailbox(ANN)), [{ address: "carol@remote.test", at: 1000, by: "mail" }]);
    assert.equal(await lists.remove(mailbox(ANN), mailbox("carol@REMOTE.test")), true);
    assert.equal(await lists.remove(mailbox(ANN), mailbox("carol@remote.test")), false);
    assert.equal(await lists.has(ANN, mailbox("carol@remote.test")), false);
  });
});

Deno.test("each comes with one call, however often and by however many processes it is asked for", async () => {
  await withStore(async ({ kv }) => {
    const one = new Unsubscribed(kv, { calls: true }), other = new Unsubscribed(kv, { calls: true });
    const users = Array.from({ length: 90 }, (_, n) => `user${n}@ours.test`);
    await Promise.all([one, other, one].map((lists) => lists.add(mailbox("carol@remote.test"), users, { by: "mail" })));
    const calls = await Array.fromAsync(kv.list({ prefix: ["webhook"] }));
    assert.equal(calls.length, users.length);
  });
});

Deno.test("of several processes each call is put down by one and made by one", async () => {
  await withStore(async ({ folder, kv }) => {
    const said = await Promise.all([1, 2, 3].map(() => otherProcess(folder, "unsubscribe", "30")));
    const claimed = said.flatMap((line): string[] => JSON.parse(line));
    assert.deepEqual(claimed.toSorted(), Array.from({ length: 30 }, (_, n) => `user${n}@ours.test`).toSorted());
    assert.equal((await Array.fromAsync(kv.list({ prefix: ["webhook"] }))).length, 30);
  });
});

Deno.test("of several who take one address off the list, one is told that it was there", async () => {
  await withStore(async ({ kv }) => {
    const lists = new Unsubscribed(kv, { calls: false }), carol = mailbox("carol@remote.test");
    await lists.add(carol, [ANN], { by: "link" });
    const removed = await Promise.all([1, 2, 3].map(() => lists.remove(mailbox(ANN), carol)));
    assert.deepEqual(removed.filter((one) => one), [true]);
  });
});

Deno.test("a user who is named twice is one", async () => {
  await withStore(async ({ kv }) => {
    const lists = new Unsubscribed(kv, { calls: true });
    await lists.add(mailbox("carol@remote.test"), [ANN, "Ann@ours.test", ANN], { by: "mail" });
    assert.equal((await Array.fromAsync(kv.list({ prefix: ["webhook"] }))).length, 1);
  });
});

Deno.test("a call that another has made meanwhile is not put down again", async () => {
  await withStore(async ({ kv }) => {
    let now = Date.now();
    await new Unsubscribed(kv, { calls: true, now: () => now }).add(mailbox("carol@remote.test"), [ANN], {
      by: "link",
    });
    const one = new WebhookCalls(kv, () => now), other = new WebhookCalls(kv, () => now);
    const slow = await one.claim() ?? assert.fail("no call");
    now += 61_000;
    await other.done(await other.claim() ?? assert.fail("not free again"));
    await one.defer(slow, 0);
    assert.equal((await Array.fromAsync(kv.list({ prefix: ["webhook"] }))).length, 0);
  });
});

Deno.test("what cannot be kept is told to the one who asks, and nothing of it is kept", async () => {
  await withStore(async ({ kv }) => {
    const lists = new Unsubscribed(failing(kv, () => true), { calls: true });
    await assert.rejects(lists.add(mailbox("carol@remote.test"), [ANN], { by: "mail" }), /no disk/);
    assert.equal(await lists.has(ANN, mailbox("carol@remote.test")), false);
    assert.equal((await Array.fromAsync(kv.list({ prefix: ["webhook"] }))).length, 0);
  });
});

Deno.test("with a user goes the list", async () => {
  await withStore(async ({ kv, users }) => {
    await users.add({ address: ANN });
    const lists = new Unsubscribed(kv, { calls: false });
    await lists.add(mailbox("carol@remote.test"), [ANN, BOB], { by: "link" });
    await lists.add(mailbox('"a b"@remote.test'), [ANN], { by: "mail" });
    await users.remove(ANN);
    assert.deepEqual(await lists.list(mailbox(ANN)), []);
    assert.equal((await lists.list(mailbox(BOB))).length, 1);
  });
});

Deno.test("a call is claimed by one, free again when that one has ended, and not held by a clock that was set back", async () => {
  await withStore(async ({ kv }) => {
    let now = Date.now();
    await new Unsubscribed(kv, { calls: true, now: () => now }).add(mailbox("carol@remote.test"), [ANN], {
      by: "mail",
    });
    const one = new WebhookCalls(kv, () => now), other = new WebhookCalls(kv, () => now);
    const claims = await Promise.all([one.claim(), other.claim(), one.claim()]);
    assert.equal(claims.filter((claim) => claim !== undefined).length, 1);
    now += 61_000;
    const again = await other.claim() ?? assert.fail("not free again");
    await other.defer(again, 3600_000);
    assert.equal(await one.claim(), undefined);
    now -= 3 * 24 * 3600_000;
    const claimed = await one.claim() ?? assert.fail("held by the clock");
    assert.equal(claimed.attempts, 1);
    await one.done(claimed);
    now += 10 * 24 * 3600_000;
    assert.equal(await one.claim(), undefined);
  });
});

Deno.test("a link is read by those who share the key, and nobody can make or change one", () => {
  const key = new Uint8Array(32).fill(7), links = new UnsubscribeLinks(key);
  const link = links.linkFor("https://mail.ours.test/unsubscribe/", ANN, mailbox("用户+x@remote.test")) ??
    assert.fail("no link");
  assert.match(link, /^https:\/\/mail\.ours\.test\/unsubscribe\/[A-Za-z0-9._-]+$/);
  const token = link.slice(link.lastIndexOf("/") + 1);
  assert.deepEqual(new UnsubscribeLinks(key).read(token), { user: ANN, address: mailbox("用户+x@remote.test") });
  assert.equal(new UnsubscribeLinks(new Uint8Array(32)).read(token), undefined);
  for (let at = 0; at < token.length; at++) {
    const changed = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    assert.equal(links.read(changed), undefined, changed);
  }
  // The last sign of base64 holds bits that mean nothing: with others there it is the same hash, and another token.
  for (const sign of "AQgw".replace(token.at(-1) ?? "", "") + "BRhx") {
    assert.equal(links.read(token.slice(0, -1) + sign), undefined, sign);
  }
  for (
    const odd of ["", ".", "a.b", `${token}.x`, `${token}=`, `${token}!`, "x".repeat(100_000), "%00", "__proto__"]
  ) assert.equal(links.read(odd), undefined, odd.slice(0, 100));
});

Deno.test("there is a link for the longest addresses, and none where its line would be too long", () => {
  const links = new UnsubscribeLinks(new Uint8Array(32)), domain = `${"d".repeat(60)}.test`;
  const long = { local: "l".repeat(254 - 1 - domain.length), domain };
  const base = `https://${"b".repeat(191)}/`, link = links.linkFor(base, `${long.local}@${domain}`, long) ?? "";
  assert.deepEqual(links.read(link.slice(link.lastIndexOf("/") + 1))?.address, long);
  // RFC 5322 §2.1.1.
  assert.ok(`List-Unsubscribe: <${link}>,`.length <= 998);
  const quotes = `"${'\\"'.repeat(240)}"@remote.test`;
  assert.equal(links.linkFor(base, ANN, mailbox(quotes)), undefined);
});
