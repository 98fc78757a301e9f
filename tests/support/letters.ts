/** What tests say to a server over and over, and how they wait for what becomes of it. */

import type { SmtpPeer } from "./smtp_peer.ts";

/** The reply has to begin so. */
export function expect(said: string, begin: string): string {
  if (!said.startsWith(begin)) throw new Error(`expected ${begin}, heard ${said}`);
  return said;
}

export function plain(login: string, password: string): string {
  return btoa(`\0${login}\0${password}`);
}

let count = 0;

/** A message that can be told from all others by its subject, with this body. */
export function letter(body = "Hello.\r\n", from = "ann@ours.test"): string {
  return `From: ${from}\r\nTo: somebody@remote.test\r\nSubject: letter ${++count} ${crypto.randomUUID()}\r\n` +
    `Date: Sun, 22 Nov 2026 03:00:00 +0000\r\nMessage-ID: <${crypto.randomUUID()}@ours.test>\r\n\r\n${body}`;
}

/** MAIL, RCPT for each and DATA; gives the reply that decided. `text` is sent as it is, and then the final dot. */
export async function send(
  peer: SmtpPeer,
  sender: string,
  recipients: readonly string[],
  text: string,
): Promise<string> {
  const before = [`MAIL FROM:<${sender}>`, ...recipients.map((recipient) => `RCPT TO:<${recipient}>`)];
  for (const line of before) {
    const said = await peer.say(line);
    if (!said.startsWith("250")) return said;
  }
  expect(await peer.say("DATA"), "354");
  return await peer.say(`${text}.`);
}

/** Looks again and again, for ten seconds unless told otherwise (milliseconds). */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  patience = 10_000,
): Promise<void> {
  const deadline = performance.now() + patience;
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`waited ${patience} ms for ${what}`);
    await pause(10);
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
