/** Who calls from outside, with any address, by the PROXY protocol. */

import { expect } from "./letters.ts";
import { SmtpPeer } from "./smtp_peer.ts";

export interface Stranger {
  readonly port: number;
  readonly ip: string;
  /** Default: its address as a literal. */
  readonly helo?: string;
  readonly sender: string;
  /** Default: ann@ours.test. */
  readonly recipients?: readonly string[];
  /** Milliseconds to wait for one reply. Default: 60,000. */
  readonly patience?: number;
}

/** The whole message with its dots stuffed, or pieces of one that has no end. */
export type Text = string | Uint8Array | Iterable<Uint8Array>;

export async function callFrom(port: number, ip: string, patience?: number): Promise<SmtpPeer> {
  const peer = await SmtpPeer.call(port, patience);
  await peer.send(`PROXY ${ip.includes(":") ? `TCP6 ${ip} 2001:db8::25` : `TCP4 ${ip} 192.0.2.25`} 4096 25\r\n`);
  return peer;
}

export function literalOf(ip: string): string {
  return ip.includes(":") ? `[IPv6:${ip}]` : `[${ip}]`;
}

/** A whole conversation; the reply that decided, or `closed`. `text` gets its final dot here when it is in one piece. */
export async function handIn(stranger: Stranger, text: Text): Promise<string> {
  const { port, ip, helo = literalOf(ip), sender, recipients = ["ann@ours.test"], patience = 60_000 } = stranger;
  const peer = await callFrom(port, ip, patience);
  try {
    const greeting = await peer.lastLine();
    if (!greeting.startsWith("220")) return greeting;
    const before = [`EHLO ${helo}`, `MAIL FROM:<${sender}>`, ...recipients.map((one) => `RCPT TO:<${one}>`)];
    for (const line of before) {
      const said = await peer.say(line);
      if (!said.startsWith("250")) return said;
    }
    expect(await peer.say("DATA"), "354");
    return await bring(peer, text);
  } catch (error) {
    if (isGone(error)) return "closed";
    throw error;
  } finally {
    peer.close();
  }
}

async function bring(peer: SmtpPeer, text: Text): Promise<string> {
  try {
    if (typeof text === "string" || text instanceof Uint8Array) {
      await peer.send(text);
      await peer.send(".\r\n");
    } else {
      for (const piece of text) await peer.send(piece);
    }
  } catch (error) {
    // Who has heard enough hangs up; what it said before may still be there.
    if (!isGone(error)) throw error;
  }
  return await peer.lastLine();
}

function isGone(error: unknown): boolean {
  const { BrokenPipe, ConnectionReset, ConnectionAborted } = Deno.errors;
  return [BrokenPipe, ConnectionReset, ConnectionAborted].some((kind) => error instanceof kind);
}
