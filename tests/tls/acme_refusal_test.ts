import assert from "node:assert/strict";
import { Acme, readAcmeState } from "../../src/tls/acme.ts";
import type { AcmeSettings } from "../../src/tls/acme_settings.ts";
import { pause, until } from "../support/letters.ts";
import { HURRY, World } from "./acme_world.ts";

const HOUR = 3600_000;

/** An authority that answers its directory and nonces, and to everything else what it is told. */
function authority(answer: (path: string) => Response | Promise<Response>) {
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname, origin } = new URL(request.url);
    asked.push(pathname);
    if (pathname === "/dir") {
      const words = ["newNonce", "newAccount", "newOrder"];
      return Response.json(Object.fromEntries(words.map((word) => [word, `${origin}/${word}`])));
    }
    if (pathname === "/newNonce") return new Response(null, { headers: { "replay-nonce": "bm9uY2U" } });
    return answer(pathname);
  });
  return { asked, directory: `http://127.0.0.1:${server.addr.port}/dir`, close: () => server.shutdown() };
}

function problem(status: number, type: string, detail: string, headers: Record<string, string> = {}): Response {
  return Response.json({ type: `urn:ietf:params:acme:error:${type}`, detail }, {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
}

function settingsAt(world: World, directory: string): AcmeSettings {
  return {
    store: world.store,
    names: ["mail.ours.test"],
    directory,
    challenge: "http-01",
    listen: { hostname: "127.0.0.1", port: 0 },
  };
}

Deno.test("an authority that asks for patience is left alone for as long, over restarts too, but no longer than a day", async () => {
  await using world = await World.make();
  let wait = String(2 * HOUR / 1000);
  const there = authority(() => problem(429, "rateLimited", "too many orders", { "retry-after": wait }));
  try {
    const settings = settingsAt(world, there.directory), acme = await world.start(settings);
    assert.match(
      await world.hasFailed(),
      /^127\.0\.0\.1:\d+ gives no certificate for mail\.ours\.test: too many orders\. It is tried again when /,
    );
    const next = acme.state().nextAttempt - Date.now();
    assert.ok(next > 1.9 * HOUR && next < 2.1 * HOUR, `${next}`);
    await acme.close();
    const calls = there.asked.length;
    const again = await world.start(settings);
    await pause(300);
    assert.equal(there.asked.length, calls);
    assert.equal(again.state().lastError, acme.state().lastError);
    await again.close();

    // A changed configuration is another question.
    wait = new Date(Date.now() + 9 * 24 * HOUR).toUTCString();
    const changed = await world.start({ ...settings, email: "ann@ours.test" });
    await world.hasFailed(2);
    assert.ok(changed.state().nextAttempt - Date.now() <= 24 * HOUR);
    assert.equal(changed.state().failures, 1);
  } finally {
    await there.close();
  }
});

Deno.test("a hint from outside that something was mended is followed at once, but not against what the authority asked for", async () => {
  await using world = await World.make();
  let headers: Record<string, string> = {};
  const there = authority(() => problem(429, "rateLimited", "too many orders", headers));
  try {
    const acme = await world.start(settingsAt(world, there.directory), { ...HURRY, first: HOUR, longest: HOUR });
    await world.hasFailed(1);
    await until(() => acme.state().nextAttempt > Date.now(), "the wait");
    headers = { "retry-after": "7200" };
    acme.hurry();
    await world.hasFailed(2);
    const { nextAttempt } = acme.state(), calls = there.asked.length;
    assert.ok(nextAttempt - Date.now() > 1.9 * HOUR);
    acme.hurry();
    await pause(200);
    assert.equal(there.asked.length, calls);
    assert.ok(Math.abs(acme.state().nextAttempt - nextAttempt) < 1000);
  } finally {
    await there.close();
  }
});

Deno.test("a store that never answers holds up neither the order for ever nor a stop", async () => {
  await using world = await World.make();
  const settings = settingsAt(world, "http://127.0.0.1:9/dir"), failures: string[] = [];
  const acme = await Acme.open(settings, {
    accountKey: () => new Promise(() => {}),
    renewed: () => {},
    log: (_level, _event, fields = {}) => failures.push(String(fields["error"])),
    pace: { ...HURRY, order: 100 },
  });
  acme.start();
  await until(() => failures.length > 1, "the second failure");
  assert.match(failures[0]!, /^The store did not give the key of our account in time\. Look whether /);
  await acme.close();
});

Deno.test("failures are further and further apart, and never in a hot loop", async () => {
  await using world = await World.make();
  const there = authority(() => new Response("<html>\r\n\u001b[31mBad Gateway</html>", { status: 502 }));
  try {
    const acme = await world.start(settingsAt(world, there.directory), { ...HURRY, first: 100, longest: 400 });
    await world.hasFailed(4);
    const times = world.events.map(({ fields }) => Date.parse(String(fields["next"])));
    const waits = times.slice(1).map((time, index) => time - times[index]!);
    // 200, 400, 400 with a tenth more or less, and what a slow machine adds.
    assert.ok(waits[0]! >= 160 && waits[1]! >= 320 && waits[2]! >= 320, `${waits}`);
    assert.equal(acme.state().lastError?.includes("\u001b"), false);
    assert.match(acme.state().lastError!, /it answers 502 to http:/);
  } finally {
    await there.close();
  }
});

Deno.test("a nonce that the authority does not take any more is no failure, and an answer without end is", async () => {
  await using world = await World.make();
  let nonces = 0;
  const terms = () => problem(403, "userActionRequired", "read our new terms");
  const fresh = { "replay-nonce": "bm9uY2Uy" };
  const there = authority(() => nonces++ === 0 ? problem(400, "badNonce", "an old one", fresh) : terms());
  const endless = authority(() => new Response(new Uint8Array(3_000_000)));
  try {
    await world.start(settingsAt(world, there.directory));
    assert.match(await world.hasFailed(), /read our new terms\. Do what it asks for\.$/);
    const failures = world.events.length;
    await world.start({ ...settingsAt(world, endless.directory), names: ["mail.second.test"] });
    const isSaid = ({ fields }: typeof world.events[number]) => /more than 1048576 bytes/.test(String(fields["error"]));
    await until(() => world.events.slice(failures).some(isSaid), "the answer without end");
  } finally {
    await there.close();
    await endless.close();
  }
});

Deno.test("an order has a deadline, and a stop does not wait for it", async () => {
  await using world = await World.make();
  const silence = Promise.withResolvers<Response>();
  const there = authority(() => silence.promise);
  try {
    const settings = settingsAt(world, there.directory);
    const acme = await world.start(settings, { ...HURRY, order: 300 });
    assert.match(await world.hasFailed(), /^The order at .* did not end in time/);
    await acme.close();

    const patient = await world.start({ ...settings, email: "ann@ours.test" });
    await until(() => there.asked.filter((path) => path === "/newAccount").length === 2, "the order");
    const began = performance.now();
    await patient.close();
    assert.ok(performance.now() - began < 1000);
    // It is nobody's failure: the next start begins at once.
    const { failures, nextAttempt } = await readAcmeState({ ...settings, email: "ann@ours.test" });
    assert.deepEqual([failures, nextAttempt <= Date.now()], [0, true]);
  } finally {
    silence.resolve(new Response());
    await there.close();
  }
});

Deno.test("what a crash or a wrong clock leaves behind stops nothing", async () => {
  await using world = await World.make();
  const there = authority(() => problem(403, "userActionRequired", "read our new terms"));
  try {
    const settings = settingsAt(world, there.directory), folder = `${world.store}/acme`;
    await Deno.mkdir(folder);
    await Deno.writeTextFile(`${folder}/mail.ours.test.pem`, "-----BEGIN PRIVATE KEY-----\nMII");
    await Deno.writeTextFile(`${folder}/mail.ours.test.json`, '{"settings": "');
    const acme = await world.start(settings);
    assert.match(await world.hasFailed(), /read our new terms\. Do what it asks for\.$/);
    assert.equal(acme.current, undefined);
    await acme.close();

    // The clock was a year ahead when it failed.
    world.wrong = 365 * 24 * HOUR;
    const ahead = await world.start({ ...settings, email: "ann@ours.test" });
    await world.hasFailed(2);
    await ahead.close();
    world.wrong = 0;
    await world.start({ ...settings, email: "ann@ours.test" });
    await world.hasFailed(3);
  } finally {
    await there.close();
  }
});
