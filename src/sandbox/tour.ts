/** One message along every path of a running `maildemon dev`, each looked for where it has to arrive. */

import { join } from "node:path";
import { checkDkim } from "../check/dkim.ts";
import type { Dns } from "../dns/records.ts";
import { reasonOf } from "../log.ts";
import { WorkerPool } from "../worker/pool.ts";
import type { Signature, VerifyRequest } from "../worker/verify.ts";
import { Client } from "./client.ts";

export interface TourSettings {
  readonly store: string;
  readonly ports: Readonly<Record<"mx" | "submission" | "submissions", number>>;
  /** PEM of the authority that the certificate is from. */
  readonly authority: string;
  readonly password: string;
  readonly dns: Dns;
}

export interface Step {
  readonly name: string;
  /** What was seen, or what went wrong. */
  readonly seen: string;
  readonly ok: boolean;
  /** Milliseconds. */
  readonly took: number;
}

/** How long a message may take to arrive, milliseconds. */
const ARRIVAL = 5_000;
const ANN = "ann@dev.test", CAROL = "carol@remote.test";

/** Walks all paths, one after the other, and tells of each as soon as it is over. True when all went as they should. */
export async function walk(settings: TourSettings, tell: (step: Step) => void): Promise<boolean> {
  let all = true;
  for (const [name, path] of paths(settings)) {
    const began = performance.now();
    const { seen, ok } = await path().then(
      (seen) => ({ seen, ok: true }),
      (error: unknown) => ({ seen: reasonOf(error), ok: false }),
    );
    all &&= ok;
    tell({ name, seen, ok, took: performance.now() - began });
  }
  return all;
}

function paths(settings: TourSettings): readonly (readonly [name: string, path: () => Promise<string>])[] {
  const { ports } = settings;
  const inbox = join(settings.store, "mail", "dev.test", "ann", "new"), outbox = join(settings.store, "outbox");
  /** Under which the forwarded message left. */
  let returnPath = "";
  return [
    ["in from outside, stored", async () => {
      const token = fresh();
      await fromOutside(ports.mx, CAROL, ANN, token, 250);
      const text = await arrival(inbox, token);
      if (!text.endsWith(messageOf(CAROL, ANN, token))) throw new Error("it arrived, but its bytes have changed");
      return `in the Maildir of ${ANN}, byte for byte`;
    }],
    ["in from outside, forwarded", async () => {
      const token = fresh();
      await fromOutside(ports.mx, CAROL, "bob@dev.test", token, 250);
      const { text, sender } = await leaving(outbox, token, "bob@remote.test");
      if (!text.endsWith(messageOf(CAROL, "bob@dev.test", token))) {
        throw new Error("it left, but its bytes have changed");
      }
      if (!sender.startsWith("SRS0=")) throw new Error(`it left as mail of ${sender}`);
      returnPath = sender;
      return `left for bob@remote.test byte for byte, as ${sender}`;
    }],
    ["a bounce of it, returned to its sender", async () => {
      const token = fresh();
      await fromOutside(ports.mx, "", returnPath, token, 250);
      await leaving(outbox, token, CAROL);
      return `left for ${CAROL}`;
    }],
    ["unsigned, of a strict domain, forwarded", async () => {
      const token = fresh(), dora = "dora@strict.test";
      await fromOutside(ports.mx, dora, "bob@dev.test", token, 250);
      const { text } = await leaving(outbox, token, "bob@remote.test");
      if (!text.includes(`\r\nReply-To: ${dora}\r\n`)) throw new Error("answers to it would not get to its author");
      return await verified(settings, text);
    }],
    ["submitted with STARTTLS, signed, sent", async () => {
      const token = fresh();
      const client = await Client.connect(ports.submission);
      client.expect(250, await client.say("EHLO client.dev.test"));
      await client.startTls(settings.authority);
      await submit(client, settings.password, CAROL, token);
      return await verified(settings, (await leaving(outbox, token, CAROL)).text);
    }],
    ["submitted over implicit TLS, signed, sent", async () => {
      const token = fresh();
      const client = await Client.connect(ports.submissions, settings.authority);
      client.expect(250, await client.say("EHLO client.dev.test"));
      await submit(client, settings.password, "dave@plain.test", token);
      return await verified(settings, (await leaving(outbox, token, "dave@plain.test")).text);
    }],
    ["submitted to nowhere, bounced", async () => {
      const token = fresh();
      const client = await Client.connect(ports.submissions, settings.authority);
      client.expect(250, await client.say("EHLO client.dev.test"));
      await submit(client, settings.password, "eve@missing.test", token);
      const bounce = await arrival(inbox, token, /^Content-Type: multipart\/report/im);
      if (!/^Action: failed/im.test(bounce)) throw new Error("the bounce does not say what failed");
      return `a bounce told ${ANN} that missing.test does not exist`;
    }],
    ["to an address that does not exist, refused", () => refused(ports.mx, CAROL, "nobody@dev.test", 550)],
    ["for somebody else's domain, refused", () => refused(ports.mx, CAROL, "x@elsewhere.test", 550)],
    ["with a forged sender, refused by SPF", () => refused(ports.mx, "boss@forged.test", ANN, 550)],
  ];
}

async function fromOutside(
  port: number,
  sender: string,
  recipient: string,
  token: string,
  code: number,
): Promise<string> {
  const client = await Client.connect(port);
  client.expect(250, await client.say("EHLO client.remote.test"));
  const heard = client.expect(code, await client.send(sender, recipient, messageOf(sender, recipient, token)));
  await client.quit();
  return heard.text;
}

async function refused(port: number, sender: string, recipient: string, code: number): Promise<string> {
  return await fromOutside(port, sender, recipient, fresh(), code);
}

async function submit(client: Client, password: string, recipient: string, token: string): Promise<void> {
  client.expect(235, await client.say(`AUTH PLAIN ${btoa(`\0${ANN}\0${password}`)}`));
  client.expect(250, await client.send(ANN, recipient, messageOf(ANN, recipient, token)));
  await client.quit();
}

function messageOf(from: string, to: string, token: string): string {
  return `From: ${
    from || "MAILER-DAEMON@remote.test"
  }\r\nTo: ${to}\r\nSubject: a walk through maildemon\r\nX-Walk: ${token}\r\n\r\nHello from ${token}.\r\n`;
}

function fresh(): string {
  return crypto.randomUUID();
}

/** The message with this token in a folder, when it has come; and with this pattern, if one is given. */
async function arrival(folder: string, token: string, pattern = /^/): Promise<string> {
  const deadline = performance.now() + ARRIVAL;
  for (;;) {
    for (const path of await filesIn(folder)) {
      if (path.endsWith(".json")) continue;
      const text = await Deno.readTextFile(path).catch(() => "");
      if (text.includes(token) && pattern.test(text)) return text;
    }
    if (performance.now() > deadline) throw new Error(`nothing arrived in ${folder} within ${ARRIVAL / 1000} s`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The message as it left, to that address and nobody else. */
async function leaving(
  outbox: string,
  token: string,
  recipient: string,
): Promise<{ readonly text: string; readonly sender: string }> {
  const text = await arrival(outbox, token);
  for (const path of await filesIn(outbox)) {
    if (!path.endsWith(".eml") || await Deno.readTextFile(path) !== text) continue;
    const { sender, recipients } = JSON.parse(await jsonBeside(path));
    const addresses = recipients.map(({ address }: { address: string }) => address);
    if (addresses.join() === recipient) return { text, sender };
    throw new Error(`it left for ${addresses.join()} instead of ${recipient}`);
  }
  throw new Error("it left without an envelope");
}

/** The envelope is written behind the message. */
async function jsonBeside(path: string): Promise<string> {
  const json = path.replace(/\.eml$/, ".json");
  for (let tries = 50; tries > 0; tries--) {
    try {
      return await Deno.readTextFile(json);
    } catch {
      await new Promise((done) => setTimeout(done, 20));
    }
  }
  return await Deno.readTextFile(json);
}

async function filesIn(folder: string): Promise<string[]> {
  const files: string[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(folder)) {
      if (isFile && name[0] !== ".") files.push(join(folder, name));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files;
}

async function verified({ dns }: TourSettings, text: string): Promise<string> {
  const pool = new WorkerPool<null, VerifyRequest, readonly Signature[]>(
    () => new Worker(new URL("../worker/verify.ts", import.meta.url), { type: "module" }),
    null,
  );
  try {
    const message = new TextEncoder().encode(text), read = () => Promise.resolve(message);
    const signatures = await checkDkim(message, dns, read, (request) => pool.run(request));
    const [signature] = signatures;
    if (signature?.result !== "pass") throw new Error(`its DKIM signature is ${signature?.result ?? "missing"}`);
    return `left with a DKIM signature of ${signature.domain} that verifies`;
  } finally {
    pool.close();
  }
}
