import assert from "node:assert/strict";
import { Stream, type TlsFacts } from "../../src/accept/stream.ts";
import { bytesOf, joined, textOf } from "../support/every_cut.ts";
import { AUTHORITY, certificates } from "../support/front.ts";

const shownTo = certificates.shownTo.bind(certificates);

/** Both ends of a connection on loopback. */
async function connected(): Promise<{ server: Deno.TcpConn; client: Deno.TcpConn }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [client, server] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    listener.accept(),
  ]);
  listener.close();
  return { server, client };
}

/** The same under TLS. */
async function secured(): Promise<{ stream: Stream; facts: TlsFacts; client: Deno.TlsConn }> {
  const { server, client } = await connected();
  const stream = new Stream(server);
  const [facts, tls] = await Promise.all([
    stream.startTls(shownTo),
    (async () => {
      const half = await Deno.startTls(client, { hostname: "localhost", caCerts: [AUTHORITY] });
      await half.handshake();
      return half;
    })(),
  ]);
  return { stream, facts, client: tls };
}

async function readAll(read: () => Promise<Uint8Array | null>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let bytes = await read(); bytes !== null; bytes = await read()) pieces.push(bytes.slice());
  return joined(pieces);
}

function reader(conn: Deno.Conn): () => Promise<Uint8Array | null> {
  return async () => {
    const buffer = new Uint8Array(65536), count = await conn.read(buffer);
    return count === null ? null : buffer.subarray(0, count);
  };
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

const LOAD = crypto.getRandomValues(new Uint8Array(65536));
/** 4 MiB that differ from place to place: more than any socket holds. */
const MUCH = joined(Array.from({ length: 64 }, (_, index) => LOAD.map((byte) => byte ^ index)));

Deno.test("stream gives what was read behind a PROXY header first", async () => {
  const { server, client } = await connected();
  const stream = new Stream(server, bytesOf("EHLO "));
  await client.write(bytesOf("x\r\n"));
  client.closeWrite();
  assert.equal(textOf(await readAll(() => stream.read(new Uint8Array(2)))), "EHLO x\r\n");
  stream.close();
  client.close();
});

Deno.test("stream carries megabytes in clear both ways, however slowly they are read", async () => {
  const { server, client } = await connected();
  const stream = new Stream(server);
  const [got] = await Promise.all([
    readAll(reader(client)),
    stream.write(MUCH).then(() => stream.finish()),
    writeAll(client, MUCH).then(() => client.closeWrite()),
  ]);
  assert.deepEqual(got, MUCH);
  client.close();
});

Deno.test("stream carries megabytes under TLS both ways", async () => {
  const { stream, client } = await secured();
  const [atClient, atServer] = await Promise.all([
    (async () => {
      const pieces: Uint8Array[] = [], read = reader(client);
      for (let size = 0; size < MUCH.length;) {
        const bytes = await read();
        if (bytes === null) break;
        pieces.push(bytes);
        size += bytes.length;
      }
      return joined(pieces);
    })(),
    (async () => {
      const pieces: Uint8Array[] = [], buffer = new Uint8Array(65536);
      for (let size = 0; size < MUCH.length;) {
        const bytes = await stream.read(buffer);
        if (bytes === null) break;
        pieces.push(bytes.slice());
        size += bytes.length;
      }
      return joined(pieces);
    })(),
    stream.write(MUCH),
    writeAll(client, MUCH),
  ]);
  assert.deepEqual(atClient, MUCH);
  assert.deepEqual(atServer, MUCH);
  client.close();
  assert.equal(await stream.read(new Uint8Array(10)), null);
  stream.close();
});

Deno.test("stream tells protocol, cipher and the name that the client asked for", async () => {
  const { stream, facts, client } = await secured();
  assert.equal(facts.protocol, "TLSv1.3");
  assert.match(facts.cipher, /^TLS_/);
  assert.equal(facts.serverName, "localhost");
  client.close();
  stream.close();
});

Deno.test("stream takes a ClientHello that came in one piece with a PROXY header", async () => {
  const { server, client } = await connected();
  const handshake = Deno.startTls(client, { hostname: "localhost", caCerts: [AUTHORITY] });
  const half = await handshake, done = half.handshake();
  const buffer = new Uint8Array(4096), count = await server.read(buffer) ?? 0;
  const stream = new Stream(server, buffer.slice(0, count));
  const facts = await stream.startTls(shownTo);
  await done;
  assert.equal(facts.serverName, "localhost");
  await stream.write(bytesOf("220 hello\r\n"));
  assert.equal(textOf((await reader(half)()) ?? new Uint8Array(0)), "220 hello\r\n");
  half.close();
  stream.close();
});

Deno.test("stream rejects a handshake of clear text, of nothing, and one that is cut off by us", async () => {
  for (const say of ["EHLO client.test\r\n", "", undefined]) {
    const { server, client } = await connected();
    const stream = new Stream(server);
    const handshake = assert.rejects(stream.startTls(shownTo));
    if (say === undefined) stream.close();
    else if (say === "") client.close();
    else await client.write(bytesOf(say));
    await handshake;
    stream.close();
    if (say !== "") client.close();
  }
});

Deno.test("stream rejects a handshake when there is no certificate", async () => {
  const { server, client } = await connected();
  const stream = new Stream(server);
  await assert.rejects(async () => {
    await stream.startTls(() => {
      throw new Error("no certificate");
    });
  }, /no certificate/);
  stream.close();
  client.close();
});

for (const secure of [false, true]) {
  const how = secure ? "under TLS" : "in clear";
  const open = async () => {
    if (secure) return await secured();
    const { server, client } = await connected();
    return { stream: new Stream(server), client };
  };

  Deno.test(`stream ends a read that waits when it is closed, and closes twice (${how})`, async () => {
    const { stream, client } = await open();
    const waiting = stream.read(new Uint8Array(10)).catch(() => null);
    stream.close();
    stream.close();
    assert.equal(await waiting, null);
    client.close();
  });

  Deno.test(`stream rejects a write after it was closed (${how})`, async () => {
    const { stream, client } = await open();
    stream.close();
    await assert.rejects(stream.write(bytesOf("x")));
    client.close();
  });

  Deno.test(`stream rejects a write that waits for a peer who does not read, when it is closed (${how})`, async () => {
    const { stream, client } = await open();
    const writing = assert.rejects((async () => {
      while (true) await stream.write(MUCH);
    })());
    await new Promise((done) => setTimeout(done, 50));
    stream.close();
    await writing;
    client.close();
  });

  Deno.test(`stream says its last word although there are bytes that nobody reads (${how})`, async () => {
    const { stream, client } = await open();
    const flood = writeAll(client, MUCH).catch(() => {});
    await stream.write(bytesOf("421 bye\r\n"));
    const finished = stream.finish();
    assert.equal(textOf((await reader(client)()) ?? new Uint8Array(0)), "421 bye\r\n");
    await flood;
    client.close();
    await finished;
  });
}
