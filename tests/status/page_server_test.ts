import assert from "node:assert/strict";
import { PageServer } from "../../src/status/page_server.ts";
import { until } from "../support/letters.ts";

const LIMITS = { callers: 4, call: 400 };

/** Says it, and tells when it was hung up on. */
async function caller(port: number, says: string): Promise<{ heard: string; isOver: boolean; conn: Deno.Conn }> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port }), state = { heard: "", isOver: false, conn };
  await conn.write(new TextEncoder().encode(says));
  void (async () => {
    const buffer = new Uint8Array(4096), decoder = new TextDecoder();
    for (;;) {
      const count = await conn.read(buffer).catch(() => null);
      if (count === null) break;
      state.heard += decoder.decode(buffer.subarray(0, count), { stream: true });
    }
    state.isOver = true;
    conn.close();
  })();
  return state;
}

Deno.test("who keeps silent at the status page is hung up on, and does not keep out who asks", async () => {
  const server = new PageServer("127.0.0.1", 0, () => new Response("seen"), LIMITS);
  try {
    const many = await Promise.all(Array.from({ length: 20 }, () => caller(server.port, "")));
    await until(() => many.filter(({ isOver }) => isOver).length === 16, "all but four to be hung up on", 300);
    const silent = [
      "",
      "GET / HTTP/1.1\r\nHost: x\r\nX: ",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n",
      "G",
    ];
    const callers = await Promise.all(silent.map((says) => caller(server.port, says)));
    const late = await caller(server.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await until(() => late.isOver, "who asks to be answered", 300);
    assert.match(late.heard, /seen$/);
    assert.equal(callers.filter(({ isOver }) => isOver).length, 1);
    await until(() => callers.every(({ isOver }) => isOver), "the silent to be hung up on", 2_000);
    assert.equal(await (await fetch(`http://127.0.0.1:${server.port}/`)).text(), "seen");
  } finally {
    await server.close();
  }
});

Deno.test("a request that is none is refused, and the next one is answered", async () => {
  const server = new PageServer("127.0.0.1", 0, ({ url }) => {
    if (url.endsWith("/bad")) throw new Error("secret");
    return new Response(new URL(url).pathname);
  }, LIMITS);
  try {
    for (
      const [line, answer] of [
        ["GET http://[ HTTP/1.1", /^HTTP\/1\.1 400 [^]*This is not understood\.\n/],
        ["TRACE / HTTP/1.1", /^HTTP\/1\.1 400 /],
        ["\x16\x03\x01 hello", /^HTTP\/1\.1 400 |^$/],
        ["GET /bad HTTP/1.1", /^HTTP\/1\.1 500 [^]*Something is wrong here\.\n/],
        ["GET //else.test/x HTTP/1.1", /^HTTP\/1\.1 200 [^]*\/x/],
        ["HEAD /x HTTP/1.1", /^HTTP\/1\.1 200 [^]*\r\n\r\n$/],
      ] as const
    ) {
      const asked = await caller(server.port, `${line}\r\nHost: x\r\nConnection: close\r\n\r\n`);
      await until(() => asked.isOver, line, 2_000);
      assert.match(asked.heard, answer, line);
      assert.doesNotMatch(asked.heard, /secret/);
    }
  } finally {
    await server.close();
  }
});

Deno.test("a form comes whole, in one piece or in chunks", async () => {
  const server = new PageServer("127.0.0.1", 0, async (request) => new Response(await request.text()), LIMITS);
  try {
    const pieces = ReadableStream.from(["one ", "two ", "three"].map((text) => new TextEncoder().encode(text)));
    for (const body of ["one two three", pieces]) {
      const answer = await fetch(`http://127.0.0.1:${server.port}/`, { method: "POST", body });
      assert.equal(await answer.text(), "one two three");
    }
  } finally {
    await server.close();
  }
});

Deno.test("after too many open files the status page is there again, and the process has not ended", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  const script = `
    import { PageServer } from ${JSON.stringify(new URL("../../src/status/page_server.ts", import.meta.url).href)};
    const server = new PageServer("127.0.0.1", 0, () => new Response("seen"));
    Deno.addSignalListener("SIGUSR1", () => {});
    const ask = async () => await (await fetch("http://127.0.0.1:" + server.port + "/")).text();
    await ask();
    const waiting = await Deno.connect({ hostname: "127.0.0.1", port: server.port }), files = [];
    try { for (;;) files.push(await Deno.open("/dev/null")); } catch { /* That is meant. */ }
    // One for a caller of whom the server can take nothing.
    files.pop().close();
    const late = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await new Promise((done) => setTimeout(done, 500));
    for (const file of files) file.close();
    console.log(await ask());
    Deno.exit(0);`;
  const command = `ulimit -n 64; exec "$0" run --quiet --no-check --no-lock -A -`;
  const child = new Deno.Command("sh", { args: ["-c", command, Deno.execPath()], stdin: "piped", stdout: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
  const { code, stdout } = await child.output();
  clearTimeout(late);
  assert.deepEqual([code, new TextDecoder().decode(stdout)], [0, "seen\n"]);
});
