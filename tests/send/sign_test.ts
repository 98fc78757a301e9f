import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { dkimVerify } from "mailauth/lib/dkim/verify.js";
import { prepareKey } from "../../src/send/dkim_signature.ts";
import { Signer } from "../../src/send/sign.ts";
import { relaxedBody } from "../../src/smtp/dkim_canonical.ts";

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
const ed25519 = generateKeyPairSync("ed25519").privateKey;
const pem = (key: KeyObject, type: "pkcs1" | "pkcs8" = "pkcs8") => key.export({ type, format: "pem" }).toString();

const KEYS = [
  { domain: "dev.test", selector: "r8", pem: pem(rsa) },
  { domain: "dev.test", selector: "r1", pem: pem(rsa, "pkcs1") },
  { domain: "dev.test", selector: "e8", pem: pem(ed25519) },
];

function recordOf(key: KeyObject): string {
  const spki = createPublicKey(key as never).export({ type: "spki", format: "der" });
  return key === rsa
    ? `v=DKIM1; k=rsa; p=${spki.toString("base64")}`
    : `v=DKIM1; k=ed25519; p=${spki.subarray(-32).toString("base64")}`;
}
const RECORDS = new Map([
  ["r8._domainkey.dev.test", recordOf(rsa)],
  ["r1._domainkey.dev.test", recordOf(rsa)],
  ["e8._domainkey.dev.test", recordOf(ed25519)],
]);

const HEADER =
  "From: Ann <ann@dev.test>\r\nTo: bob@remote.test,\r\n\t eve@remote.test\r\nSubject:  hello   there \r\n" +
  "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@dev.test>\r\nMIME-Version: 1.0\r\nX-Other: x\r\n";
const BODY = "\r\n\r\nHello \t there  \r\n \r\n.\r\ncaf\u00e9\t\r\n\r\n\r\n";
const bytes = (text: string) => new TextEncoder().encode(text);

async function results(message: string): Promise<string[]> {
  const verified = await dkimVerify(Buffer.from(message), {
    strict: true,
    resolver: (name: string) => Promise.resolve([[RECORDS.get(name) ?? ""]]),
  } as never);
  return verified.results.map(({ status }) => status.result);
}

async function withSigner<T>(run: (signer: Signer) => Promise<T>): Promise<T> {
  const signer = new Signer(KEYS);
  try {
    return await run(signer);
  } finally {
    signer.close();
  }
}

Deno.test("signer makes one signature for each key, and mailauth believes them all", async () => {
  await withSigner(async (signer) => {
    for (const body of [BODY, "", "\r\n", "x", "  ", " \r\n", "x\r\n\r\n \t\r\n", "\r\nx"]) {
      const message = `${HEADER}\r\n${body}`;
      const fields = await signer.sign("Dev.Test", bytes(message));
      assert.deepEqual(await results(fields + message), ["pass", "pass", "pass"], JSON.stringify(body));
      assert.ok(fields.endsWith("\r\n") && fields.split("\r\n").every((line) => line.length <= 78));
      assert.doesNotMatch(fields, /\bl=/);
    }
  });
});

Deno.test("signer covers what is not there: nothing can be added or changed", async () => {
  await withSigner(async (signer) => {
    const message = `${HEADER}\r\n${BODY}`;
    const fields = await signer.sign("dev.test", bytes(message));
    const changes = [
      `From: eve@evil.test\r\n${message}`,
      `Subject: other\r\n${message}`,
      `Reply-To: eve@evil.test\r\n${message}`,
      `Cc: eve@evil.test\r\n${message}`,
      `Content-Type: text/html\r\n${message}`,
      message.replace("\r\n\r\n", "\r\nFrom: eve@evil.test\r\n\r\n"),
      message.replace("hello", "hullo"),
      message.replace("Hello", "Hullo"),
      `${message}more\r\n`,
    ];
    for (const changed of changes) {
      assert.ok((await results(fields + changed)).every((result) => result !== "pass"), changed.slice(0, 40));
    }
    assert.deepEqual(await results(`${fields}X-Added: x\r\n${message}\r\n`), ["pass", "pass", "pass"]);
  });
});

Deno.test("signer makes what dkimpy believes", async (test) => {
  const program = `
import sys, dkim
records = eval(sys.argv[1])
data = sys.stdin.buffer.read()
d = dkim.DKIM(data)
print([d.verify(idx=i, dnsfunc=lambda name, timeout=5: records[name.decode().rstrip(".")].encode()) for i in range(3)])
`;
  const python = ["/usr/bin/python3", "python3"].find((name) => {
    try {
      return new Deno.Command(name, { args: ["-c", "import dkim, nacl"], stdout: "null", stderr: "null" }).outputSync()
        .success;
    } catch {
      return false;
    }
  });
  if (python === undefined) {
    console.log("SKIPPED: no python3 with dkimpy here, so the signatures were checked by mailauth alone.");
    return;
  }
  await withSigner(async (signer) => {
    for (const body of [BODY, "", "x\r\n"]) {
      await test.step(JSON.stringify(body), async () => {
        const message = `${HEADER}\r\n${body}`;
        const signed = bytes(await signer.sign("dev.test", bytes(message)) + message);
        const child = new Deno.Command(python, {
          args: ["-c", program, JSON.stringify(Object.fromEntries(RECORDS))],
          stdin: "piped",
          stdout: "piped",
        }).spawn();
        const writer = child.stdin.getWriter();
        await writer.write(signed);
        await writer.close();
        const { stdout } = await child.output();
        assert.equal(new TextDecoder().decode(stdout).trim(), "[True, True, True]");
      });
    }
  });
});

Deno.test("signer leaves the mail of others alone and says what is wrong", async () => {
  await withSigner(async (signer) => {
    assert.equal(await signer.sign("other.test", bytes(HEADER)), "");
    assert.equal(await signer.sign("constructor", bytes(HEADER)), "");
    await assert.rejects(signer.sign("dev.test", bytes("Subject: x\r\n\r\n")), /without a From/);
  });
  assert.throws(
    () => new Signer([{ domain: "dev.test", selector: "bad", pem: "-----BEGIN SECRET" }]),
    (error: Error) => /key bad of dev\.test/.test(error.message) && !error.message.includes("SECRET"),
  );
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  assert.throws(() => prepareKey({ domain: "d", selector: "ec", pem: pem(ec) }), /RSA or Ed25519/);
});

Deno.test("relaxed body follows RFC 6376 §3.4.4", () => {
  const relaxed = (text: string) => new TextDecoder().decode(relaxedBody(bytes(text)));
  assert.equal(relaxed(" C \r\nD \t E\r\n\r\n\r\n"), " C\r\nD E\r\n");
  assert.equal(relaxed("\r\n\r\n"), "");
  assert.equal(relaxed("x"), "x\r\n");
});
