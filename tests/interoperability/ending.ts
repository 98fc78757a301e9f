/** However the program ends, what it answered with 250 is there afterwards, once. */

import assert from "node:assert/strict";
import { Client } from "../../src/sandbox/client.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";
import { below, letter, newTag, sameBytes } from "./message_text.ts";
import { DOMAIN, PostOffice } from "./post_office.ts";
import { interop } from "./programs.ts";

const KILLS = 5, SESSIONS = 4, ARRIVING = 20, CAROL = "carol@remote.test";
/** A message above this size is kept in parts while it arrives. */
const LONG = 300 * 1024;

interface Sent {
  readonly tag: string;
  readonly message: string;
}

export function tryEnding(): void {
  interop(
    `a server that is killed right after 250 has the message when it is back, once: ${KILLS} kills`,
    [],
    async () => {
      await using office = await opened();
      const promised: Sent[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        const port = office.server.port("mx");
        const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => greeted(port)));
        // One of them is in the middle of a long message.
        const unfinished = await begin(port, text(newTag(), LONG), 0.7);
        const sent = await Promise.all(sessions.map(async (session, index): Promise<Sent> => {
          const tag = newTag(), message = text(tag, index === 0 ? LONG : 500);
          const { code, text: said } = await session.send(CAROL, `ann+${tag}@${DOMAIN}`, message);
          assert.equal(code, 250, said);
          return { tag, message };
        }));
        await office.server.kill();
        unfinished.peer.close();
        promised.push(...sent);
        await office.server.restart();
      }
      await allThereOnce(office, promised);
    },
  );

  interop(
    `SIGTERM while ${ARRIVING} messages arrive: what is answered with 250 is there after a restart`,
    [],
    async () => {
      await using office = await opened();
      const port = office.server.port("mx");
      const letters = Array.from({ length: ARRIVING }, (_, at) => {
        const tag = newTag();
        return { tag, message: text(tag, at % 4 === 0 ? LONG : 2000), ends: at % 5 !== 4 };
      });
      const begun = await Promise.all(letters.map(async (one) => ({ ...one, ...await begin(port, one.message, 0.5) })));
      const idle = await SmtpPeer.call(port);
      await idle.lastLine();
      const stopping = office.server.stop();
      // Who waits for a command is told so, and who sends a message may go on.
      assert.match(await idle.lastLine(), /^421 4\.3\.2 /);
      const answers = await Promise.all(begun.map(async ({ peer, rest, ends, ...one }) => {
        if (ends) await peer.send(rest);
        else await stopping;
        const said = await peer.rest();
        peer.close();
        return { ...one, said, ends };
      }));
      const { code, took } = await stopping;
      assert.equal(code, 0);
      assert.ok(took < 20_000, `it took ${took} ms`);
      for (const { said, ends } of answers) {
        if (ends) assert.match(said, /^250 2\.0\.0 Queued as \S+\r\n(421 4\.3\.2 .*\r\n)?$/);
        else assert.match(said, /^(421 4\.3\.2 .*\r\n)?$/);
      }
      await office.server.restart();
      await allThereOnce(office, answers.filter(({ ends }) => ends));
      for (const { tag, ends } of answers) if (!ends) assert.deepEqual(await office.stored(tag), []);
    },
  );
}

async function opened(): Promise<PostOffice> {
  return await PostOffice.open({ listeners: [{ kind: "mx" }], outbound: 'route = "capture"' });
}

async function greeted(port: number): Promise<Client> {
  const client = await Client.connect(port);
  await client.say("EHLO client.remote.test");
  return client;
}

function text(tag: string, size: number): string {
  const line = "0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefghijklm";
  return letter(CAROL, `ann+${tag}@${DOMAIN}`, ...Array.from({ length: size / (line.length + 2) }, () => line));
}

/** A session that has sent this share of a message, and what it still has to send. */
async function begin(port: number, message: string, share: number): Promise<{ peer: SmtpPeer; rest: string }> {
  const peer = await SmtpPeer.call(port);
  await peer.lastLine();
  await peer.say("EHLO client.remote.test");
  await peer.say(`MAIL FROM:<${CAROL}>`);
  await peer.say(`RCPT TO:<${/^To: <(.*)>/m.exec(message)?.[1]}>`);
  assert.match(await peer.say("DATA"), /^354 /);
  const cut = Math.round(message.length * share);
  await peer.send(message.slice(0, cut));
  return { peer, rest: `${message.slice(cut)}.\r\n` };
}

async function allThereOnce(office: PostOffice, sent: readonly Sent[]): Promise<void> {
  for (const { tag, message } of sent) {
    sameBytes(below(await office.letter(tag)), message);
    assert.equal((await office.stored(tag)).length, 1);
  }
  // Nothing is left to do that could bring a second copy.
  const waiting = JSON.parse(await office.command("queue", "list", "--json"));
  assert.deepEqual(waiting, []);
  for (const { tag } of sent) assert.equal((await office.stored(tag)).length, 1);
}
