import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { envelope } from "./spooled.ts";
let wt=0, st=0, n=0, wb=0;
const create = async (p: string) => { const f = await Deno.open(p, {append:true, createNew:true}); return {
 write: async (b: Uint8Array) => { const t=performance.now(); const r = await f.write(b); wt+=performance.now()-t; wb+=r; return r; },
 syncData: async () => { const t=performance.now(); await f.syncData(); st+=performance.now()-t; n++; }, close: () => f.close() } };
const folder = await Deno.makeTempDir();
const spool = await Spool.open({ folder, log: silent, create }), body = new Uint8Array(4500);
const total = 60000, sent = envelope("ann@example.com", "bob@remote.test"); let left = total;
const start = performance.now();
await Promise.all(Array.from({ length: 50 }, async () => { while (left-- > 0) { const draft = spool.draft(); draft.write(body); await draft.commit(sent, draft.start); } }));
const all=performance.now()-start;
console.log(all/total*1000,"µs per message", n, "syncs; per sync: total", all/n, "write", wt/n, "sync", st/n, wb/n);
await spool.close(); await Deno.remove(folder,{recursive:true});
