/** Lock-outs over real sockets. The callers come from many networks, by the PROXY protocol. */

import assert from "node:assert/strict";
import { openKv } from "../../src/store/kv.ts";
import { Lockouts } from "../../src/store/lockouts.ts";
import { expect, plain } from "../support/letters.ts";
import { ANN, LocalServer, type LocalSettings, PASSWORD } from "../support/local_server.ts";
import { callFrom, greetingFor, PROXIED } from "../support/proxy_caller.ts";
import { answerToProof, scram } from "../support/scram_client.ts";
import type { SmtpPeer } from "../support/smtp_peer.ts";

const BOB = { address: "bob@ours.test", password: "Crocus-8 meadow" };
const LOCKED_OUT = "421 4.7.0 Too many failed logins from your address: try again later";
const WRONG = "535 5.7.8 User name or password is wrong";

function openServer(settings: LocalSettings = {}): Promise<LocalServer> {
  return LocalServer.open({ users: [ANN, BOB], listeners: PROXIED, ...settings });
}

/** Ready to sign in. */
async function clientFrom(server: LocalServer, host: string): Promise<SmtpPeer> {
  const peer = await callFrom(server, host, "submissions");
  expect(await peer.lastLine(), "220");
  expect(await peer.say("EHLO client.remote.test"), "250");
  return peer;
}

/** In a connection of its own. */
async function signIn(server: LocalServer, host: string, password = "wrong", login = ANN.address): Promise<string> {
  const peer = await clientFrom(server, host);
  const said = await peer.say(`AUTH PLAIN ${plain(login, password)}`);
  peer.close();
  return said;
}

async function lift(server: LocalServer, name: string): Promise<boolean> {
  const kv = await openKv({ store: server.store });
  try {
    const limits = { maxFailures: 3, maxFailuresPerLogin: 10, lockout: 24 * 3600_000 };
    return await new Lockouts(kv, { ...limits, exempt: [] }).lift(name);
  } finally {
    kv.close();
  }
}

/** The lines about logins without their time, which is the only thing that differs between two runs. */
function logged(server: LocalServer): string[] {
  return server.log.map((line) =>
    line.replace(/^\S+ /, "").replace(/(until=)(\S+)/, (_, key, until) => {
      const hours = (Date.parse(until) - Date.now()) / 3600_000;
      return `${key}${hours > 23.9 && hours <= 24 ? "tomorrow" : until}`;
    })
  ).filter((line) => /^\w+ (login-|host-locked|locked-out)/.test(line));
}

Deno.test("three failed logins shut out the network, at the greeting, through restarts, until it is unbanned", async () => {
  await using server = await openServer();
  const peer = await clientFrom(server, "2001:db8:1:2::1");
  for (let time = 1; time <= 3; time++) {
    assert.equal(await peer.say(`AUTH PLAIN ${plain(ANN.address, "wrong")}`), WRONG);
  }
  assert.equal(await peer.lastLine(), "closed");
  peer.close();
  for (let start = 1; start <= 2; start++) {
    for (const kind of ["submission", "submissions"] as const) {
      const refused = await callFrom(server, "2001:db8:1:2::7", kind);
      assert.equal(await refused.lastLine(), LOCKED_OUT, kind);
      assert.equal(await refused.lastLine(), "closed");
      refused.close();
      expect(await greetingFor(server, "2001:db8:1:3::1", kind), "220");
    }
    expect(await greetingFor(server, "2001:db8:1:2::1", "mx"), "220");
    await server.stop();
    await server.start();
  }
  assert.equal(await lift(server, "2001:db8:1:2::99"), true);
  expect(await signIn(server, "2001:db8:1:2::1", PASSWORD), "235");
});

Deno.test("each failure is one line of fixed form, and so are what it locks and who is refused for it", async () => {
  await using server = await openServer({ auth: "max_failures_per_login = 2" });
  await signIn(server, "192.0.2.1");
  await signIn(server, "::ffff:192.0.2.1", "wrong", BOB.address);
  await signIn(server, "64:ff9b::c000:201");
  await greetingFor(server, "192.0.2.1", "submission");
  const forged = `x host=198.51.100.1\r\n"; ${"y".repeat(2000)}`;
  await signIn(server, "2001:db8::1", "wrong", forged);
  assert.deepEqual(logged(server), [
    "warning login-failed connection=1 host=192.0.2.1 login=ann@ours.test failures=1 of=3",
    "warning login-failed connection=2 host=192.0.2.1 login=bob@ours.test failures=2 of=3",
    "warning login-failed connection=3 host=64:ff9b::c000:201 login=ann@ours.test failures=3 of=3",
    "warning host-locked connection=3 host=64:ff9b::c000:201 network=192.0.2.1 failures=3 until=tomorrow",
    "warning login-locked connection=3 host=64:ff9b::c000:201 login=ann@ours.test failures=2 until=tomorrow",
    "info locked-out connection=4 host=192.0.2.1",
    `warning login-failed connection=5 host=2001:db8::1 login=${JSON.stringify(forged.slice(0, 256))} failures=1 of=3`,
  ]);
});

Deno.test("a SCRAM login with a wrong proof counts, as the login that it is", async () => {
  await using server = await openServer();
  for (let time = 1; time <= 3; time++) {
    const peer = await clientFrom(server, "192.0.2.1");
    assert.equal(await scram(peer, ANN.address, "wrong"), WRONG);
    peer.close();
  }
  assert.equal(await greetingFor(server, "192.0.2.1", "submissions"), LOCKED_OUT);
  assert.match(logged(server)[2] ?? "", / login=ann@ours\.test failures=3 of=3$/);
});

Deno.test("what is cancelled, malformed or not offered is no failed login", async () => {
  await using server = await openServer();
  for (let time = 1; time <= 4; time++) {
    const peer = await clientFrom(server, "192.0.2.1");
    expect(await peer.say("AUTH PLAIN"), "334");
    expect(await peer.say("*"), "501 5.7.0");
    expect(await peer.say("AUTH PLAIN AAAA"), "501 5.5.2");
    expect(await peer.say("AUTH CRAM-MD5"), "504");
    expect(await peer.say(`AUTH SCRAM-SHA-256 ${btoa(`n,,n=${ANN.address},r=abc`)}`), "334");
    expect(await peer.say("*"), "501 5.7.0");
    expect(await peer.say(`AUTH SCRAM-SHA-256 ${btoa(`n,,n=${ANN.address},r=abc`)}`), "334");
    expect(await peer.say(btoa("nonsense")), "501 5.5.2");
    peer.close();
  }
  expect(await signIn(server, "192.0.2.1", PASSWORD), "235");
  assert.deepEqual(logged(server), []);
});

Deno.test("an account of one's own does not help to guess the password of others", async () => {
  await using server = await openServer();
  for (let time = 1; time <= 3; time++) {
    expect(await signIn(server, "192.0.2.1", BOB.password, BOB.address), "235");
    assert.equal(await signIn(server, "192.0.2.1"), WRONG);
  }
  assert.equal(await greetingFor(server, "192.0.2.1", "submissions"), LOCKED_OUT);
});

Deno.test("sessions that were open before, and those that guess at once, get no further than one after the other", async () => {
  await using server = await openServer();
  const peers = await Promise.all(Array.from({ length: 12 }, () => clientFrom(server, "192.0.2.1")));
  const last = peers.pop()!;
  // Two are hashed at a time: no more than one has been let in beyond the three.
  const said = await Promise.all(peers.map((peer) => peer.say(`AUTH PLAIN ${plain(ANN.address, "wrong")}`)));
  assert.ok(said.filter((one) => one === WRONG).length >= 3);
  const counted = logged(server).filter((line) => line.includes("login-failed"));
  assert.match(counted.at(-1) ?? "", /failures=3 of=3$/);
  assert.equal(await last.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), LOCKED_OUT);
  assert.equal(await last.lastLine(), "closed");
  for (const peer of [...peers, last]) peer.close();
});

Deno.test("a login that strangers have locked says and lasts the same for the right, the wrong and no password, and its owner stays in", async () => {
  await using server = await openServer();
  const timed = async (host: string, password: string, login?: string) => {
    const peer = await clientFrom(server, host), began = performance.now();
    const said = await peer.say(`AUTH PLAIN ${plain(login ?? ANN.address, password)}`);
    peer.close();
    return { said, took: performance.now() - began };
  };
  // Remembered from here on, so that it takes no time any more.
  expect(await signIn(server, "192.0.2.1", PASSWORD), "235");
  const remembered = await timed("192.0.2.1", PASSWORD);
  expect(remembered.said, "235");
  for (let host = 1; host <= 10; host++) assert.equal(await signIn(server, `203.0.113.${host}`), WRONG);
  assert.ok(logged(server).some((line) => / login-locked .* login=ann@ours\.test failures=10 /.test(line)));

  const stranger = await timed("198.51.100.1", "wrong", "nobody@ours.test");
  const right = await timed("198.51.100.2", PASSWORD), wrong = await timed("198.51.100.3", "wrong");
  assert.deepEqual([stranger.said, right.said, wrong.said], [WRONG, WRONG, WRONG]);
  for (const { took } of [right, wrong]) {
    assert.ok(took > stranger.took / 2 && took > remembered.took * 3, `${took} ms, ${stranger.took} for a stranger`);
  }
  // The right password counts like a wrong one against the network: it must not show there either.
  assert.match(logged(server).at(-2) ?? "", / host=198\.51\.100\.2 login=ann@ours\.test failures=1 of=3$/);
  const peer = await clientFrom(server, "198.51.100.4");
  assert.equal(await answerToProof(peer, ANN.address, PASSWORD), WRONG);
  peer.close();

  expect(await signIn(server, "192.0.2.1", PASSWORD), "235");
  assert.equal(await lift(server, ANN.address), true);
  expect(await signIn(server, "198.51.100.2", PASSWORD), "235");
});

Deno.test("a lock-out has the length and the limits of the config", async () => {
  await using server = await openServer({ auth: 'max_failures = 1\nlockout = "30d"' });
  const peer = await clientFrom(server, "192.0.2.1");
  assert.equal(await peer.say(`AUTH PLAIN ${plain(ANN.address, "wrong")}`), WRONG);
  assert.equal(await peer.lastLine(), "closed");
  peer.close();
  assert.equal(await greetingFor(server, "192.0.2.1", "submissions"), LOCKED_OUT);
  const until = Date.parse(/host-locked .* until=(\S+)/.exec(server.log.join("\n"))?.[1] ?? "");
  assert.equal(Math.round((until - Date.now()) / 3600_000), 30 * 24);
});
