/**
 * Names whose servers are silent, asked for by as many questions as strangers can bring about: the program keeps the
 * descriptors that it needs to accept, to store and to send, and mail whose names are answered is taken meanwhile.
 */

import assert from "node:assert/strict";
import type { Message } from "../src/dns/wire.ts";
import { lookIn } from "../src/sandbox/zone.ts";
import { parseZone } from "../src/sandbox/zone_file.ts";
import { replyTo, serveScript } from "./support/dns_scripted.ts";
import { expect, letter, pause, until } from "./support/letters.ts";
import { LocalServer } from "./support/local_server.ts";
import { RunningServer } from "./support/running_server.ts";
import { lines, type SmtpPeer } from "./support/smtp_peer.ts";
import { callFrom, handIn, literalOf } from "./support/strangers.ts";

/** What the program may open, and how many sockets the resolver has by default. */
const MAY_OPEN = 512, EXCHANGES = 200;
/** Milliseconds: one try with a silent server, and what a busy machine adds to everything. */
const TRY = 3000, SLACK = 2000;

const ZONE = parseZone(`
$TTL 60
friends.test.         TXT  "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.friends.test.  TXT  "v=DMARC1; p=reject"
`);

class Site {
  /** The most descriptors that were seen. */
  most = 0;
  #watching = true;
  readonly #watch: Promise<void>;

  private constructor(readonly server: RunningServer, readonly silent: readonly Message[]) {
    this.#watch = this.#count();
  }

  static async open(scene: (site: Site) => Promise<void>): Promise<void> {
    const silent: Message[] = [];
    const names = await serveScript({
      udp: (query) => {
        const { name, type } = query.question;
        if (name.endsWith(".evil.test")) return silent.push(query) < 0 ? [] : [];
        const { exists, records } = lookIn(ZONE, name, type);
        return [replyTo(query, { answers: records, code: exists ? 0 : 3 })];
      },
    });
    const local = await LocalServer.prepare({
      reputation: "exempt = []",
      listeners: `[[listeners]]\naddress = "127.0.0.1:0"\nkind = "mx"\nproxy_protocol_from = ["127.0.0.0/8"]\n`,
    });
    try {
      const config = await Deno.readTextFile(local.configFile);
      const servers = `servers = ["127.0.0.1:${names.server.port}"]`;
      await Deno.writeTextFile(local.configFile, config.replace(/^servers = .*$/m, servers));
      const server = await RunningServer.start(local.configFile);
      try {
        await mayOpen(server.pid, MAY_OPEN);
        const site = new Site(server, silent);
        await scene(site).finally(() => site.#end());
      } finally {
        const { code } = await server.stop();
        assert.equal(code, 0);
        assert.deepEqual(server.log.filter((line) => /^\S+ error |Uncaught|[Uu]nhandled|EMFILE/.test(line)), []);
      }
    } finally {
      await local.close();
      await names.close();
    }
  }

  get port(): number {
    return this.server.port("mx");
  }

  async descriptors(): Promise<number> {
    let count = 0;
    for await (const _ of Deno.readDir(`/proc/${this.server.pid}/fd`)) count++;
    return this.most = Math.max(this.most, count), count;
  }

  /** Somebody whose names are all answered; gives the milliseconds that it took. */
  async takesAnHonestLetter(): Promise<number> {
    const began = performance.now(), sender = "carol@friends.test";
    const said = await handIn({ port: this.port, ip: "192.0.2.10", sender }, letter("Hello.\r\n", sender));
    expect(said, "250 2.0.0 Queued");
    return Math.round(performance.now() - began);
  }

  async #count(): Promise<void> {
    while (this.#watching) {
      await this.descriptors();
      await pause(20);
    }
  }

  async #end(): Promise<void> {
    this.#watching = false;
    await this.#watch;
  }
}

/** From now on; for good. */
async function mayOpen(pid: number, count: number): Promise<void> {
  const args = ["--pid", String(pid), `--nofile=${count}:${count}`];
  const { success, stderr } = await new Deno.Command("prlimit", { args, stdout: "null", stderr: "piped" }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

/** Somebody on the line, after EHLO. */
async function caller(port: number, nth: number): Promise<SmtpPeer> {
  const ip = `198.51.${nth >> 8}.${nth & 255}`, peer = await callFrom(port, ip, 30_000);
  expect(await peer.lastLine(), "220");
  expect(await peer.say(`EHLO ${literalOf(ip)}`), "250");
  return peer;
}

async function aPacketOfSenders(): Promise<void> {
  await Site.open(async (site) => {
    const before = await site.descriptors(), quiet = await site.takesAnHonestLetter();
    const peers = await Promise.all(Array.from({ length: 6 }, (_, nth) => caller(site.port, nth)));
    await Promise.all(peers.map(async (peer, nth) => {
      const pairs = Array.from({ length: 480 }, (_, at) => [`MAIL FROM:<a@m${at}.c${nth}.evil.test>`, "RSET"]);
      // Who is told to slow down, or is hung up on, has had his try.
      await peer.send(lines(...pairs.flat()));
    }));
    await until(() => site.silent.length >= peers.length, "questions about the senders");
    const took: number[] = [];
    for (let times = 0; times < 5; times++) {
      took.push(await site.takesAnHonestLetter());
      await pause(200);
    }
    const most = `${before} descriptors before, ${site.most} at most; a letter took ${quiet} ms before, then ${took}`;
    assert.ok(site.most <= before + peers.length + EXCHANGES + 20, most);
    assert.ok(Math.max(...took) <= quiet + SLACK, most);
    for (const peer of peers) peer.close();
  });
}

async function aCrowdOfSenders(): Promise<void> {
  await Site.open(async (site) => {
    const before = await site.descriptors(), quiet = await site.takesAnHonestLetter();
    // More than there are places for questions of callers, and each with one question only.
    const peers = await Promise.all(Array.from({ length: 220 }, (_, nth) => caller(site.port, nth)));
    for (const [nth, peer] of peers.entries()) {
      await peer.send(lines(`MAIL FROM:<a@c${nth}.evil.test>`, "RCPT TO:<ann@ours.test>"));
    }
    await until(() => site.silent.length >= 150, "questions about the senders");
    const took = await site.takesAnHonestLetter();
    const most = `${before} descriptors before, ${site.most} at most; a letter took ${quiet} ms before, then ${took}`;
    assert.ok(site.most <= before + peers.length + EXCHANGES + 20, most);
    // It asks twice, for SPF and then for DMARC, each time behind those who came before.
    assert.ok(took <= quiet + 2 * TRY + SLACK, most);
    for (const peer of peers) peer.close();
    await until(async () => await site.descriptors() <= before + EXCHANGES + 20, "the callers to be gone");
  });
}

Deno.test("silent name servers", async (test) => {
  const step = (name: string, fn: () => Promise<void>) =>
    test.step({ name, fn, sanitizeOps: false, sanitizeResources: false, sanitizeExit: false });
  // Beside each other: they do nothing but wait.
  await Promise.all([
    step("do not cost the program its descriptors when few callers name many senders at once", aPacketOfSenders),
    step("do not cost the program its descriptors when many callers name one sender each", aCrowdOfSenders),
  ]);
});
