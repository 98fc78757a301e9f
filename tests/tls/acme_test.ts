import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { acmeAccountKey } from "../../src/store/acme_accounts.ts";
import { Acme, readAcmeState } from "../../src/tls/acme.ts";
import { Certificates } from "../../src/tls/certificates.ts";
import { pause, until } from "../support/letters.ts";
import { withPebble } from "../support/pebble.ts";
import { HURRY, World } from "./acme_world.ts";

/** For looking at what is on disk. */
const NOBODY = { accountKey: () => Promise.resolve(""), renewed: () => {}, log: silent };

const NAMES = ["mail.ours.test", "mail.second.test"];
const HERE = Object.fromEntries(NAMES.map((name) => [name, "127.0.0.1"]));

/** Certificates that it has given out. */
function issued(log: string): number {
  return log.match(/Issued certificate serial/g)?.length ?? 0;
}

for (const challenge of ["http-01", "tls-alpn-01"] as const) {
  withPebble(`a certificate for two names is got by ${challenge}, and is there after a restart`, async (pebble) => {
    await using world = await World.make();
    pebble.publish(HERE);
    const settings = world.settings(pebble, challenge, NAMES);
    const acme = await world.start(settings);
    assert.equal(acme.current, undefined);

    const leaf = await world.hasShown(1);
    for (const name of NAMES) assert.equal(leaf.checkHost(name), name);
    new Certificates([acme.current!]);
    await acme.close();
    assert.equal(acme.state().failures, 0);
    const { notAfter, nextAttempt } = acme.state();
    assert.equal(notAfter, Date.parse(leaf.validTo));
    // A third of its life before its end.
    assert.equal(nextAttempt, notAfter - (notAfter - Date.parse(leaf.validFrom)) / 3);
    // The door is there for the order only.
    await assert.rejects(Deno.connect({ ...settings.listen }));

    const file = `${world.store}/acme/mail.ours.test.pem`, text = await Deno.readTextFile(file);
    assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
    assert.match(text, /^[^\n]+\n-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE/);
    assert.deepEqual(await readAcmeState(settings), acme.state());

    const again = await world.start(settings);
    assert.deepEqual(again.current, acme.current);
    await pause(500);
    assert.equal(issued(pebble.log()), 1);
    assert.equal(world.shown.length, 1);
  });
}

withPebble("a certificate is renewed when a third of its life is left, and not before", async (pebble) => {
  await using world = await World.make();
  pebble.publish(HERE);
  const acme = await world.start(world.settings(pebble));
  const first = await world.hasShown(1);
  await until(() => acme.state().failures === 0, "the first one to be kept");
  const { nextAttempt } = acme.state();

  world.wrong = nextAttempt - Date.now() - 60_000;
  await pause(300);
  assert.equal(world.shown.length, 1);

  world.wrong += 120_000;
  const second = await world.hasShown(2);
  assert.notEqual(second.serialNumber, first.serialNumber);
  assert.equal(second.checkHost("mail.ours.test"), "mail.ours.test");
});

withPebble("while orders fail the old certificate stays, and it is said why", async (pebble) => {
  await using world = await World.make();
  pebble.publish(HERE);
  const settings = world.settings(pebble), acme = await world.start(settings);
  await world.hasShown(1);
  await until(() => acme.state().failures === 0, "the first one to be kept");
  const before = acme.current;
  world.wrong = acme.state().nextAttempt - Date.now() + 60_000;

  pebble.publish({});
  assert.match(
    await world.hasFailed(1),
    /^localhost:\d+ could not see that mail\.ours\.test is ours: .*could not resolve.*\. mail\.ours\.test needs A or AAAA /,
  );
  // Nobody listens there.
  pebble.publish({ "mail.ours.test": "127.0.0.2" });
  await until(() => /refused/.test(acme.state().lastError ?? ""), "the refused connection");
  assert.match(acme.state().lastError!, /and port 80 of each of their addresses has to lead to port \d+ here\.$/);

  await pebble.stop();
  await until(() => /over HTTPS/.test(acme.state().lastError ?? ""), "the silence of the authority");
  assert.match(acme.state().lastError!, /refused.* Look whether this machine can call localhost:\d+ over HTTPS/);

  const { failures, nextAttempt } = acme.state();
  assert.ok(failures >= 3);
  assert.deepEqual(acme.current, before);
  assert.equal(world.shown.length, 1);
  await until(async () => {
    const seen = await readAcmeState(settings, Date.now() + world.wrong);
    return seen.failures >= 3 && seen.nextAttempt >= nextAttempt && seen.lastError !== undefined;
  }, "the same to be on disk");
  assert.ok(world.events.every(({ level, event }) => event !== "certificate-not-renewed" || level === "warning"));
});

withPebble("an authority that is not known over HTTPS gets no order, and directory_ca is named", async (pebble) => {
  await using world = await World.make();
  const { directoryCa: _, ...settings } = world.settings(pebble);
  await world.start(settings);
  assert.match(
    await world.hasFailed(),
    /look at the clock, and for a private one write directory_ca into \[tls\.acme\]/,
  );
  assert.equal(world.events[0]?.level, "error");
});

withPebble("a port that is taken is a sentence, and the authority hears nothing of it", async (pebble) => {
  await using world = await World.make();
  pebble.publish(HERE);
  const settings = world.settings(pebble), other = Deno.listen({ ...settings.listen });
  const acme = await world.start(settings);
  assert.match(
    await world.hasFailed(),
    /^Cannot listen on 127\.0\.0\.1:\d+ for the challenge http-01: another program listens there; /,
  );
  assert.doesNotMatch(pebble.log(), /order-plz/);
  other.close();
  await world.hasShown(1);
  await until(() => acme.state().failures === 0, "success to be kept");
  assert.equal(acme.state().lastError, undefined);
});

withPebble("servers that share a store are one account", async (pebble) => {
  await using one = await World.make();
  await using other = await World.make();
  pebble.publish(HERE);
  const [first, second] = await Promise.all([1, 2].map(() => acmeAccountKey(one.kv, pebble.directory)));
  assert.equal(first, second);
  const settings = { ...other.settings(pebble), names: ["mail.second.test"] };
  await one.start(one.settings(pebble));
  await one.hasShown(1);
  await other.start(settings, HURRY, one.kv);
  await other.hasShown(1);
  assert.match(pebble.log(), /There are now 1 accounts in memory/);
  assert.doesNotMatch(pebble.log(), /There are now 2 accounts in memory/);
});

withPebble("who is killed between the certificate and the disk orders again, but not at once", async (pebble) => {
  await using world = await World.make();
  pebble.publish(HERE);
  const settings = world.settings(pebble);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-all", new URL("./acme_killed.ts", import.meta.url).pathname],
    env: { ACME: JSON.stringify(settings) },
  });
  const { signal, stderr } = await child.output();
  assert.equal(signal, "SIGKILL", new TextDecoder().decode(stderr));
  assert.equal(issued(pebble.log()), 1);

  const { failures, nextAttempt, lastAttempt, notAfter } = await readAcmeState(settings);
  assert.deepEqual([failures, notAfter], [1, undefined]);
  assert.ok(nextAttempt > lastAttempt!);
  const acme = await world.start(settings);
  assert.equal(acme.current, undefined);
  await world.hasShown(1);
  await until(() => acme.state().failures === 0, "the certificate to be kept");
  assert.equal(issued(pebble.log()), 2);
  assert.deepEqual((await Acme.open(settings, NOBODY)).current, acme.current);
});

withPebble("a certificate that cannot be written is shown, and written later without another order", async (pebble) => {
  await using world = await World.make();
  pebble.publish(HERE);
  const settings = world.settings(pebble), blocked = `${world.store}/acme/mail.ours.test.pem.new`;
  await Deno.mkdir(`${blocked}/full`, { recursive: true });
  const acme = await world.start(settings);
  await world.hasShown(1);
  assert.match(
    await world.hasFailed(2),
    /^Cannot write \S+\/acme\/mail\.ours\.test\.pem: Is a directory.*\. Make room on its disk, and look whether the folder/,
  );
  await Deno.remove(blocked, { recursive: true });
  await until(() => acme.state().failures === 0, "it to be written");
  assert.deepEqual((await Acme.open(settings, NOBODY)).current, acme.current);
  assert.equal(issued(pebble.log()), 1);
});

withPebble(
  "while the clock is so far ahead that what comes has ended already, it is not ordered again and again",
  async (pebble) => {
    await using world = await World.make();
    pebble.publish(HERE);
    world.wrong = 20 * 365 * 86_400_000;
    await world.start(world.settings(pebble));
    await world.hasShown(1);
    await pause(1_700);
    assert.equal(issued(pebble.log()), 1);
    await world.hasShown(2);
  },
);

withPebble("another authority, or another name, is a reason to order at once", async (pebble) => {
  await using world = await World.make();
  pebble.publish(HERE);
  const settings = world.settings(pebble), acme = await world.start(settings);
  await world.hasShown(1);
  await acme.close();

  const more = await world.start({ ...settings, names: NAMES });
  assert.deepEqual(more.current, acme.current);
  assert.equal((await world.hasShown(2)).checkHost("mail.second.test"), "mail.second.test");
  await more.close();

  // The same one under another URL.
  const moved = { ...settings, names: NAMES, directory: settings.directory.replace("/dir", "//dir") };
  const { nextAttempt } = await readAcmeState(moved);
  assert.ok(nextAttempt <= Date.now());
});
