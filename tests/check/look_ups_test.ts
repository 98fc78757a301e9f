import assert from "node:assert/strict";
import { LookUps } from "../../src/check/look_ups.ts";
import type { Claim, SpfFinding } from "../../src/check/spf.ts";
import type { Dns, Limits, Lookup } from "../../src/dns/records.ts";

/** Answers nothing until it is told to give up, and counts how many questions are open. */
class SilentDns {
  open = 0;
  asked = 0;

  readonly dns: Dns = new Proxy({} as Dns, {
    get: () => (...args: readonly unknown[]) => this.#wait(args.at(-1) as Limits),
  });

  #wait({ signal }: Limits): Promise<Lookup<never>> {
    this.open++;
    this.asked++;
    return new Promise((resolve) =>
      signal?.addEventListener("abort", () => {
        this.open--;
        resolve({ outcome: "timed out", reason: "given up" });
      })
    );
  }
}

/** Evaluations of SPF that end when the test says so. */
class SlowSpf {
  readonly claims: Claim[] = [];
  readonly #done: (() => void)[] = [];

  check(claim: Claim): Promise<SpfFinding> {
    this.claims.push(claim);
    return new Promise((resolve) =>
      this.#done.push(() => resolve({ result: "pass", domain: claim.sender, identity: "mailfrom" }))
    );
  }

  finish(): void {
    for (const done of this.#done.splice(0)) done();
  }
}

function lookUps(dns: Dns, spf = new SlowSpf()): LookUps {
  return new LookUps({ dns, dnsbl: [], spf }, "192.0.2.7", () => {});
}

const turn = () => new Promise<void>((done) => setTimeout(done, 1));
const claim = (sender: string): Claim => ({ host: "192.0.2.7", hello: "a.test", sender });

Deno.test("who takes one name after the other has questions open for the last one alone", async () => {
  const silent = new SilentDns(), about = lookUps(silent.dns);
  for (let at = 0; at < 200; at++) {
    about.helo(`name${at}.test`);
    await turn();
  }
  assert.equal(silent.asked, 200);
  assert.equal(silent.open, 1);
  about.end();
  await turn();
  assert.equal(silent.open, 0);
});

Deno.test("the same name is asked for once, also when it comes again under TLS", async () => {
  const silent = new SilentDns(), about = lookUps(silent.dns);
  assert.equal(about.helo("a.test"), about.helo("a.test"));
  await turn();
  assert.equal(silent.asked, 1);
  about.end();
});

Deno.test("of MAIL and RSET by turns one sender is looked up at a time, and then only the last one", async () => {
  const spf = new SlowSpf(), about = lookUps(new SilentDns().dns, spf);
  const first = about.spf(claim("a@m0.test"));
  await turn();
  const found = Array.from({ length: 499 }, (_, at) => about.spf(claim(`a@m${at + 1}.test`)));
  await turn();
  assert.deepEqual(spf.claims.map(({ sender }) => sender), ["a@m0.test"]);
  spf.finish();
  await turn();
  assert.deepEqual(spf.claims.map(({ sender }) => sender), ["a@m0.test", "a@m499.test"]);
  spf.finish();
  assert.equal((await first)?.domain, "a@m0.test");
  assert.deepEqual((await found.at(-1))?.domain, "a@m499.test");
  assert.equal((await found[7])?.result, "temperror");
});

Deno.test("nobody is looked up any more for a peer that is gone", async () => {
  const spf = new SlowSpf(), about = lookUps(new SilentDns().dns, spf);
  about.spf(claim("a@one.test"));
  await turn();
  about.spf(claim("a@two.test"));
  await turn();
  about.end();
  spf.finish();
  await turn();
  assert.deepEqual(spf.claims.map(({ sender }) => sender), ["a@one.test"]);
});
