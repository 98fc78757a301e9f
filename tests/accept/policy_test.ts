import assert from "node:assert/strict";
import type { Host } from "../../src/accept/connection.ts";
import { Intake } from "../../src/accept/intake.ts";
import { Policy, type PolicyParts } from "../../src/accept/policy.ts";
import { NotSent, submit } from "../../src/accept/submit.ts";
import type { Exchange } from "../../src/smtp/effect.ts";
import { reply } from "../../src/smtp/reply.ts";
import type { ScramStep } from "../../src/store/scram.ts";

const LIMITS = { maxHeader: 1 << 18, maxFields: 1000, maxFolds: 500, maxMessageSize: 1000 };

/** What `maildemon send` hands in for this text. */
async function handedIn(message: string, user?: string): Promise<string> {
  const bodies: string[] = [];
  const host: Host = {
    answer: () => Promise.resolve(reply(250, "2.0.0", "Ok")),
    body: (bytes) => void bodies.push(new TextDecoder().decode(bytes)),
    discard: () => {},
  };
  await submit({ message: new TextEncoder().encode(message), recipients: ["bob@remote.test"], ...(user && { user }) }, {
    limits: LIMITS,
    ownerOf: ({ local }) => Promise.resolve(local === "ann" || local === "info" ? "ann@ours.test" : undefined),
    hostFor: () => host,
  });
  return bodies.join("");
}

Deno.test("send makes every kind of line end CRLF, and ends the last line", async () => {
  const lines = "From: ann@ours.test\r\n\r\none\r\ntwo\r\n\r\nthree\r\n";
  for (const ends of ["\n", "\r\n", "\r"]) assert.equal(await handedIn(lines.replaceAll("\r\n", ends)), lines);
  assert.equal(await handedIn("From: ann@ours.test\n\none\r\ntwo\r\r\nthree"), lines);
});

Deno.test("send holds max_message_size against what would be queued, with its line ends made CRLF", async () => {
  const header = "From: ann@ours.test\n\n",
    fits = header + "\n".repeat((LIMITS.maxMessageSize - header.length - 2) / 2);
  await handedIn(fits.slice(0, -1));
  await assert.rejects(
    handedIn(`${fits}\n\n`),
    (error) => error instanceof NotSent && /max_message_size allows 1000\.$/.test(error.message),
  );
});

Deno.test("send says when there is no such user", async () => {
  assert.match(await handedIn("\nHello.\n", "ann@ours.test"), /^From: ann@ours\.test\r\n/);
  const refused = (why: RegExp) => (error: unknown) => error instanceof NotSent && why.test(error.message);
  await assert.rejects(handedIn("\nHello.\n", "zoe@ours.test"), refused(/^There is no user zoe@ours\.test:/));
  await assert.rejects(handedIn("From: zoe@ours.test\n\n"), refused(/^zoe@ours\.test belongs to none of the users/));
});

/** A policy whose SCRAM dialogs go as told, and the names that it logs. */
function scripted(finals: readonly ScramStep[]) {
  const logged: string[] = [], left = [...finals];
  const step: ScramStep = { next: "client", message: "r=ab,s=YQ==,i=1" };
  const parts = {
    scram: () => ({ first: () => Promise.resolve(step), final: () => left.shift() ?? { next: "malformed" } }),
    lockedOut: () => Promise.resolve(undefined),
    loginFailed: (_caller: unknown, login: string) => Promise.resolve(logged.push(login) < 0),
    loginSucceeded: () => Promise.resolve(),
  } as unknown as PolicyParts;
  const caller = { id: "1", kind: "submission", host: "192.0.2.1", port: 1 } as const;
  const policy = new Policy(parts, caller, {} as never, {} as Intake);
  const say = async (message: string, first = false) => {
    const exchange: Exchange = { about: "exchange", mechanism: "SCRAM-SHA-256", first, message };
    return (await policy.answer(exchange)).code;
  };
  return { say, logged };
}

Deno.test("a failed SCRAM login is logged with the name that the client gave, which its last message does not repeat", async () => {
  const { say, logged } = scripted([{ next: "wrong", why: "proof" }]);
  assert.equal(await say("n,,n=ann@ours.test,r=a", true), 334);
  assert.equal(await say("c=biws,r=ab,p=AAAA"), 535);
  assert.deepEqual(logged, ["ann@ours.test"]);
});

Deno.test("a SCRAM login that was broken off behind its proof can be begun anew", async () => {
  const done: ScramStep = { next: "done", message: "v=YQ==", login: "ann@ours.test" };
  const { say } = scripted([done, done]);
  for (const end of [undefined, 235]) {
    assert.equal(await say("n,,n=ann@ours.test,r=a", true), 334);
    assert.equal(await say("c=biws,r=ab,p=AAAA"), 334);
    if (end !== undefined) assert.equal(await say(""), end);
  }
});

for (const [side, code] of [["network", 421], ["login", 535]] as const) {
  Deno.test(`the right password is of no use when the ${side} was locked while it was looked at`, async () => {
    const locks = [undefined, side], logged: string[] = [];
    const parts = {
      verifyPassword: (login: string) => Promise.resolve({ result: "right", login }),
      lockedOut: () => Promise.resolve(locks.shift()),
      loginFailed: (_caller: unknown, login: string) => Promise.resolve(logged.push(login) < 0),
    } as unknown as PolicyParts;
    const caller = { id: "1", kind: "submission", host: "192.0.2.1", port: 1 } as const;
    const policy = new Policy(parts, caller, {} as never, {} as Intake);
    const said = await policy.answer({ about: "credentials", login: "ann@ours.test", password: "right" });
    assert.equal(said.code, code);
    assert.deepEqual(logged, side === "login" ? ["ann@ours.test"] : []);
    assert.ok(!("user" in caller));
  });
}
