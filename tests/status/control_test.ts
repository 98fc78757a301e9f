import assert from "node:assert/strict";
import { silent } from "../../src/log.ts";
import { askServer, Control, type Handler, socketPath } from "../../src/status/control.ts";

const handlers = new Map<string, Handler>([
  ["echo", (request) => Promise.resolve(request)],
  ["fail", () => Promise.reject(new Error("The disk is full."))],
  ["hang", () => new Promise(() => {})],
  ["send", async (_request, body) => {
    let sum = 0, size = 0;
    for await (const piece of body) for (const byte of piece) size++, sum = (sum + byte) % 65_521;
    return { size, sum };
  }],
]);

async function withControl(work: (store: string, control: Control) => Promise<void>, more = {}): Promise<void> {
  const store = await Deno.makeTempDir();
  const control = await Control.open({ store, handlers, log: silent, ...more });
  try {
    await work(store, control);
  } finally {
    await control.close();
    await Deno.remove(store, { recursive: true });
  }
}

/** What the server says to raw bytes, until it closes. */
async function raw(store: string, bytes: string): Promise<string> {
  const connection = await Deno.connect({ transport: "unix", path: socketPath(store) });
  await connection.write(new TextEncoder().encode(bytes));
  const text = await new Response(connection.readable).text();
  return text;
}

Deno.test("control answers requests, one after the other", async () => {
  await withControl(async (store) => {
    for (let n = 0; n < 100; n++) {
      const request = { do: "echo", n, text: "ü\n" };
      assert.deepEqual(await askServer(store, request), { ok: true, value: request });
    }
  });
});

Deno.test("control hands over a message of the announced size", async () => {
  await withControl(async (store) => {
    const piece = new Uint8Array(100_000).fill(7);
    const body = async function* () {
      for (let n = 0; n < 50; n++) yield await Promise.resolve(piece);
    };
    const answer = await askServer(store, { do: "send", size: 5_000_000 }, body());
    assert.deepEqual(answer, { ok: true, value: { size: 5_000_000, sum: 35_000_000 % 65_521 } });
  });
});

Deno.test("control says what went wrong in a sentence", async () => {
  await withControl(async (store) => {
    assert.deepEqual(await askServer(store, { do: "fail" }), { ok: false, error: "The disk is full." });
    const unknown = await askServer(store, { do: "__proto__" });
    assert.ok(unknown !== "not running" && !unknown.ok && /does not know "__proto__"/.test(unknown.error));
    const large = await askServer(store, { do: "send", size: 1001 });
    assert.ok(large !== "not running" && !large.ok && /at most 1000/.test(large.error));
    for (const line of ["\n", "null\n", "[]\n", '{"do":1}\n', '{"do":"send","size":-1}\n', "GET / HTTP/1.1\n"]) {
      assert.match(await raw(store, line), /^\{"ok":false,"error":"A request is one line/);
    }
  }, { maxSize: 1000 });
});

Deno.test("control lets go of who sends no request, or endless ones", async () => {
  await withControl(async (store) => {
    assert.equal(await raw(store, '{"do":'), "");
    await assert.rejects(
      askServer(store, { do: "echo", long: "x".repeat(2_000_000) }),
      /Cannot ask the running server/,
    );
    assert.deepEqual(await askServer(store, { do: "echo" }), { ok: true, value: { do: "echo" } });
  }, { requestTimeout: 100 });
});

Deno.test("an answer that does not come is not waited for without end", async () => {
  await withControl(async (store) => {
    await assert.rejects(askServer(store, { do: "hang" }, undefined, 50), /took longer than 50 ms/);
    await assert.rejects(askServer(store, { do: "hang" }), /ended early/);
  }, { answerTimeout: 100 });
});

Deno.test("only its owner can open the control socket", async () => {
  await withControl(async (store) => {
    assert.equal((await Deno.stat(socketPath(store))).mode! & 0o777, 0o600);
  });
});

Deno.test("control takes the place of a socket that a dead server left, not of a living one", async () => {
  await withControl(async (store) => {
    await assert.rejects(Control.open({ store, handlers, log: silent }), /another server answers there/);
    assert.deepEqual(await askServer(store, { do: "echo" }), { ok: true, value: { do: "echo" } });
  });
  const store = await Deno.makeTempDir();
  const code = `Deno.listen({ transport: "unix", path: ${
    JSON.stringify(socketPath(store))
  } }); Deno.kill(Deno.pid, "SIGKILL");`;
  await new Deno.Command(Deno.execPath(), { args: ["eval", code], stderr: "null" }).output();
  assert.ok((await Deno.lstat(socketPath(store))).isSocket, "the dead one left its socket");
  assert.equal(await askServer(store, { do: "echo" }), "not running");
  const control = await Control.open({ store, handlers, log: silent });
  assert.deepEqual(await askServer(store, { do: "echo" }), { ok: true, value: { do: "echo" } });
  await control.close();
  assert.equal(await askServer(store, { do: "echo" }), "not running");
  await Deno.remove(store, { recursive: true });
});

Deno.test("a store folder with too long a path is named in the error", async () => {
  const store = `/tmp/${"x".repeat(100)}`;
  await assert.rejects(Control.open({ store, handlers, log: silent }), /at most 107 bytes.*shorter folder/);
});
