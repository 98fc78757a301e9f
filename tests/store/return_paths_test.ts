import assert from "node:assert/strict";
import { type Mailbox, parseMailbox } from "../../src/smtp/address.ts";
import { openKv } from "../../src/store/kv.ts";
import { ReturnPaths } from "../../src/store/return_paths.ts";

const DAY = 24 * 3600_000;
const LONG = "bounces+1234567-8ab1-bob=ours.test.and.more.of.it@mail.remote.test";

async function withPaths(
  scene: (open: (now?: () => number) => ReturnPaths, kv: Deno.Kv) => Promise<void>,
): Promise<void> {
  const store = await Deno.makeTempDir(), kv = await openKv({ store });
  try {
    await scene((now) => new ReturnPaths(kv, { ...now && { now } }), kv);
  } finally {
    kv.close();
    await Deno.remove(store, { recursive: true });
  }
}

function mailbox(text: string): Mailbox {
  return parseMailbox(text) ?? assert.fail(text);
}

Deno.test("what one process forwards another one can bring back, at once and after a restart", async () => {
  await withPaths(async (open) => {
    const [one, other] = [open(), open()];
    // Both begin on an empty store at the same time.
    const addresses = await Promise.all([one.of("carol@remote.test", "ours.test"), other.of(LONG, "ours.test")]);
    for (const paths of [one, other, open()]) {
      assert.deepEqual(await paths.senderOf(mailbox(addresses[0])), { to: mailbox("carol@remote.test") });
      assert.deepEqual(await paths.senderOf(mailbox(addresses[1])), { to: mailbox(LONG) });
    }
  });
});

Deno.test("keys change every 90 days; what was made with the one before is still read, and that of long ago is not", async () => {
  await withPaths(async (open) => {
    let now = Date.now();
    const clock = () => now;
    const before = await open(clock).of("SRS0=a=b=c.test=d@first.test", "ours.test");
    now += 91 * DAY;
    // A path of a forwarder before us bears no date: its key is all that ends it.
    const after = await open(clock).of("SRS0=a=b=c.test=d@first.test", "ours.test");
    assert.notEqual(after, before);
    assert.equal((await open(clock).senderOf(mailbox(before))).to !== "nobody", true);
    for (let turn = 0; turn < 2; turn++) {
      now += 91 * DAY;
      await open(clock).of("x@remote.test", "ours.test");
    }
    assert.deepEqual(await open(clock).senderOf(mailbox(before)), { to: "nobody", because: "forged" });
  });
});

Deno.test("a server that does not know yet of the key that another one has begun looks again", async () => {
  await withPaths(async (open) => {
    let now = Date.now();
    const old = open();
    await old.of("x@remote.test", "ours.test");
    const ahead = open(() => now);
    now += 2 * 91 * DAY;
    // SRS1 bears no date, by which the clock of the old one would judge it.
    const path = await ahead.of("SRS0=a=b=c.test=d@first.test", "ours.test");
    assert.deepEqual(await old.senderOf(mailbox(path)), { to: mailbox("SRS0=a=b=c.test=d@first.test") });
  });
});

Deno.test("a sender that is not kept any more is expired, and a store that fails is an error and no forgery", async () => {
  await withPaths(async (open, kv) => {
    const path = mailbox(await open().of(LONG, "ours.test"));
    for await (const { key } of kv.list({ prefix: ["sender"] })) await kv.delete(key);
    assert.deepEqual(await open().senderOf(path), { to: "nobody", because: "expired" });
    const broken = new ReturnPaths({ get: () => Promise.reject(new Error("the disk is gone")) } as unknown as Deno.Kv);
    await assert.rejects(broken.senderOf(path), /the disk is gone/);
    await assert.rejects(broken.of("carol@remote.test", "ours.test"), /the disk is gone/);
  });
});
