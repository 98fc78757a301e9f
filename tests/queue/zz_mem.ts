import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";
import { letter, store } from "./spooled.ts";
import v8 from "node:v8"; import process from "node:process";
const [folder, what, size] = Deno.args;
const heap=()=>{(globalThis as any).gc(); (globalThis as any).gc(); return v8.getHeapStatistics().used_heap_size/1e6;};
if (what==="fill") { const s=await Spool.open({folder,log:silent}); for(let i=0;i<100000;i+=500) await Promise.all(Array.from({length:500},()=>store(s,letter(+size)))); 
  let i=0; const ids=[...s.entries()].map(e=>e.id); for(let k=0;k<ids.length;k+=500) await Promise.all(ids.slice(k,k+500).map(id=>s.record(id,new Map([[0,{state:"waiting",attempts:3,due:1.7e12+k,reply:{code:451,enhanced:"4.7.1",text:"Greylisted, please try again later",host:"mx.remote.test [192.0.2.1]"}}]])))); await s.close(); }
else { const h0=heap(), r0=process.memoryUsage().rss/1e6; const t=performance.now(); const s=await Spool.open({folder,log:silent}); const took=performance.now()-t; const r1=process.memoryUsage().rss/1e6; const h1=heap(); console.log(s.size,"took",took,"ms; heap per entry",(h1-h0)*10,"bytes; rss",r0,r1,process.memoryUsage().rss/1e6); await s.close(); }
