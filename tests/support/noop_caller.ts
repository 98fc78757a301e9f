/**
 * Says NOOP every few milliseconds, whether the one before has been answered or not, so that one long silence counts
 * as often as it would have disturbed somebody. A process of its own: `noop_probe.ts` starts it and asks for figures.
 */

import { callFrom } from "./strangers.ts";
import type { SmtpPeer } from "./smtp_peer.ts";

/** Milliseconds between two of them, and until one that is not answered is given up. */
const EVERY = 4, PATIENCE = 30_000;
/** A session may say about 1,000 commands that lead to nothing. */
const EACH_SESSION = 900;

let taken: number[] = [], said = 0, heard = 0;

/** A session that is used up is replaced by one that has been greeted already. */
async function open(port: number, ip: string): Promise<SmtpPeer> {
  const peer = await callFrom(port, ip, PATIENCE);
  await peer.lastLine();
  await peer.say(`EHLO [${ip}]`);
  return peer;
}

async function hear(peer: SmtpPeer, sent: readonly number[]): Promise<void> {
  for (let answered = 0; answered < EACH_SESSION; answered++) {
    const reply = await peer.lastLine();
    if (!reply.startsWith("250")) throw new Error(`NOOP was answered with ${reply}`);
    taken.push(performance.now() - sent[answered]!);
    heard++;
  }
  peer.close();
}

async function talk(port: number, ip: string): Promise<never> {
  let next = open(port, ip);
  while (true) {
    const peer = await next, sent: number[] = [];
    next = open(port, ip);
    const hearing = hear(peer, sent);
    await new Promise<void>((done, fail) => {
      hearing.catch(fail);
      const timer = setInterval(() => {
        sent.push(performance.now());
        said++;
        peer.send("NOOP\r\n").catch(fail);
        if (sent.length < EACH_SESSION) return;
        clearInterval(timer);
        done();
      }, EVERY);
    });
  }
}

/** A line asks for the figures since the last one, in milliseconds; those that wait for their answer belong to them. */
async function tell(): Promise<void> {
  const buffer = new Uint8Array(64);
  while (await Deno.stdin.read(buffer) !== null) {
    for (const all = said; heard < all;) await new Promise((done) => setTimeout(done, 1));
    const times = taken.toSorted((one, other) => one - other);
    taken = [];
    const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Infinity;
    console.log(JSON.stringify({ count: times.length, p50: at(0.5), p99: at(0.99), max: at(1) }));
  }
  Deno.exit(0);
}

if (import.meta.main) {
  const [port, ip = ""] = Deno.args;
  await Promise.race([talk(Number(port), ip), tell()]);
}
