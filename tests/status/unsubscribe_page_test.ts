/** The page that a link in List-Unsubscribe leads to, as strangers reach it. */

import assert from "node:assert/strict";
import type { Mailbox } from "../../src/smtp/address.ts";
import { formatMailbox, parseMailbox } from "../../src/smtp/address.ts";
import { openStatus } from "../../src/status/page.ts";
import type { UnsubscribeParts } from "../../src/status/unsubscribe_page.ts";
import { UnsubscribeLinks } from "../../src/store/unsubscribe_links.ts";
import { quietPage } from "./quiet_page.ts";

const ANN = "ann@ours.test", URLENCODED = "application/x-www-form-urlencoded", ONE_CLICK = "List-Unsubscribe=One-Click";
const links = new UnsubscribeLinks(new Uint8Array(32).fill(7));
const TOKEN = tokenFor(parseMailbox("carol@remote.test")!);

function tokenFor(address: Mailbox): string {
  return (links.linkFor("", ANN, address) ?? assert.fail("no link")).slice(1);
}

interface Site {
  readonly port: number;
  /** Who has been taken off. */
  readonly gone: string[];
  readonly ask: (path: string, init?: RequestInit) => Promise<{ readonly answer: Response; readonly text: string }>;
}

/** The real server, with a token for all else. */
async function withPage(
  work: (site: Site) => Promise<void>,
  more: Partial<UnsubscribeParts> | "none" = {},
): Promise<void> {
  const gone: string[] = [];
  const unsubscribe: UnsubscribeParts = {
    read: (token) => links.read(token),
    unsubscribe: (address, user) => {
      gone.push(`${formatMailbox(address)} from ${user}`);
      return Promise.resolve();
    },
    ...(more === "none" ? {} : more),
  };
  const server = openStatus({ hostname: "127.0.0.1", port: 0, token: "a token" }, {
    ...quietPage(),
    unsubscribe: () => more === "none" ? undefined : unsubscribe,
  });
  try {
    await work({
      port: server.port,
      gone,
      ask: async (path, init) => {
        const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, { ...init, redirect: "manual" });
        return { answer, text: await answer.text() };
      },
    });
  } finally {
    await server.close();
  }
}

function post(body: BodyInit, type?: string): RequestInit {
  return { method: "POST", body, ...(type !== undefined && { headers: { "content-type": type } }) };
}

Deno.test("to look at the page changes nothing, and its button does what a mail program does by itself", async () => {
  await withPage(async ({ ask, gone }) => {
    for (const method of ["GET", "HEAD", "GET"]) {
      const { answer, text } = await ask(`/unsubscribe/${TOKEN}`, { method });
      assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "text/html; charset=utf-8"]);
      if (method === "HEAD") continue;
      assert.match(text, /carol@remote\.test from mail of ann@ours\.test/);
      assert.match(text, /<form method="post"><button name="List-Unsubscribe" value="One-Click">/);
      assert.doesNotMatch(text, /<script|src=|href=|http-equiv/);
    }
    assert.deepEqual(gone, []);
    const form = new FormData();
    form.set("List-Unsubscribe", "One-Click");
    for (const init of [post(ONE_CLICK, URLENCODED), post(form)]) {
      const { answer, text } = await ask(`/unsubscribe/${TOKEN}`, init);
      assert.equal(answer.status, 200);
      assert.match(text, /carol@remote\.test gets no more mail of ann@ours\.test/);
    }
    assert.deepEqual(gone, Array(2).fill("carol@remote.test from ann@ours.test"));
  });
});

Deno.test("every answer has the headers of the status page, no cookie and no redirect", async () => {
  await withPage(async ({ ask }) => {
    const cases: readonly (readonly [path: string, init: RequestInit, status: number])[] = [
      [TOKEN, {}, 200],
      [TOKEN, post(ONE_CLICK, URLENCODED), 200],
      [TOKEN, post("x=1", URLENCODED), 400],
      [`${TOKEN}x`, {}, 404],
      [TOKEN, { method: "DELETE" }, 405],
    ];
    for (const [path, init, status] of cases) {
      const { answer } = await ask(`/unsubscribe/${path}`, init);
      assert.equal(answer.status, status);
      const headers = ["content-security-policy", "x-content-type-options", "referrer-policy", "cache-control"];
      assert.deepEqual(headers.map((name) => answer.headers.get(name)), [
        "default-src 'none'; style-src 'unsafe-inline'",
        "nosniff",
        "no-referrer",
        "no-store",
      ]);
      assert.deepEqual([answer.headers.get("set-cookie"), answer.headers.get("location")], [null, null]);
      assert.equal(answer.headers.get("allow"), status === 405 ? "GET, HEAD, POST" : null);
    }
  });
});

Deno.test("a link that is not whole is not found, whoever asks and however", async () => {
  await withPage(async ({ ask, gone }) => {
    const odd = [
      "",
      "/",
      "x",
      TOKEN.slice(1),
      TOKEN.slice(0, -1),
      `${TOKEN}.x`,
      `${TOKEN}/`,
      `x/${TOKEN}`,
      "a".repeat(5000),
    ];
    for (const token of odd) {
      for (const init of [{}, post(ONE_CLICK, URLENCODED), { method: "PUT" }]) {
        const { answer } = await ask(`/unsubscribe/${token}`, init);
        assert.equal(answer.status, 404, token.slice(0, 100));
      }
    }
    assert.deepEqual(gone, []);
  });
});

Deno.test("without the setting there is no page; with it the rest still asks for the token", async () => {
  await withPage(async ({ ask }) => {
    for (const path of ["", TOKEN]) {
      for (const init of [{}, post(ONE_CLICK, URLENCODED)]) {
        assert.equal((await ask(`/unsubscribe/${path}`, init)).answer.status, 404);
      }
    }
  }, "none");
  await withPage(async ({ ask }) => {
    for (const path of ["/", "/metrics", "/unsubscribe"]) assert.equal((await ask(path)).answer.status, 401);
  });
});

Deno.test("what cannot be kept is to be tried again later", async () => {
  await withPage(async ({ ask }) => {
    const { answer, text } = await ask(`/unsubscribe/${TOKEN}`, post(ONE_CLICK, URLENCODED));
    assert.equal(answer.status, 503);
    assert.match(text, /try again later/);
    assert.doesNotMatch(text, /disk/);
  }, { unsubscribe: () => Promise.reject(new Error("no disk")) });
});

Deno.test("signs of an address that mean something in HTML are text", async () => {
  await withPage(async ({ ask }) => {
    const { text } = await ask(`/unsubscribe/${tokenFor({ local: "<b>&'\"", domain: "remote.test" })}`);
    assert.match(text, /&lt;b&gt;&amp;&#39;/);
    assert.doesNotMatch(text, /<b>/);
  });
});

Deno.test("a form that is too long, or does not come to its end, unsubscribes nobody", async () => {
  await withPage(async ({ ask, port, gone }) => {
    const long = await ask(`/unsubscribe/${TOKEN}`, post(`${ONE_CLICK}&x=${"x".repeat(4096)}`, URLENCODED));
    assert.equal(long.answer.status, 400);
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(new TextEncoder().encode(
      `POST /unsubscribe/${TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: ${URLENCODED}\r\nContent-Length: 100\r\n\r\n${ONE_CLICK}`,
    ));
    const bytes = new Uint8Array(4096), read = await connection.read(bytes) ?? 0;
    connection.close();
    assert.match(new TextDecoder().decode(bytes.subarray(0, read)), /^HTTP\/1\.1 400 /);
    assert.deepEqual(gone, []);
  }, { patience: 200 });
});
