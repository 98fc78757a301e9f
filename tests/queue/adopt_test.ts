/** The journal of a dead server is taken over: nothing is lost, nothing is sent twice, whenever the power goes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { queue as command } from "../../src/cli/queue.ts";
import { idleQueue } from "../../src/cli/with_queue.ts";
import type { Adopted } from "../../src/queue/adoption.ts";
import type { Envelope, Standing } from "../../src/queue/entry.ts";
import { type Entry, Spool } from "../../src/queue/spool.ts";
import { typed } from "../cli/typed.ts";
import { textOf } from "../support/every_cut.ts";
import { expect, letter as text, plain, send, until } from "../support/letters.ts";
import { ANN, direct, LocalServer, PASSWORD } from "../support/local_server.ts";
import { RemoteServer } from "../support/remote_server.ts";
import { serveApart } from "../support/serving_process.ts";
import { SmtpPeer } from "../support/smtp_peer.ts";
import { assertSameBytes, damagedIn, envelope, inFolder, letter, read, segmentsOf, withSpool } from "./spooled.ts";

const WAITS: Standing = {
  state: "waiting",
  attempts: 3,
  due: 1_900_000_000_000,
  warning: 0,
  lastAttempt: 1_700_000_009,
};
const OWED: Standing = { state: "failed", attempts: 8, due: 1_700_000_000_001 };
const DONE: Standing = { state: "delivered", attempts: 1, due: 0 };

const CLEAN: Adopted = { messages: 0, resumed: 0, damaged: 0, maildirs: [], unfinished: [] };

async function put(
  spool: Spool,
  bytes: Uint8Array,
  what: Envelope,
  standings: readonly Standing[] = [],
): Promise<Entry> {
  const draft = spool.draft();
  await draft.write(bytes);
  const entry = await draft.commit(what, draft.start);
  if (standings.length > 0) await spool.record(entry.id, new Map(standings.entries()));
  return entry;
}

async function inFolders(test: (ours: string, theirs: string) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => await test(join(folder, "ours"), join(folder, "theirs")));
}

function adopt(ours: Spool, folder: string, moved?: { from: string; to: string }): Promise<Adopted> {
  return idleQueue(ours).byHand.adopt({ folder, ...(moved && { moved }) });
}

Deno.test("what is adopted keeps its id, its age, its bytes and how each recipient stands", async () => {
  await inFolders(async (ours, theirs) => {
    const kept = new Map<string, { readonly entry: Entry; readonly bytes: Uint8Array }>();
    const all = [
      [WAITS, OWED, DONE],
      [{ ...WAITS, state: "held" }, DONE, DONE],
      [DONE, OWED, DONE],
    ] as const;
    await withSpool(theirs, async (spool) => {
      for (const [seed, standings] of all.entries()) {
        const bytes = letter(seed === 1 ? 700_000 : 900, seed);
        const { id } = await put(spool, bytes, envelope("a@x.test", "b@y.test", "c@y.test", "d@y.test"), standings);
        kept.set(id, { entry: { ...spool.entry(id)! }, bytes });
      }
    });
    await withSpool(ours, async (spool) => {
      const younger = await put(spool, letter(10), envelope("mine@ours.test", "e@y.test"));
      assert.deepEqual(await adopt(spool, theirs), { ...CLEAN, messages: 3 });
      assert.deepEqual([...spool.entries()].map(({ id }) => id), [...kept.keys(), younger.id]);
      for (const [id, { entry, bytes }] of kept) {
        assert.deepEqual(spool.entry(id)?.standings, entry.standings);
        assert.deepEqual(spool.entry(id)?.envelope, entry.envelope);
        assertSameBytes(await read(spool.content(id)), bytes);
      }
    });
    await withSpool(ours, (spool) => Promise.resolve(assert.equal(spool.size, 4)));
    await withSpool(theirs, (spool) => Promise.resolve(assert.equal(spool.size, 0)));
  });
});

Deno.test("an id that both servers have given does not make one message of two", async () => {
  await inFolders(async (ours, theirs) => {
    const now = () => 1_700_000_000_000;
    await withSpool(theirs, (spool) => put(spool, letter(500, 1), envelope("their@x.test", "b@y.test")), { now });
    await withSpool(ours, async (spool) => {
      const mine = await put(spool, letter(500, 2), envelope("mine@ours.test", "c@y.test"));
      assert.equal((await adopt(spool, theirs)).messages, 1);
      const [first, second, ...more] = [...spool.entries()];
      assert.deepEqual([first?.id, first?.envelope.sender, more], [mine.id, "mine@ours.test", []]);
      assert.equal(second?.envelope.sender, "their@x.test");
      assertSameBytes(await read(spool.content(second!.id)), letter(500, 1));
    }, { now });
  });
});

Deno.test("an id that may be given here once more is not taken over: of the future, or of a message that arrives now", async () => {
  await inFolders(async (ours, theirs) => {
    const now = () => 1_700_000_000_000, ahead = () => now() + 1000;
    await withSpool(theirs, (spool) => put(spool, letter(500, 1), envelope("early@x.test", "b@y.test")), { now });
    await withSpool(theirs, (spool) => put(spool, letter(500, 2), envelope("late@x.test", "b@y.test")), { now: ahead });
    await withSpool(ours, async (spool) => {
      const arriving = spool.draft();
      await arriving.write(letter(500, 3));
      assert.equal((await adopt(spool, theirs)).messages, 2);
      await arriving.commit(envelope("mine@ours.test", "c@y.test"), arriving.start);
      const senders = new Map([...spool.entries()].map(({ id, envelope }) => [id, envelope.sender]));
      assert.equal(senders.get(arriving.id), "mine@ours.test");
      assert.deepEqual([...senders.values()].sort(), ["early@x.test", "late@x.test", "mine@ours.test"]);
      const next = spool.draft();
      assert.ok([...senders.keys()].every((id) => id < next.id), `${[...senders.keys()]} ${next.id}`);
      next.discard();
    }, { now });
  });
});

Deno.test("what another journal will never let go of is sent when somebody says so", async () => {
  await inFolders((ours) =>
    withSpool(ours, async (spool) => {
      const standings = [WAITS, { ...WAITS, state: "held" }, DONE].map((standing): Standing => ({
        state: "held",
        attempts: standing.attempts,
        due: 0,
        adopting: { from: "/mnt/lost", id: "0".repeat(12), standing: standing as Standing },
      }));
      const { id } = await put(spool, letter(500), envelope("a@x.test", "b@y.test", "c@y.test", "d@y.test"), standings);
      assert.equal(await idleQueue(spool).byHand.release({ all: true }), 1);
      const after = spool.entry(id)?.standings ?? [];
      assert.deepEqual(after.map(({ state }) => state), ["waiting", "waiting", "delivered"]);
      assert.ok(after.every(({ adopting, due }) => adopting === undefined && due < WAITS.due));
    })
  );
});

Deno.test("a note that was stored before the original knew of it is not composed again, and forgets whose it was", async () => {
  await inFolders(async (ours, theirs) => {
    await withSpool(theirs, async (spool) => {
      const { id } = await put(spool, letter(500), envelope("a@x.test", "b@y.test", "c@y.test"), [OWED, WAITS]);
      const about = { id, recipients: [0] };
      await put(spool, letter(900), { ...envelope("", "a@x.test"), source: { by: "bounce", about } });
    });
    await withSpool(ours, async (spool) => {
      await adopt(spool, theirs);
      const [original, note] = [...spool.entries()];
      assert.deepEqual(original?.standings, [{ ...OWED, due: 0 }, WAITS]);
      assert.deepEqual(note?.envelope.source, { by: "bounce" });
      assert.equal(note?.standings[0]?.state, "waiting");
    });
  });
});

Deno.test("mail for Maildirs of the other store goes to ours, and what cannot be read is left in damaged/", async () => {
  await inFolders(async (ours, theirs) => {
    const target = { to: "maildir", path: "/srv/old/mail/x.test/ann" } as const;
    // Only a name that begins like that of the store.
    const other = { to: "maildir", path: "/srv/older/mail/x.test/bob" } as const;
    const recipients = [{ address: "ann@x.test", target }, { address: "bob@x.test", target: other }];
    const maildir = { ...envelope("a@y.test"), recipients };
    const broken = await withSpool(theirs, async (spool) => {
      await put(spool, letter(500), maildir);
      const { id } = await put(spool, letter(9000, 7), envelope("a@x.test", "b@y.test"));
      await put(spool, letter(500), maildir);
      return id;
    });
    // In an older segment bodies are looked at when they are read.
    await withSpool(theirs, (spool) => put(spool, letter(500), maildir));
    const segment = join(theirs, segmentsOf(theirs)[0]!), bytes = await Deno.readFile(segment);
    const at = bytes.findIndex((_, index) => bytes.subarray(index, index + 64).every((b, i) => b === letter(64, 7)[i]));
    bytes[at + 4000]! ^= 1;
    await Deno.writeFile(segment, bytes);
    await withSpool(ours, async (spool) => {
      const adopted = await adopt(spool, theirs, { from: "/srv/old", to: "/var/lib/maildemon" });
      const path = "/var/lib/maildemon/mail/x.test/ann";
      assert.deepEqual(adopted, { ...CLEAN, messages: 3, damaged: 1, maildirs: [path, other.path] });
      for (const { envelope } of spool.entries()) {
        assert.deepEqual(envelope.recipients.map(({ target }) => target), [{ to: "maildir", path }, other]);
      }
    });
    assert.deepEqual(damagedIn(theirs).filter((name) => name.startsWith(broken)), [`${broken}.eml`, `${broken}.json`]);
  });
});

for (const [first, second] of [[0, 1], [1, 0]] as const) {
  Deno.test(`two dead servers had given one id: an adoption of number ${first} that was broken off goes on with its own, and the other is named`, async () => {
    await inFolders(async (ours, theirs) => {
      const now = () => 1_700_000_000_000, folders = [`${theirs}0`, `${theirs}1`] as const;
      await withSpool(ours, async (spool) => {
        // As a crash leaves it: what is on disk here is not gone there.
        for (const [seed, from] of folders.entries()) {
          await withSpool(from, async (dead) => {
            const sender = `a${seed}@x.test`,
              { id, envelope: what } = await put(dead, letter(500), envelope(sender, "b@y.test"));
            const standings: Standing[] = [{ ...WAITS, state: "held", adopting: { from, id, standing: WAITS } }];
            await spool.adopt({ id, envelope: what, standings }, dead.content(id));
          }, { now });
        }
        const named = { ...CLEAN, messages: 1, resumed: 1, unfinished: [folders[second]] };
        assert.deepEqual(await adopt(spool, folders[first]), named);
        const waiting = [...spool.entries()].filter(({ standings }) => standings[0]?.state === "waiting");
        assert.deepEqual(waiting.map(({ envelope }) => envelope.sender), [`a${first}@x.test`]);
        assert.deepEqual(await adopt(spool, folders[second]), { ...CLEAN, messages: 1, resumed: 1 });
        const found = [...spool.entries()].map(({ envelope, standings }) => [envelope.sender, standings]);
        assert.deepEqual(found.sort(), [["a0@x.test", [WAITS]], ["a1@x.test", [WAITS]]]);
      });
    });
  });
}

const MESSAGES = 300, KILLS = 12;

Deno.test(`adopting ${MESSAGES} messages is killed up to ${KILLS} times: none is lost, and none may be sent by both`, async () => {
  await inFolders(async (ours, theirs) => {
    const seeds = new Map<string, number>();
    await withSpool(theirs, async (spool) => {
      for (let seed = 0; seed < MESSAGES; seed++) {
        const bytes = letter(seed % 50 === 0 ? 400_000 : 600 + seed, seed);
        seeds.set((await put(spool, bytes, envelope("a@x.test", "b@y.test", "c@y.test"), [WAITS, DONE])).id, seed);
      }
    });
    await withSpool(ours, () => Promise.resolve());
    let torn = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      await runAndKill(ours, theirs, 2 + Math.random() * 60);
      await withSpool(theirs, async (dead) =>
        await withSpool(ours, (spool) => {
          for (const id of seeds.keys()) {
            const mine = spool.entry(id), there = dead.entry(id);
            assert.ok(mine !== undefined || there !== undefined, `${id} is lost`);
            if (mine === undefined || there === undefined) continue;
            torn++;
            // A server that starts on our journal now must leave it alone.
            assert.deepEqual(mine.standings.map(({ state }) => state), ["held", "delivered"]);
          }
          return Promise.resolve();
        }));
    }
    await withSpool(ours, async (spool) => {
      await adopt(spool, theirs);
      assert.equal(spool.size, MESSAGES);
      for (const [id, seed] of seeds) {
        assert.deepEqual(spool.entry(id)?.standings, [WAITS, DONE]);
        assertSameBytes(await read(spool.content(id)), letter(seed % 50 === 0 ? 400_000 : 600 + seed, seed));
      }
      assert.deepEqual((await adopt(spool, theirs)).messages, 0);
    });
    console.log(`  ${torn} times a message was found in both journals`);
  });
});

async function runAndKill(ours: string, theirs: string, wait: number): Promise<void> {
  const script = new URL("adopt_child.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--quiet", "--allow-all", script, ours, theirs],
    stdout: "piped",
  }).spawn();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOver = false;
  const kill = () => isOver || child.kill("SIGKILL");
  const status = child.status.finally(() => isOver = true);
  for await (const _ of child.stdout) timer ??= setTimeout(kill, wait);
  await status;
  clearTimeout(timer);
}

for (const state of ["running", "stopped"] as const) {
  Deno.test(`queue adopt by a server that is ${state}: each message of the dead one arrives once, and only where it had not`, async () => {
    const reserved = new RemoteServer({}, { hostname: "127.0.0.2" });
    await reserved.close();
    const { port } = reserved;
    await using heir = await LocalServer.open({ outbound: direct(port, 'retry = ["1s"]') });
    await using dead = await LocalServer.prepare({ outbound: direct(port, 'retry = ["1h"]') });
    const child = await serveApart(dead), texts: string[] = [];
    const adopt = () =>
      typed(["--config", heir.configFile, "queue", "adopt", dead.store, "--was", dead.store], { commands: [command] });
    try {
      // Carol gets hers, the others are told to wait.
      await using remote = new RemoteServer({
        on: { RCPT: (line) => line.includes("carol") ? "250 2.1.5 fine" : "451 4.2.1 later" },
      }, { hostname: "127.0.0.2", port });
      const peer = new SmtpPeer(await dead.connectTls(child.port("submissions")));
      expect(await peer.lastLine(), "220");
      expect(await peer.say("EHLO client.remote.test"), "250");
      expect(await peer.say(`AUTH PLAIN ${plain(ANN.address, PASSWORD)}`), "235");
      for (let count = 0; count < 6; count++) {
        texts.push(text());
        const to = ["carol@remote.test", "dave@remote.test"];
        expect(await send(peer, ANN.address, to, texts.at(-1)!), "250");
      }
      await until(() => remote.messages.length === texts.length, "Carol's copies");
      await until(async () => {
        const rows = JSON.parse(
          (await typed(["--config", dead.configFile, "queue", "list", "--json"], {
            commands: [command],
          })).out,
        );
        return rows.every(({ recipients }: { recipients: { attempts: number }[] }) =>
          recipients.every(({ attempts }) => attempts === 1)
        );
      }, "all outcomes to be written");
      peer.close();
      const refused = await adopt();
      assert.deepEqual([refused.code, refused.out], [1, ""]);
      assert.match(refused.error, /process \d+ works on it/);
      await child.kill();
    } finally {
      await child.kill();
    }
    if (state === "stopped") await heir.stop();
    await using remote = new RemoteServer({}, { hostname: "127.0.0.2", port });
    const adopted = await adopt();
    assert.equal(adopted.error, "");
    assert.equal(adopted.out, `${texts.length} messages adopted.\n`);
    if (state === "stopped") await heir.start();
    // Due in an hour, as the dead one had planned.
    assert.deepEqual(
      (await heir.queue()).map(({ recipients }) => recipients.map(({ state, attempts }) => [state, attempts])),
      Array(6).fill([["delivered", 1], ["waiting", 1]]),
    );
    await heir.ask({ do: "queue.retry", selection: { all: true } });
    await heir.emptyQueue();
    assert.deepEqual(remote.messages.map(({ rcpt }) => rcpt.join()).filter((line) => !line.includes("dave")), []);
    for (const wanted of texts) {
      assert.equal(remote.messages.filter(({ bytes }) => textOf(bytes).endsWith(wanted)).length, 1);
    }
    assert.equal(remote.messages.length, texts.length);
    assert.equal((await adopt()).out, "0 messages adopted.\n");
  });
}

Deno.test("queue adopt names what is no store, and makes nothing there", async () => {
  await using heir = await LocalServer.prepare();
  const dir = join(heir.folder, "nothing");
  await Deno.mkdir(dir);
  const { code, error } = await typed(["--config", heir.configFile, "queue", "adopt", dir], { commands: [command] });
  assert.equal(code, 1);
  assert.match(error, /is neither the store of a maildemon nor the folder queue in one\.$/m);
  assert.deepEqual([...Deno.readDirSync(dir)], []);
  const own = await typed(["--config", heir.configFile, "queue", "adopt", heir.store], { commands: [command] });
  assert.equal(own.code, 1);
  await Deno.mkdir(join(heir.store, "queue"), { recursive: true });
  const itself = await typed(["--config", heir.configFile, "queue", "adopt", heir.store], { commands: [command] });
  assert.match(itself.error, /is the queue of this server itself: name that of the other one\.$/m);
});
