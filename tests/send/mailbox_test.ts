import assert from "node:assert/strict";
import { Mailboxes } from "../../src/send/mailbox.ts";
import { contentOf, jobOf, maildir, MESSAGE } from "../support/delivery_job.ts";

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(folder);
  } finally {
    open?.close();
    await Deno.remove(folder, { recursive: true });
  }
}

const list = (folder: string) => Array.from(Deno.readDirSync(folder), ({ name }) => name);
/** A thread each: the last one ends with its test. */
let open: Mailboxes | undefined;
function mailboxes(): Mailboxes {
  open?.close();
  return open = new Mailboxes({ hostname: "mail.dev.test" });
}

Deno.test("mailbox stores the bytes as they came, below who sent it and to whom", async () => {
  await withFolder(async (folder) => {
    const box = `${folder}/dev.test/ann`;
    const job = jobOf([maildir("ann@dev.test", box)], contentOf(MESSAGE, 5));
    const [outcome] = await mailboxes().deliver(job, job.recipients);
    assert.equal(outcome?.result, "delivered");
    const [name] = list(`${box}/new`);
    assert.match(name ?? "", /^1700000000\.job\d+_0\.mail\.dev\.test$/);
    const stored = await Deno.readTextFile(`${box}/new/${name}`);
    assert.equal(stored, `Return-Path: <ann@dev.test>\r\nDelivered-To: ann@dev.test\r\n${MESSAGE}`);
    assert.deepEqual(list(`${box}/tmp`), []);
    assert.equal((await Deno.stat(`${box}/new`)).mode! & 0o777, 0o700);
    assert.equal((await Deno.stat(`${box}/new/${name}`)).mode! & 0o777, 0o600);
  });
});

Deno.test("mailbox stores one copy for each recipient, two of one address included", async () => {
  await withFolder(async (folder) => {
    const job = jobOf([maildir("a@dev.test", folder), maildir("a@dev.test", folder)], MESSAGE, { sender: "" });
    const outcomes = await mailboxes().deliver(job, [0, 1]);
    assert.deepEqual(outcomes.map(({ recipient, result }) => [recipient, result]), [[0, "delivered"], [
      1,
      "delivered",
    ]]);
    assert.equal(list(`${folder}/new`).length, 2);
    assert.match(await Deno.readTextFile(`${folder}/new/${list(`${folder}/new`)[0]}`), /^Return-Path: <>\r\n/);
  });
});

Deno.test("mailbox does not store a copy twice after a crash, whether it was read or not", async () => {
  await withFolder(async (folder) => {
    const job = jobOf([maildir("a@dev.test", folder)]);
    const again = { ...job, uncertain: true };
    await mailboxes().deliver(job, [0]);
    await mailboxes().deliver(again, [0]);
    const [name] = list(`${folder}/new`);
    assert.deepEqual(list(`${folder}/new`), [name]);

    await Deno.rename(`${folder}/new/${name}`, `${folder}/cur/${name}:2,FS`);
    assert.deepEqual((await mailboxes().deliver(again, [0])).map(({ result }) => result), ["delivered"]);
    assert.deepEqual(list(`${folder}/new`), []);
    assert.deepEqual(list(`${folder}/cur`), [`${name}:2,FS`]);
  });
});

Deno.test("mailbox writes over the torn draft of a crash", async () => {
  await withFolder(async (folder) => {
    const job = jobOf([maildir("a@dev.test", folder)]);
    await Deno.mkdir(`${folder}/tmp`);
    await Deno.writeTextFile(`${folder}/tmp/1700000000.${job.id}_0.mail.dev.test`, "torn ".repeat(1000));
    const [outcome] = await mailboxes().deliver({ ...job, uncertain: true }, [0]);
    assert.equal(outcome?.result, "delivered", outcome?.reply.text);
    const [name] = list(`${folder}/new`);
    assert.ok((await Deno.readTextFile(`${folder}/new/${name}`)).endsWith(`\r\n${MESSAGE}`));
  });
});

Deno.test("mailbox keeps the mail for later when it cannot be written, and leaves no draft", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    const job = jobOf([maildir("a@dev.test", `${folder}/file/box`), maildir("b@dev.test", `${folder}/good`)]);
    const outcomes = await mailboxes().deliver(job, [0, 1]);
    assert.deepEqual(outcomes.map(({ result }) => result), ["later", "delivered"]);
    assert.equal(outcomes[0]?.reply.enhanced, "4.3.0");

    async function* broken() {
      yield await Promise.resolve(new Uint8Array(10));
      throw Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" });
    }
    const full = jobOf([maildir("a@dev.test", `${folder}/good`)], { size: 20, pieces: broken });
    const [outcome] = await mailboxes().deliver(full, [0]);
    assert.equal(outcome?.result, "later");
    assert.equal(outcome.reply.enhanced, "4.3.1");
    assert.equal(list(folder).includes("good") ? list(`${folder}/good/new`).length : 1, 1);
  });
});

Deno.test("mailbox takes many messages at once", async () => {
  await withFolder(async (folder) => {
    const boxes = mailboxes();
    const outcomes = await Promise.all(Array.from({ length: 60 }, () => {
      const job = jobOf([maildir("a@dev.test", `${folder}/box`)]);
      return boxes.deliver(job, [0]);
    }));
    assert.ok(outcomes.flat().every(({ result }) => result === "delivered"));
    assert.equal(list(`${folder}/box/new`).length, 60);
  });
});

Deno.test("mailbox does not call stored what is shorter than the message was", async () => {
  await withFolder(async (folder) => {
    const content = { ...contentOf(MESSAGE), size: MESSAGE.length + 1 };
    const job = jobOf([maildir("a@dev.test", folder)], content);
    const [outcome] = await mailboxes().deliver(job, [0]);
    assert.equal(outcome?.result, "later");
    assert.match(outcome?.reply.text ?? "", /shorter than its/);
  });
});
