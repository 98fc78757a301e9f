import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import type { Captured } from "../../src/send/capture.ts";
import { type DeliverySettings, laneOf, openDelivery } from "../../src/send/deliver.ts";
import { dnsOf, jobOf, maildir, MESSAGE, remote, type ZoneOfNames } from "../support/delivery_job.ts";
import { RemoteServer } from "../support/remote_server.ts";

const ZONE: ZoneOfNames = {
  mx: { "remote.test": ["10 mx.remote.test"], "null.test": ["0 "] },
  a: { "mx.remote.test": ["127.0.0.1"] },
  failing: ["broken.test"],
};

function deliveryOf(settings: Partial<DeliverySettings> = {}, zone = ZONE) {
  return openDelivery(
    { hostname: "mail.dev.test", routes: [], allowPrivate: ["127.0.0.0/8"], ...settings },
    {
      dns: dnsOf(zone),
      log: silent,
      ownAddresses: () => [],
      now: () => 1_700_000_000_000,
      returnPathOf: (sender) => Promise.resolve(sender),
    },
  );
}

Deno.test("lane is the folder or the domain", () => {
  assert.equal(laneOf({ to: "remote", address: "a@Example.Org" }), "domain:example.org");
  assert.equal(laneOf({ to: "remote", address: '"a@b"@example.org' }), "domain:example.org");
  assert.equal(laneOf({ to: "maildir", path: "/var/mail/ann" }), "mailbox:/var/mail/ann");
});

Deno.test("deliver brings mail to the server that the MX names", async () => {
  await using server = new RemoteServer();
  const delivery = deliveryOf({ port: server.port });
  const outcomes = await delivery.deliver(jobOf([remote("bob@remote.test"), remote("eve@remote.test")]));
  await delivery.close();
  assert.deepEqual(outcomes.map(({ recipient, result }) => [recipient, result]), [[0, "delivered"], [1, "delivered"]]);
  assert.equal(server.messages.length, 1);
});

Deno.test("deliver says what the DNS said, and that nobody need ask again at once", async () => {
  const delivery = deliveryOf();
  const outcome = async (address: string) => (await delivery.deliver(jobOf([remote(address)])))[0];
  assert.equal((await outcome("a@null.test"))?.reply.code, 556);
  assert.equal((await outcome("a@missing.test"))?.result, "failed");
  const broken = await outcome("a@broken.test");
  assert.equal(broken?.result, "later");
  assert.equal(broken.unreachable, true);
  assert.equal(broken.reply.host, "dns");
});

Deno.test("deliver never rejects", async () => {
  const throws = {
    size: 5,
    pieces: () => {
      throw new Error("damaged");
    },
  };
  const delivery = deliveryOf();
  const [outcome] = await delivery.deliver(jobOf([remote("a@remote.test")], throws));
  assert.equal(outcome?.result, "later");
  assert.equal(outcome.reply.text, "damaged");
  assert.deepEqual(await delivery.deliver({ ...jobOf([]), recipients: [3] }), []);
});

Deno.test("deliver captures each conversation that would have taken place", async () => {
  const store = await Deno.makeTempDir();
  try {
    const outbox = `${store}/outbox`;
    const delivery = deliveryOf({ outbox });
    const job = jobOf([
      remote("bob@remote.test", { notify: ["NEVER"] }),
      remote("eve@remote.test"),
      maildir("ann@dev.test", `${store}/ann`),
    ]);
    const [one, other] = await Promise.all([delivery.deliver(job), delivery.deliver({ ...job, recipients: [1] })]);
    assert.ok([...one, ...other].every(({ result }) => result === "delivered"));
    assert.equal((await delivery.deliver(jobOf([remote("a@null.test")])))[0]?.result, "failed");

    const files = Array.from(Deno.readDirSync(outbox), ({ name }) => name).sort();
    assert.deepEqual(files, [`${job.id}-2.eml`, `${job.id}-2.json`, `${job.id}.eml`, `${job.id}.json`].sort());
    for (const name of files.filter((file) => file.endsWith(".eml"))) {
      assert.equal(await Deno.readTextFile(`${outbox}/${name}`), MESSAGE);
    }
    const captured = await Promise.all(
      [job.id, `${job.id}-2`].map(async (id): Promise<Captured> =>
        JSON.parse(await Deno.readTextFile(`${outbox}/${id}.json`))
      ),
    );
    const both = captured.find(({ recipients }) => recipients.length === 2);
    assert.deepEqual(both, {
      id: job.id,
      time: "2023-11-14T22:13:20.000Z",
      host: "mx.remote.test",
      port: 25,
      sender: "ann@dev.test",
      recipients: [{ address: "bob@remote.test", notify: ["NEVER"] }, { address: "eve@remote.test" }],
      body: "8BITMIME",
      smtputf8: false,
    });
  } finally {
    await Deno.remove(store, { recursive: true });
  }
});
