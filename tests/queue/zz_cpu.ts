import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { envelope } from "./spooled.ts";
const folder = await Deno.makeTempDir();
const noop = { write: (b: Uint8Array) => Promise.resolve(b.length), syncData: () => Promise.resolve(), close() {} };
for (let r=0;r<3;r++){
const spool = await Spool.open({ folder, log: silent, segmentSize: 2e12, create: () => Promise.resolve(noop) }), body = new Uint8Array(4500);
const total = 60000, sent = envelope("ann@example.com", "bob@remote.test"); let left = total;
const start = performance.now();
await Promise.all(Array.from({ length: 50 }, async () => { while (left-- > 0) { const draft = spool.draft(); draft.write(body); await draft.commit(sent, draft.start); } }));
console.log((performance.now()-start)/total*1000,"µs per message CPU");
}
Deno.exit()
