/** Python's standard library: smtplib, and sockets on which SMTP is spoken by hand. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { added, below, binary, DOTS, letter, newTag, sameBytes } from "./message_text.ts";
import { ANN, DOMAIN, PASSWORD, type PostOffice } from "./post_office.ts";
import { interop, python } from "./programs.ts";

const MEBIBYTE = 1 << 20;

export function tryPython(office: () => PostOffice): void {
  /** Runs one scene of a client; gives what it saw. */
  async function play(script: string, scene: string, kind: "mx" | "submissions", ...more: string[]) {
    const { server, authority } = office();
    const args = [scene, String(server.port(kind)), authority, ANN, PASSWORD, ...more];
    const { code, out, error } = await python(script, args);
    assert.equal(code, 0, error);
    return JSON.parse(out);
  }

  interop("smtplib sends to sixty, and is told which five do not exist", ["python"], async () => {
    const tag = newTag();
    const { refused } = await play("smtplib_client.py", "many", "mx", tag);
    assert.deepEqual(Object.keys(refused).sort(), [0, 1, 2, 3, 4].map((n) => `nobody${n}@${DOMAIN}`));
    for (const [code, text] of Object.values<[number, string]>(refused)) {
      assert.equal(code, 550);
      assert.match(text, /^5\.1\.1 /);
    }
    // However many of its addresses a message was sent to, a mailbox gets one copy.
    const stored = await office().letterWith(`<${tag}@client.test>`);
    assert.match(stored, new RegExp(`\r\n${DOTS.map((line) => line.replaceAll(".", "\\.")).join("\r\n")}\r\n$`));
  });

  interop("smtplib raises SMTPRecipientsRefused when nobody exists, and the session goes on", ["python"], async () => {
    const tag = newTag();
    const { raised } = await play("smtplib_client.py", "nobody", "mx", tag);
    assert.deepEqual(raised, { [`nobody@${DOMAIN}`]: 550, [`noone@${DOMAIN}`]: 550 });
    await office().letter(tag);
  });

  interop("smtplib writes to an address in UTF-8", ["python"], async () => {
    const tag = newTag();
    await play("smtplib_client.py", "utf8", "mx", tag);
    const text = new TextDecoder().decode(await office().letter(tag, "jürgen"));
    assert.match(text, /^Return-Path: <jürgen@remote\.test>\r\n/);
    assert.match(text, /\tby \S+ with UTF8SMTPS \(/);
    assert.match(text, /\r\nSubject: Grüße aus Köln\r\n/);
    assert.match(text, /\r\n\r\nSchöne Grüße\r\n$/);
  });

  interop("smtplib sends eight bits, and they arrive as they are", ["python"], async () => {
    const tag = newTag();
    await play("smtplib_client.py", "eightbit", "mx", tag);
    const head =
      "From: carol@remote.test\r\nSubject: eight bits\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    const high = String.fromCharCode(...Array.from({ length: 128 }, (_, index) => 128 + index));
    const words = String.fromCharCode(...new TextEncoder().encode("Grüße €\r\n"));
    sameBytes(below(await office().letter(tag)), `${head}${high}\r\n${words}`);
  });

  interop("smtplib's login chooses among what is offered; PLAIN and LOGIN with and without initial response", [
    "python",
  ], async () => {
    const tag = newTag();
    const { offered, seen, wrong } = await play("smtplib_client.py", "login", "submissions", tag);
    assert.deepEqual(offered, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    const all = ["login", "plain True", "plain False", "login True", "login False"];
    assert.deepEqual(seen, all.map((way) => [way, 235]));
    assert.equal(wrong, 535);
    await office().captured(`${tag}@remote.test`);
  });

  interop("smtplib's send_message with names, subject and attachment that are not ASCII", ["python"], async () => {
    const tag = newTag();
    const { refused } = await play("smtplib_client.py", "message", "submissions", tag);
    assert.deepEqual(refused, {});
    const { bytes, recipients } = await office().captured(`${tag}-hidden@remote.test`);
    assert.deepEqual([...recipients].sort(), [`${tag}-hidden@remote.test`, `${tag}@remote.test`].sort());
    const text = new TextDecoder().decode(bytes);
    assert.ok(!text.includes("hidden"));
    assert.match(text, /^From: =\?utf-8\?/m);
    assert.match(text, /^Message-ID: </m);
    assert.match(text, /^Date: /m);
  });

  interop("SCRAM-SHA-256-PLUS from Python binds to the certificate; with another binding it is refused", [
    "python",
  ], async () => {
    const { right, relayed } = await play("raw_client.py", "scram", "submissions", "none");
    assert.deepEqual(right, { answer: "235 2.7.0 Signed in", proven: true, mail: "250 2.1.0 Sender accepted" });
    assert.match(relayed.answer, /^535 5\.7\.8 /);
  });

  async function inFile<T>(bytes: Uint8Array, use: (path: string) => Promise<T>): Promise<T> {
    const path = join(office().folder, `${newTag()}.body`);
    await Deno.writeFile(path, bytes);
    try {
      return await use(path);
    } finally {
      await Deno.remove(path);
    }
  }

  interop("20 MiB with every byte value, by BDAT, lie in the Maildir byte for byte", ["python"], async () => {
    const tag = newTag(), to = `ann+${tag}@${DOMAIN}`;
    const message = binaryMessage(to, 20 * MEBIBYTE);
    const { said, bye } = await inFile(message, (file) => play("raw_client.py", "bdat", "mx", to, file));
    for (const reply of said) assert.match(reply, /^250 2\./);
    assert.match(said.at(-1), /^250 2\.0\.0 Queued as /);
    assert.match(bye, /^221 /);
    sameBytes(below(await office().letter(tag)), message);
  });

  interop("MAIL, RCPT, chunks and the next MAIL in one write are answered in order", ["python"], async () => {
    const tag = newTag(), to = `ann+${tag}@${DOMAIN}`;
    const message = binaryMessage(to, 3 * MEBIBYTE);
    const { said } = await inFile(message, (file) => play("raw_client.py", "pipelined", "mx", to, file));
    const codes = said.map((reply: string) => reply.slice(0, 9));
    const chunk = "250 2.0.0";
    assert.deepEqual(codes.slice(0, 3), ["250 2.1.0", "250 2.1.5", "550 5.1.1"]);
    assert.deepEqual(codes.slice(3), [chunk, chunk, chunk, chunk, "250 2.1.0", "250 2.0.0", "221 2.0.0"]);
    assert.match(said[6], /Queued as/);
    sameBytes(below(await office().letter(tag)), message);
  });

  interop(
    "a megabyte of lines of dots by DATA, cut anywhere, lies in the Maildir byte for byte",
    ["python"],
    async () => {
      const tag = newTag(), to = `ann+${tag}@${DOMAIN}`;
      const dots = Array.from({ length: 20_000 }, (_, at) => [...DOTS, ".".repeat(at % 200)]).flat();
      const text = letter("carol@remote.test", to) + dots.join("\r\n") + "\r\n";
      assert.ok(text.length > MEBIBYTE);
      const message = Uint8Array.from(text, (sign) => sign.charCodeAt(0));
      const { said } = await inFile(message, (file) => play("raw_client.py", "data", "mx", to, file));
      assert.deepEqual(said.map((reply: string) => reply.slice(0, 4)), ["250 ", "250 ", "354 ", "250 "]);
      const stored = await office().letter(tag);
      sameBytes(below(stored), message);
      assert.match(added(stored), / with ESMTP\r\n/);
    },
  );
}

function binaryMessage(to: string, size: number): Uint8Array {
  const header = new TextEncoder().encode(
    `From: <carol@remote.test>\r\nTo: <${to}>\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n`,
  );
  const message = new Uint8Array(size);
  message.set(header);
  message.set(binary(size - header.length), header.length);
  return message;
}
