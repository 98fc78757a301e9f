/**
 * Messages a second from draft to 250, with 1, 10 and 50 senders waiting at a time.
 *
 *     deno run --allow-read --allow-write tests/queue/journal_bench.ts [FOLDER]
 */
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { envelope } from "./spooled.ts";

const folder = await Deno.makeTempDir({ prefix: "journal_bench", ...(Deno.args[0] ? { dir: Deno.args[0] } : {}) });
try {
  for (const size of [4500, 50_000]) {
    for (const senders of [1, 10, 50]) {
      const spool = await Spool.open({ folder, log: silent }), body = new Uint8Array(size);
      const total = senders === 1 ? 1000 : 6000, sent = envelope("ann@example.com", "bob@remote.test");
      let left = total;
      const start = performance.now();
      await Promise.all(Array.from({ length: senders }, async () => {
        while (left-- > 0) {
          const draft = spool.draft();
          draft.write(body);
          await draft.commit(sent, draft.start);
        }
      }));
      const rate = Math.round(total / (performance.now() - start) * 1000);
      console.log(`${size} bytes, ${senders} senders: ${rate} messages/s`);
      await spool.close();
      for await (const { name } of Deno.readDir(folder)) await Deno.remove(`${folder}/${name}`);
    }
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
