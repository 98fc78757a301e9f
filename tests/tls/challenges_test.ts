import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { connect } from "node:net";
import { openAlpnChallenge } from "../../src/tls/alpn_challenge.ts";
import { readClientHello } from "../../src/tls/alpn_hello.ts";
import { openHttpChallenge } from "../../src/tls/http_challenge.ts";
import { selfSigned } from "../../src/tls/self_signed.ts";
import { interop, run } from "../interoperability/programs.ts";
import { seeded } from "../support/every_cut.ts";
import { pause } from "../support/letters.ts";

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr;
  listener.close();
  return port;
}

/** All that the other side says until it hangs up. */
function answerTo(port: number, pieces: readonly (string | Uint8Array)[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await new Promise((done) => setTimeout(done, 5));
      }
    });
    let heard = "";
    socket.setEncoding("latin1");
    socket.on("data", (piece: string) => heard += piece);
    socket.on("end", () => (socket.end(), resolve(heard)));
    socket.on("error", reject);
  });
}

Deno.test("http-01 answers for its tokens and for nothing else", async () => {
  const listen = { hostname: "127.0.0.1", port: freePort() }, answers = new Map([["tok_en-1", "tok_en-1.print"]]);
  const door = await openHttpChallenge(listen, answers);
  try {
    const ask = (path: string, method = "GET") =>
      answerTo(listen.port, [`${method} ${path} HTTP/1.1\r\nHost: x\r\n\r\n`]);
    const found = await ask("/.well-known/acme-challenge/tok_en-1");
    assert.match(found, /^HTTP\/1\.1 200 OK\r\n[^]*Content-Length: 14\r\n[^]*\r\n\r\ntok_en-1\.print$/);
    assert.equal(await ask("http://mail.ours.test/.well-known/acme-challenge/tok_en-1"), found);
    const parts = ["GET /.well-known/acme-", "challenge/tok_en-1 HTTP/1.0\r\n", "\r", "\n"];
    assert.equal(await answerTo(listen.port, parts), found);
    for (
      const path of [
        "/",
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/__proto__",
        "/../etc/passwd",
        "*",
      ]
    ) assert.match(await ask(path), /^HTTP\/1\.1 404 /, path);
    assert.match(await ask("/.well-known/acme-challenge/tok_en-1", "POST"), /^HTTP\/1\.1 404 /);
    assert.match(await answerTo(listen.port, ["\u0016\u0003\u0001nonsense\r\n\r\n"]), /^HTTP\/1\.1 404 /);
    assert.match(await answerTo(listen.port, [`GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`]), /^HTTP\/1\.1 404 /);
  } finally {
    await door.close();
  }
});

Deno.test("who only holds the door open does not keep the authority out", async () => {
  const listen = { hostname: "127.0.0.1", port: freePort() };
  const door = await openHttpChallenge(listen, new Map([["token", "token.print"]]));
  const idle: Deno.TcpConn[] = [];
  try {
    for (let count = 0; count < 300; count++) idle.push(await Deno.connect(listen));
    const found = await answerTo(listen.port, ["GET /.well-known/acme-challenge/token HTTP/1.1\r\n\r\n"]);
    assert.match(found, /^HTTP\/1\.1 200 OK\r\n/);
    const isClosed = (conn: Deno.TcpConn) => conn.read(new Uint8Array(1)).then((count) => count === null, () => true);
    // Of too many, who has been here longest has to go; and nobody may stay.
    assert.equal(await Promise.race([isClosed(idle[0]!), pause(5_000)]), true);
    assert.equal(await Promise.race([isClosed(idle[299]!), pause(20_000)]), true);
  } finally {
    for (const conn of idle) conn.close();
    await door.close();
  }
});

interface Proving {
  readonly port: number;
  readonly pem: string;
}

async function proving(work: (proving: Proving) => Promise<void>): Promise<void> {
  const port = freePort(), { certificate, key } = await selfSigned(["mail.ours.test"]);
  const { raw } = new X509Certificate(certificate), proof = { certificate: raw, key: createPrivateKey(key) };
  const door = await openAlpnChallenge({ hostname: "127.0.0.1", port }, new Map([["mail.ours.test", proof]]));
  try {
    await work({ port, pem: new X509Certificate(certificate).toString() });
  } finally {
    await door.close();
  }
}

for (const group of ["X25519", "P-256"]) {
  interop(
    `tls-alpn-01 shakes hands with OpenSSL over ${group}, and shows the certificate`,
    ["openssl"],
    () =>
      proving(async ({ port, pem }) => {
        const target = ["s_client", "-connect", `127.0.0.1:${port}`, "-groups", group, "-showcerts"];
        const { out } = await run("openssl", [...target, "-servername", "MAIL.ours.test", "-alpn", "acme-tls/1"]);
        assert.match(out, /ALPN protocol: acme-tls\/1/);
        assert.match(out, /New, TLSv1\.3, Cipher is TLS_AES_128_GCM_SHA256/);
        assert.ok(out.includes(pem.trim()), out);
      }),
  );
}

interop("tls-alpn-01 gives an alert to who asks for anything else", ["openssl"], () =>
  proving(async ({ port }) => {
    const target = ["s_client", "-connect", `127.0.0.1:${port}`];
    const alerts: readonly (readonly [options: string, says: RegExp])[] = [
      ["-servername mail.ours.test -alpn h2", /no application protocol/],
      ["-servername mail.ours.test", /no application protocol/],
      ["-servername other.test -alpn acme-tls/1", /unrecognized name/],
      ["-noservername -alpn acme-tls/1", /unrecognized name/],
      ["-servername mail.ours.test -alpn acme-tls/1 -tls1_2", /alert protocol version/],
      ["-servername mail.ours.test -alpn acme-tls/1 -groups P-384", /handshake failure/],
      ["-servername mail.ours.test -alpn acme-tls/1 -ciphersuites TLS_AES_256_GCM_SHA384", /handshake failure/],
    ];
    for (const [options, says] of alerts) {
      const { out, error } = await run("openssl", [...target, ...options.split(" ")]);
      assert.match(error + out, says, options);
    }
  }));

/** What Deno says first to a server that proves this name. */
async function helloOfDeno(): Promise<Uint8Array> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const options = { hostname: "127.0.0.1", port: listener.addr.port };
  const calling = Deno.connect(options).then((conn) =>
    Deno.startTls(conn, { hostname: "mail.ours.test", alpnProtocols: ["acme-tls/1"] }).then(async (tls) => {
      await tls.handshake().catch(() => {});
      tls.close();
    })
  );
  const conn = await listener.accept(), buffer = new Uint8Array(16_384);
  const count = await conn.read(buffer);
  conn.close();
  listener.close();
  await calling;
  return buffer.slice(0, count ?? 0);
}

Deno.test("a hello is read the same however it is cut into records, and one that is broken is an error and nothing else", async () => {
  const hello = await helloOfDeno(), whole = readClientHello(hello);
  assert.deepEqual([whole?.serverName, whole?.protocols], ["mail.ours.test", ["acme-tls/1"]]);
  for (let length = 0; length < hello.length; length++) {
    assert.equal(readClientHello(hello.subarray(0, length)), undefined);
  }
  const body = hello.subarray(5);
  for (let at = 1; at < body.length; at++) {
    const parts = [body.subarray(0, at), body.subarray(at)];
    const records = parts.flatMap((part) => [22, 3, 1, part.length >> 8, part.length & 255, ...part]);
    assert.deepEqual(readClientHello(Uint8Array.from(records)), whole);
  }
  const random = seeded(7);
  for (let round = 0; round < 20_000; round++) {
    const broken = hello.slice();
    for (let left = 1 + Math.floor(random() * 4); left > 0; left--) {
      broken[Math.floor(random() * broken.length)] = Math.floor(random() * 256);
    }
    try {
      readClientHello(broken);
    } catch (error) {
      assert.ok(error instanceof RangeError, String(error));
    }
  }
});

Deno.test("a hello in many small records that comes in many small pieces holds nobody up", async () => {
  const body = (await helloOfDeno()).subarray(5), long = new Uint8Array(16_000);
  long.set(body);
  long.set([1, 0, 0xff, 0xff]);
  const records = Uint8Array.from(Array.from(long.subarray(0, 2_600), (octet) => [22, 3, 1, 0, 1, octet]).flat());
  const began = performance.now();
  for (let length = 0; length < records.length; length += 8) readClientHello(records.subarray(0, length));
  const took = performance.now() - began;
  assert.ok(took < 1_000, `${took} ms`);
});

Deno.test("tls-alpn-01 survives callers that say nonsense, or half of it", () =>
  proving(async ({ port }) => {
    const hello = await helloOfDeno(), random = seeded(11);
    for (let round = 0; round < 300; round++) {
      const broken = hello.slice();
      // Behind the lengths that say how much more to wait for.
      broken[9 + Math.floor(random() * (broken.length - 9))] = Math.floor(random() * 256);
      assert.ok((await answerTo(port, [broken])).length > 0);
    }
    const idle = await Promise.all(Array.from({ length: 20 }, () => Deno.connect({ hostname: "127.0.0.1", port })));
    // An alert, and a hello.
    assert.ok((await answerTo(port, ["GET / HTTP/1.1\r\n\r\n"])).startsWith("\u0015\u0003\u0003"));
    assert.ok((await answerTo(port, [hello.subarray(0, 50), hello.subarray(50)])).startsWith("\u0016\u0003\u0003"));
    for (const conn of idle) conn.close();
  }));
