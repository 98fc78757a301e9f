import assert from "node:assert/strict";
import { join } from "node:path";
import type { Log } from "../../src/log.ts";
import { type Decision, readStories, Stories, type StoriesSettings, type Told } from "../../src/store/stories.ts";
import { DAY, HOUR, NOON } from "./host_counts.ts";

const HELLO: Decision = {
  connection: "a1",
  by: "mx",
  host: "192.0.2.7",
  helo: "mail.remote.test",
  from: "carol@remote.test",
  to: ["ann@ours.test"],
  reply: "550 5.7.1 No",
  steps: [{ check: "spf", found: "fail", setting: "checks.spf", decides: "550 5.7.1 No" }, { check: "x", found: "y" }],
};

interface World {
  readonly folder: string;
  readonly lines: readonly string[];
  readonly clock: { now: number };
  open(settings?: Partial<StoriesSettings>): Stories;
  told(...needles: readonly string[]): Promise<Told[]>;
}

async function withStories(work: (world: World) => Promise<void>): Promise<void> {
  const above = await Deno.makeTempDir(), folder = join(above, "stories");
  const lines: string[] = [], clock = { now: NOON };
  const log: Log = (level, event, fields) => lines.push(`${level} ${event} ${JSON.stringify(fields ?? {})}`);
  try {
    await work({
      folder,
      lines,
      clock,
      open: (settings) =>
        new Stories({
          folder,
          keep: 30 * DAY,
          size: 1 << 20,
          settingOf: (key) => ({ key, value: "reject-unsigned", line: 12 }),
          log,
          behind: 10,
          now: () => clock.now,
          ...settings,
        }),
      async told(...needles) {
        const told: Told[] = [];
        for await (const one of readStories(folder, needles.length === 0 ? [""] : needles)) told.push(one);
        return told;
      },
    });
  } finally {
    await Deno.remove(above, { recursive: true });
  }
}

async function filesOf(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) names.push(name);
  return names.sort();
}

function connections(told: readonly Told[]): string[] {
  return told.map((one) => one.tells === "decision" ? one.connection : one.event);
}

Deno.test("a decision is told with the setting as it was at that time, written behind, for its owner alone", async () => {
  await withStories(async ({ open, told, folder }) => {
    const stories = open();
    stories.decision({ ...HELLO, to: Array.from({ length: 50 }, (_, index) => `u${index}@ours.test`) });
    assert.deepEqual(await told(), [], "not at once");
    await stories.flush();
    const [first, ...more] = await told();
    assert.deepEqual(more, []);
    assert.deepEqual(first, {
      at: NOON,
      tells: "decision",
      ...HELLO,
      to: Array.from({ length: 20 }, (_, index) => `u${index}@ours.test`),
      steps: [
        {
          check: "spf",
          found: "fail",
          decides: "550 5.7.1 No",
          setting: { key: "checks.spf", value: "reject-unsigned", line: 12 },
        },
        { check: "x", found: "y" },
      ],
    });
    for (const name of await filesOf(folder)) {
      assert.equal((await Deno.stat(join(folder, name))).mode! & 0o077, 0);
    }
    stories.decision({ ...HELLO, connection: "a2" });
    await new Promise((done) => setTimeout(done, 100));
    assert.deepEqual(connections(await told()), ["a2", "a1"], "written by itself");
    stories.decision({ ...HELLO, connection: "a3" });
    await stories.close();
    stories.decision({ ...HELLO, connection: "late" });
    await stories.flush();
    assert.deepEqual(connections(await told()), ["a3", "a2", "a1"]);
  });
});

Deno.test("of the log is remembered what names a message or bans a host, and all of it goes on", async () => {
  await withStories(async ({ open, told }) => {
    const stories = open(), lines: string[] = [], log = stories.listening((level, event) => lines.push(level + event));
    log("info", "delivered", { id: "q1", to: "ann@ours.test" });
    log("debug", "dkim-checked", { id: "q1" });
    log("info", "message-queued", { id: "q1" });
    log("warning", "host-banned", { host: "192.0.2.7", reason: "spam" });
    log("info", "session-ended", { host: "192.0.2.7" });
    log("info", "started");
    await stories.flush();
    assert.deepEqual(await told(), [
      { at: NOON, tells: "event", event: "host-banned", fields: { host: "192.0.2.7", reason: "spam" } },
      { at: NOON, tells: "event", event: "delivered", id: "q1", fields: { id: "q1", to: "ann@ours.test" } },
    ]);
    assert.equal(lines.length, 6);
    await stories.close();
  });
});

Deno.test("what peers say stays in its line, and is found by what they said", async () => {
  await withStories(async ({ open, told, folder }) => {
    const stories = open();
    const evil = 'x\r\n{"tells":"decision"}\n\u0000\u001b[31m"\\ \u2028';
    stories.decision({ ...HELLO, connection: "evil", helo: evil });
    stories.decision({ ...HELLO, connection: "plain", helo: "Mail.OTHER.test" });
    await stories.close();
    const [name = ""] = await filesOf(folder), text = await Deno.readTextFile(join(folder, name));
    assert.equal(text.split("\n").length, 3);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f]/);
    assert.deepEqual(connections(await told(evil)), ["evil"]);
    assert.deepEqual(connections(await told("\u001b[31m")), ["evil"]);
    assert.deepEqual(connections(await told("mail.other.TEST")), ["plain"]);
    assert.deepEqual(connections(await told("mail.other.test", '"\\')), ["plain", "evil"]);
    assert.deepEqual(await told("nobody"), []);
  });
});

Deno.test("the newest is told first, across parts of a day, days and restarts, whatever was dropped", async () => {
  await withStories(async ({ open, told, folder, clock }) => {
    // One part is full after one line, and sixteen of them are kept.
    const size = 16 * 600, wanted: string[] = [];
    for (let start = 0; start < 6; start++) {
      const stories = open({ size });
      for (let line = 0; line < 8; line++) {
        const connection = `${start}-${line}`;
        stories.decision({ ...HELLO, connection, reply: "x".repeat(400) });
        await stories.flush();
        wanted.unshift(connection);
      }
      await stories.close();
      if (start === 1) clock.now += DAY;
    }
    const found = connections(await told());
    assert.deepEqual(found, wanted.slice(0, found.length));
    assert.ok(found.length >= 8 && found.length <= 20, `${found.length} lines are left`);
    let total = 0;
    for (const name of await filesOf(folder)) total += (await Deno.stat(join(folder, name))).size;
    assert.ok(total <= size, `${total} bytes`);
  });
});

Deno.test("what is older than it may be is dropped, and no younger day", async () => {
  await withStories(async ({ open, told, clock }) => {
    const stories = open({ keep: 2 * DAY });
    for (let day = 0; day < 5; day++) {
      stories.decision({ ...HELLO, connection: `day ${day}` });
      await stories.flush();
      clock.now += DAY;
    }
    assert.deepEqual(connections(await told()), ["day 4", "day 3", "day 2"]);
    clock.now += 11 * HOUR;
    stories.decision({ ...HELLO, connection: "later" });
    await stories.flush();
    assert.deepEqual(connections(await told()), ["later", "day 4", "day 3"]);
    await stories.close();
  });
});

Deno.test("what cannot be kept in memory or written is lost, and the log says so", async () => {
  await withStories(async ({ open, lines, folder, told }) => {
    const stories = open({ size: 1 << 30, behind: 60_000 }), long = "x".repeat(1 << 20);
    for (let count = 0; count < 20; count++) stories.decision({ ...HELLO, reply: long });
    await stories.flush();
    assert.equal((await told()).length, 7);
    assert.deepEqual(lines, ['warning stories-lost {"stories":13}']);
    await Deno.remove(folder, { recursive: true });
    await Deno.writeTextFile(folder, "in the way");
    stories.decision(HELLO);
    await stories.flush();
    assert.match(lines[1] ?? "", /^warning stories-not-written /);
    await Deno.remove(folder);
    stories.decision(HELLO);
    await stories.close();
    assert.equal((await told()).length, 1);
  });
});

Deno.test("a line that was cut off by a crash hides no other, and a missing folder tells nothing", async () => {
  await withStories(async ({ open, told, folder }) => {
    assert.deepEqual(await told(), []);
    const stories = open();
    stories.decision(HELLO);
    await stories.close();
    const [name = ""] = await filesOf(folder);
    await Deno.writeTextFile(join(folder, name), '{"at":1,"tells":"deci', { append: true });
    assert.deepEqual(connections(await told()), ["a1"]);
    const next = open();
    next.decision({ ...HELLO, connection: "next" });
    await next.close();
    assert.deepEqual(connections(await told()), ["next", "a1"]);
  });
});
