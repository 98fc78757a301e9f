import assert from "node:assert/strict";
import { join } from "node:path";
import { run } from "../../src/cli/arguments.ts";
import { queue as command } from "../../src/cli/queue.ts";
import { silent } from "../../src/log.ts";
import { defaultQueue, Queue } from "../../src/queue/queue.ts";
import { Spool } from "../../src/queue/spool.ts";
import { Control } from "../../src/status/control.ts";
import { queueHandlers } from "../../src/status/queue_requests.ts";
import { envelope } from "../support/memory_spool.ts";

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

class Stopped {
  constructor(readonly folder: string) {}

  get queue(): string {
    return join(this.folder, "queue");
  }

  async run(...typed: string[]): Promise<Ran> {
    let out = "", error = "";
    const config = join(this.folder, "config.toml");
    const code = await run({ name: "maildemon", summary: "a mail server", commands: [command] }, [
      "--config",
      config,
      "queue",
      ...typed,
    ], {
      out: (text) => out += text,
      error: (text) => error += text,
      variable: () => undefined,
      colour: false,
      prompt: {
        password: () => Promise.reject(new Error("not asked for")),
        confirm: (question) => (error += question, Promise.resolve(false)),
        ask: () => Promise.reject(new Error("not asked for")),
        piped: () => Promise.reject(new Error("not asked for")),
      },
    });
    return { code, out, error };
  }
}

/** A stopped server with these messages in its queue; `ids` in their order. */
async function withStore(work: (server: Stopped, ids: string[]) => Promise<void>, ...to: string[][]): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const server = new Stopped(folder);
    await Deno.writeTextFile(
      join(folder, "config.toml"),
      `hostname = "mail.ours.test"\nstore = ${JSON.stringify(folder)}\n[[domains]]\nname = "ours.test"\n` +
        `[[listeners]]\naddress = "127.0.0.1:2525"\nkind = "mx"\n`,
    );
    const spool = await Spool.open({ folder: server.queue, log: silent });
    const ids: string[] = [];
    for (const recipients of to) ids.push((await put(spool, recipients)).id);
    await spool.close();
    await work(server, ids);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function put(spool: Spool, to: string[]) {
  const draft = spool.draft();
  await draft.write(new TextEncoder().encode("Subject: hello\r\n\r\nbody\r\n"));
  return await draft.commit(envelope(to), draft.start);
}

/** A server on this store, as far as the queue is concerned, that sends nothing. */
async function whileRunning(server: Stopped, work: (queue: Queue) => Promise<void>): Promise<void> {
  const spool = await Spool.open({ folder: server.queue, log: silent });
  const queue = new Queue(defaultQueue, {
    spool,
    deliver: () => Promise.resolve([]),
    laneOf: () => "all",
    makeBounce: () => Promise.resolve(undefined),
    log: silent,
  });
  const control = await Control.open({ store: server.folder, handlers: queueHandlers(queue), log: silent });
  try {
    await work(queue);
  } finally {
    await control.close();
    await queue.stop(0);
    await spool.close();
  }
}

for (const state of ["stopped", "running"]) {
  const during = (server: Stopped, work: () => Promise<void>) =>
    state === "stopped" ? work() : whileRunning(server, work);

  Deno.test(`queue list, show, hold, release and drop work while the server is ${state}`, async () => {
    await withStore(
      (server, [first = "", second = ""]) =>
        during(server, async () => {
          const listed = await server.run("list");
          assert.equal(listed.code, 0, listed.error);
          assert.match(listed.out, /^ID +ARRIVED +SIZE +FROM +TO +STATE/);
          assert.match(listed.out, new RegExp(`${first} .* ann@ours\\.test +bob@there\\.test +waiting`));
          const rows = JSON.parse((await server.run("list", "--domain", "far.test", "--json")).out);
          assert.deepEqual(rows.map(({ id }: { id: string }) => id), [second]);

          assert.equal((await server.run("hold", "--to", "joe@far.test")).out, "1 message held.\n");
          const shown = JSON.parse((await server.run("show", second, "--json")).out);
          assert.deepEqual(shown.recipients.map(({ state }: { state: string }) => state), ["waiting", "held"]);
          assert.match((await server.run("show", second)).out, /state +held after 0 attempts/);
          assert.equal((await server.run("release", second)).out, "1 message released.\n");

          assert.equal((await server.run("drop", first)).code, 0);
          assert.equal((await server.run("show", first)).code, 1);
          assert.equal((await server.run("drop", first)).code, 1);
        }),
      ["bob@there.test"],
      ["eve@far.test", "joe@far.test"],
    );
  });

  Deno.test(`dropping or bouncing several messages needs a yes while the server is ${state}`, async () => {
    await withStore(
      (server) =>
        during(server, async () => {
          for (const verb of ["drop", "bounce"]) {
            const asked = await server.run(verb, "--from", "ann@ours.test");
            assert.deepEqual([asked.code, asked.out], [1, ""]);
            assert.match(asked.error, /^2 messages will be .*Go on\?$/);
          }
          assert.equal((await server.run("drop", "--all", "--yes")).out, "2 messages dropped.\n");
          assert.match((await server.run("list")).error, /No message is waiting/);
        }),
      ["bob@there.test"],
      ["eve@far.test"],
    );
  });
}

Deno.test("a command that names no messages is wrong usage and changes nothing", async () => {
  await withStore(async (server) => {
    for (const verb of ["retry", "hold", "release", "drop", "bounce"]) {
      assert.equal((await server.run(verb)).code, 2);
      assert.equal((await server.run(verb, "--all", "--from", "ann@ours.test")).code, 2);
    }
    assert.match((await server.run("list")).out, /bob@there\.test +waiting/);
  }, ["bob@there.test"]);
});

Deno.test("a queue that another process works on without answering is said to be so", async () => {
  await withStore(async (server) => {
    const spool = await Spool.open({ folder: server.queue, log: silent });
    const { code, error } = await server.run("list");
    await spool.close();
    assert.equal(code, 1);
    assert.match(error, /Another process works on the queue/);
  }, ["bob@there.test"]);
});
